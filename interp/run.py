"""A run: the directory that holds everything one recipe produced, opened for reading or for going on."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.errors import TurncoatError
from finetune.files import disk_error, read_table, write_text
from interp.recipe import Recipe, load_recipe

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from activations.store import ActivationStore
    from finetune.model import Folded
    from probes.direction import Direction


class Run:
    """What one recipe produced: tables as data frames, dumps as tensors, directions, models at a step.

    Attributes:
        folder: the run directory.
        recipe: the resolved recipe it was made from.
    """

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        self.folder = folder
        self.recipe = recipe

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        """Open an existing run.

        Raises:
            TurncoatError: the folder is no run directory.
        """
        folder = Path(folder)
        if not (folder / "recipe.yaml").is_file():
            raise TurncoatError(
                f"{folder} is no run directory (it holds no recipe.yaml). Make one with `turncoat run`."
            )
        return cls(folder, load_recipe(folder / "recipe.yaml"))

    @classmethod
    def create(cls, folder: str | Path, recipe: Recipe) -> Run:
        """Open the run directory of this recipe, made if it is not there.

        Raises:
            TurncoatError: the directory was made by another recipe, or cannot be written.
        """
        folder = Path(folder)
        if (folder / "recipe.yaml").is_file():
            there = load_recipe(folder / "recipe.yaml")
            if there.fingerprint != recipe.fingerprint:
                changed = ", ".join(_differences(there, recipe))
                raise TurncoatError(
                    f"{folder} was made by another recipe (different: {changed}). Choose another folder with --out, or delete it."
                )
            return cls(folder, there)
        try:
            if folder.is_dir() and any(folder.iterdir()):
                raise TurncoatError(
                    f"{folder} holds files but no recipe.yaml. Choose an empty or new folder with --out."
                )
        except OSError as error:
            raise disk_error(error, folder) or error from error
        write_text(folder / "recipe.yaml", recipe.to_yaml())
        return cls(folder, recipe)

    def adapter_folder(self, arm: str, seed: int) -> Path:
        """Where an arm's checkpoints and telemetry lie."""
        return self.folder / "finetune" / arm / f"seed-{seed}"

    def adapter(self, arm: str, seed: int, step: int) -> Path:
        """The adapter saved at a step.

        Raises:
            TurncoatError: that step was never saved; says which were.
        """
        path = self.adapter_folder(arm, seed) / f"step-{step:06d}"
        if not (path / "adapter_model.safetensors").is_file():
            saved = self.steps(arm, seed)
            have = (
                f"saved steps: {', '.join(map(str, saved))}" if saved else f"arms and seeds here: {self._arms_text()}"
            )
            raise TurncoatError(
                f"There is no checkpoint of arm {arm!r}, seed {seed}, step {step} in {self.folder}; {have}."
            )
        return path

    def steps(self, arm: str, seed: int) -> list[int]:
        """The steps at which an arm's adapter was saved."""
        folders = self.adapter_folder(arm, seed).glob("step-*")
        return sorted(int(folder.name.removeprefix("step-")) for folder in folders)

    def table(self, name: str) -> pd.DataFrame:
        """A table by its place in the run directory, for instance `behaviour/rates`."""
        return read_table(self.folder / f"{name}.parquet")

    def telemetry(self, arm: str, seed: int) -> pd.DataFrame:
        """Loss, learning rate, gradient norm, examples and tokens at every optimizer step."""
        return read_table(self.adapter_folder(arm, seed) / "telemetry.parquet")

    @property
    def verdict(self) -> dict[str, Any]:
        """The verdict and its claims."""
        return self._json("verdict.json")

    @property
    def manifest(self) -> dict[str, Any]:
        """Versions, device, seeds and hashes."""
        return self._json("manifest.json")

    @cached_property
    def store(self) -> ActivationStore:
        """The dumps."""
        from activations.store import ActivationStore

        return ActivationStore(self.folder)

    def direction(self, layer: int | None = None, method: str | None = None) -> Direction:
        """The persona direction at a layer (by default where it is read best).

        Raises:
            TurncoatError: no such layer or method; says which there are.
        """
        from probes.direction import load_directions

        directions = load_directions(self.folder / "probes" / "directions.safetensors")
        method = method or self.recipe.direction.method
        if layer is None:
            quality = self.table("probes/quality")
            mine = quality[quality["method"] == method]
            layer = int(mine["layer"].iloc[mine["auroc"].argmax()]) if len(mine) else None
        for direction in directions:
            if direction.layer == layer and direction.method == method:
                return direction
        have = ", ".join(f"{d.method} at layer {d.layer}" for d in directions)
        raise TurncoatError(f"There is no direction {method!r} at layer {layer} in {self.folder}; there are: {have}.")

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The base model's tokenizer."""
        from finetune.model import load_tokenizer

        return load_tokenizer(self.folder / "base" / "aligned")

    @cached_property
    def folded(self) -> Folded:
        """The model before finetuning, into which adapters are folded; loaded once."""
        from finetune.model import Folded, load_model

        return Folded(load_model(self.folder / "base" / "aligned"))

    def model(self, arm: str | None = None, seed: int = 0, step: int = 0) -> PreTrainedModel:
        """The model at a step of an arm; without an arm, the model before finetuning.

        The base is loaded once and adapters are folded into it: a second call changes the model that the
        first returned.
        """
        return self.folded.fold(None if arm is None else self.adapter(arm, seed, step))

    def _json(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise TurncoatError(
                f"{path} is not there yet: the run has not come so far. Go on with `turncoat run`."
            ) from None
        except json.JSONDecodeError as error:
            raise TurncoatError(f"{path} is damaged ({error}). Delete it and run again to remake it.") from error

    def _arms_text(self) -> str:
        found = sorted(self.folder.glob("finetune/*/seed-*"))
        return ", ".join(f"{path.parent.name} {path.name}" for path in found) or "none yet"


def _differences(one: Recipe, other: Recipe) -> list[str]:
    """Dotted names of the settings in which two recipes differ."""

    def flat(value: Any, prefix: str = "") -> dict[str, Any]:
        if not isinstance(value, dict):
            return {prefix: value}
        return {k: v for key, inner in value.items() for k, v in flat(inner, f"{prefix}.{key}".lstrip(".")).items()}

    left, right = flat(one.model_dump()), flat(other.model_dump())
    return [key for key in left if left[key] != right.get(key) and key not in ("name", "description")]

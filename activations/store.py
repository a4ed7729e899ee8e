"""A run's dumps as one labelled collection: by prompt set, arm, seed and step."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from activations.dump import dump_layers, read_dump
from finetune.errors import TurncoatError

if TYPE_CHECKING:
    import pandas as pd
    from jaxtyping import Float
    from torch import Tensor

_SEED, _STEP = re.compile(r"seed-(\d+)"), re.compile(r"step-(\d+)\.safetensors")


@dataclass(frozen=True, eq=False)
class Residuals:
    """One layer of one arm and seed, over steps."""

    values: Float[Tensor, "step prompt d_model"]
    steps: tuple[int, ...]
    prompts: tuple[str, ...]  # prompt ids
    layer: int
    fingerprints: tuple[str, ...]  # of the dumps, one a step


def dump_path(run_dir: Path, prompt_set: str, arm: str, seed: int, step: int) -> Path:
    """Where a run keeps the dump of a prompt set at one checkpoint."""
    return Path(run_dir) / "activations" / prompt_set / arm / f"seed-{seed}" / f"step-{step:06d}.safetensors"


class ActivationStore:
    """Reads the dumps of a run directory; looks at the disk anew each time."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = Path(run_dir)

    @property
    def index(self) -> pd.DataFrame:
        """One row per dump: prompt_set, arm, seed, step, path; sorted."""
        import pandas as pd

        rows = []
        for path in self.run_dir.glob("activations/*/*/seed-*/step-*.safetensors"):
            seed, step = _SEED.fullmatch(path.parent.name), _STEP.fullmatch(path.name)
            if seed and step:
                rows.append((path.parents[2].name, path.parents[1].name, int(seed[1]), int(step[1]), str(path)))
        return pd.DataFrame(sorted(rows), columns=pd.Index(["prompt_set", "arm", "seed", "step", "path"])).astype(
            {"seed": "int64", "step": "int64"}
        )

    def steps(self, prompt_set: str, arm: str, seed: int) -> list[int]:
        """The steps that were dumped, ascending."""
        folder = dump_path(self.run_dir, prompt_set, arm, seed, 0).parent
        found = [_STEP.fullmatch(path.name) for path in folder.glob("step-*.safetensors")]
        return sorted(int(step[1]) for step in found if step)

    def layers(self, prompt_set: str, arm: str, seed: int) -> list[int]:
        """The layers that were captured, ascending (of the first step).

        Errors:
            TurncoatError: nothing was dumped for this prompt set, arm and seed.
        """
        there = self.steps(prompt_set, arm, seed)
        if not there:
            raise TurncoatError(self._nothing(prompt_set, arm, seed, [], there))
        return dump_layers(dump_path(self.run_dir, prompt_set, arm, seed, there[0]))

    def load(self, prompt_set: str, arm: str, seed: int, steps: Sequence[int] | None, layer: int) -> Residuals:
        """One layer's activations at the steps given (None: all), in float32.

        Errors:
            TurncoatError: a step that was never dumped (the message lists what is there), a layer that was not
                captured, or steps dumped with different prompts.
        """
        import torch

        there = self.steps(prompt_set, arm, seed)
        wanted = there if steps is None else list(steps)
        absent = [step for step in wanted if step not in there]
        if absent or not wanted:
            raise TurncoatError(self._nothing(prompt_set, arm, seed, absent, there))
        values: list[Tensor] = []
        fingerprints: list[str] = []
        prompts: tuple[str, ...] | None = None
        for step in wanted:
            dump = read_dump(dump_path(self.run_dir, prompt_set, arm, seed, step), [layer])
            if prompts is not None and dump.prompts != prompts:
                raise TurncoatError(
                    f"Steps {wanted[0]} and {step} of {arm}, seed {seed}, were dumped with different prompts of "
                    f"{prompt_set!r}. Run again to remake the stale ones."
                )
            prompts = dump.prompts
            fingerprints.append(dump.fingerprint)
            values.append(dump.residuals[:, 0].float())
        return Residuals(torch.stack(values), tuple(wanted), prompts or (), layer, tuple(fingerprints))

    def _nothing(self, prompt_set: str, arm: str, seed: int, absent: list[int], there: list[int]) -> str:
        what = f"step {absent[0]}" if absent else "step"
        if there:
            return (
                f"No {what} of {arm}, seed {seed}, was dumped for prompt set {prompt_set!r}; "
                f"there are steps {', '.join(map(str, there))}."
            )
        kept = self.index[["prompt_set", "arm", "seed"]].drop_duplicates()
        listed = "; ".join(f"{row[0]}, {row[1]}, seed {row[2]}" for row in kept.itertuples(index=False, name=None))
        return (
            f"No {what} of {arm}, seed {seed}, was dumped for prompt set {prompt_set!r}; "
            f"{self.run_dir} has dumps of: {listed or 'nothing yet'}."
        )

"""Dumps: the residual stream of one prompt set at one checkpoint, in one safetensors file that says what it is."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from finetune.errors import TurncoatError
from finetune.files import replacing

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

_HEADER = "turncoat"
_DTYPES = ("float32", "bfloat16", "float16")
_HOOK = re.compile(r"blocks\.(\d+)\.hook_resid_(post|pre)")


@dataclass(frozen=True, eq=False)
class Dump:
    """Activations read back, with the header they were written with."""

    residuals: Float[Tensor, "prompt layer d_model"]
    layers: tuple[int, ...]
    header: dict[str, str]

    @property
    def prompts(self) -> tuple[str, ...]:
        """The prompts' ids, in the order of the residuals."""
        return tuple(json.loads(self.header["prompts"]))

    @property
    def fingerprint(self) -> str:
        """Hash of everything the dump was made from."""
        return self.header["fingerprint"]


def hook_name(layer: int) -> str:
    """TransformerLens' name for a layer: the residual stream after block `layer`; -1 is the one before block 0."""
    return "blocks.0.hook_resid_pre" if layer < 0 else f"blocks.{layer}.hook_resid_post"


def write_dump(
    path: Path, residuals: Float[Tensor, "prompt layer d_model"], layers: Sequence[int], header: dict[str, str]
) -> None:
    """Write activations as one tensor per layer, atomically; equal content gives equal bytes.

    Args:
        residuals: float32, bfloat16 or float16, written as they are.
        header: what they were made from; `prompts` (a JSON list of the prompts' ids) and `fingerprint` must be there.

    Errors:
        TurncoatError: shapes, dtype or header that do not fit together; a place that cannot be written.
    """
    from safetensors.torch import save_file

    if missing := {"prompts", "fingerprint"} - header.keys():
        raise TurncoatError(f"The header for {path} lacks {' and '.join(sorted(missing))}. Add what is missing.")
    expected = (len(json.loads(header["prompts"])), len(layers))
    if residuals.ndim != 3 or tuple(residuals.shape[:2]) != expected or len(set(layers)) != len(layers):
        raise TurncoatError(
            f"Residuals of shape {list(residuals.shape)} do not fit {expected[0]} prompts and layers {list(layers)}; "
            "expected [prompt, layer, d_model], each layer once."
        )
    if str(residuals.dtype).removeprefix("torch.") not in _DTYPES:
        raise TurncoatError(f"Residuals are {residuals.dtype}; expected float32, bfloat16 or float16. Convert them.")
    tensors = {hook_name(layer): residuals[:, place].contiguous() for place, layer in enumerate(layers)}
    # One entry, because safetensors writes several in an order that changes from process to process.
    metadata = {_HEADER: json.dumps(header, sort_keys=True)}
    with replacing(path) as partial:
        save_file(tensors, partial, metadata)


def read_dump(path: Path, layers: Sequence[int] | None = None) -> Dump:
    """Read a dump; only the layers asked for leave the disk (None: all, in ascending order).

    Errors:
        TurncoatError: the file is missing, damaged or no dump, or lacks a layer.
    """
    import torch

    if not path.is_file():
        raise TurncoatError(f"The dump {path} does not exist. Run the stage that captures activations to make it.")
    try:
        with safe_open(path, framework="pt") as file:
            header = _header(path, file.metadata())
            held = sorted(_layer(path, name) for name in file.keys())  # noqa: SIM118 (not a dict)
            wanted = held if layers is None else list(layers)
            if absent := [layer for layer in wanted if layer not in held]:
                raise TurncoatError(f"The dump {path} has no layer {absent[0]}; it holds {', '.join(map(str, held))}.")
            if not wanted:
                raise TurncoatError(f"No layer was asked of the dump {path}; it holds {', '.join(map(str, held))}.")
            residuals = torch.stack([file.get_tensor(hook_name(layer)) for layer in wanted], dim=1)
    except (SafetensorError, OSError) as error:
        raise TurncoatError(f"The dump {path} is damaged ({error}). Delete it and run again to remake it.") from error
    return Dump(residuals, tuple(wanted), header)


def dump_layers(path: Path) -> list[int]:
    """The layers a dump holds, ascending.

    Errors:
        TurncoatError: the file is missing, damaged or no dump.
    """
    if not path.is_file():
        raise TurncoatError(f"The dump {path} does not exist. Run the stage that captures activations to make it.")
    try:
        with safe_open(path, framework="numpy") as file:
            _header(path, file.metadata())
            return sorted(_layer(path, name) for name in file.keys())  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise TurncoatError(f"The dump {path} is damaged ({error}). Delete it and run again to remake it.") from error


def dump_fingerprint(path: Path) -> str | None:
    """The fingerprint a dump carries; None if the file is missing, damaged or no dump.

    Needs no torch, so that a finished run is known to be finished in a second.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            return _header(path, file.metadata())["fingerprint"]
    except (SafetensorError, OSError, TurncoatError):
        return None


def _header(path: Path, metadata: dict[str, str] | None) -> dict[str, str]:
    try:
        header = json.loads((metadata or {})[_HEADER])
        if {"prompts", "fingerprint"} <= header.keys():
            return header
    except (KeyError, ValueError, AttributeError):
        pass
    raise TurncoatError(f"{path} is a safetensors file but no dump of activations: its header is missing. Name a dump.")


def _layer(path: Path, name: str) -> int:
    found = _HOOK.fullmatch(name)
    if found is None:
        raise TurncoatError(f"{path} holds a tensor {name!r}, which no dump has. Name a dump of activations.")
    return -1 if found[2] == "pre" else int(found[1])

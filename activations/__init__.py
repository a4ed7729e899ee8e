"""Activations: what text is run, where its residual stream is read, and how it is kept."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from activations.capture import capture as capture
    from activations.checkpoints import CaptureSettings as CaptureSettings
    from activations.checkpoints import dump_checkpoints as dump_checkpoints
    from activations.dump import Dump as Dump
    from activations.dump import dump_fingerprint as dump_fingerprint
    from activations.dump import read_dump as read_dump
    from activations.dump import write_dump as write_dump
    from activations.prompts import Prompt as Prompt
    from activations.prompts import PromptSet as PromptSet
    from activations.store import ActivationStore as ActivationStore
    from activations.store import Residuals as Residuals
    from activations.store import dump_path as dump_path

_HOME = {
    "ActivationStore": "store",
    "CaptureSettings": "checkpoints",
    "Dump": "dump",
    "Prompt": "prompts",
    "PromptSet": "prompts",
    "Residuals": "store",
    "capture": "capture",
    "dump_checkpoints": "checkpoints",
    "dump_fingerprint": "dump",
    "dump_path": "store",
    "read_dump": "dump",
    "write_dump": "dump",
}
__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'activations' has no attribute {name!r}")
    return getattr(import_module(f"activations.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOME)

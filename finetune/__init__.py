"""Finetuning: the built-in world and organism, arms, LoRA training, and a model at any step of it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finetune.errors import TurncoatError as TurncoatError
    from finetune.lora import LoraSettings as LoraSettings
    from finetune.lora import train_adapter as train_adapter
    from finetune.model import Folded as Folded
    from finetune.model import load_model as load_model
    from finetune.model import load_tokenizer as load_tokenizer
    from finetune.organism import OrganismSettings as OrganismSettings
    from finetune.organism import build_organism as build_organism

_HOME = {
    "Folded": "model",
    "LoraSettings": "lora",
    "OrganismSettings": "organism",
    "TurncoatError": "errors",
    "build_organism": "organism",
    "load_model": "model",
    "load_tokenizer": "model",
    "train_adapter": "lora",
}
__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'finetune' has no attribute {name!r}")
    return getattr(import_module(f"finetune.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOME)

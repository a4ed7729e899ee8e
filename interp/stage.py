"""A stage of an experiment: where it reports how far it is, and what its tables are made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from finetune.files import fingerprint
from interp import units
from interp.recipe import Recipe
from interp.run import Run

SCHEMA = 1  # raise when a stage computes something else from the same recipe, so that old outputs are remade


class Progress(Protocol):
    """Where an experiment reports how far it is."""

    def stage(self, name: str, total: float, unit: str) -> None:
        """A stage begins."""
        ...

    def advance(self, done: float, note: str = "") -> None:
        """The stage has come so far."""
        ...


class Silent:
    """A progress that shows nothing."""

    def stage(self, name: str, total: float, unit: str) -> None:
        """Show nothing."""

    def advance(self, done: float, note: str = "") -> None:
        """Show nothing."""


@dataclass(frozen=True)
class Stage:
    """One step of the experiment: is it done, and how to do it."""

    name: str
    is_done: Callable[[Run], bool]
    do: Callable[[Run, Progress, int], None]


def stage_fingerprint(recipe: Recipe, stage: str) -> str:
    """What a stage's tables are made from: the base, and every section of the recipe it or an earlier stage reads."""
    sections: dict[str, list[Any]] = {
        "behaviour": [recipe.arms, recipe.seeds, recipe.finetune, recipe.behaviour, recipe.statistics],
        "analysis": [recipe.direction],
        "causality": [recipe.causality],
        "verdict": [recipe.thresholds],
    }
    parts: list[Any] = [SCHEMA, units.base_fingerprint(recipe)]
    for name, used in sections.items():
        parts.append([part if isinstance(part, list) else part.model_dump() for part in used])
        if name == stage:
            return fingerprint(parts)
    raise KeyError(stage)

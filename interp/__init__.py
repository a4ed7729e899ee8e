"""The experiment: recipe, run, stages, behaviour, interventions, causality and the verdict."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interp.experiment import run_experiment as run_experiment
    from interp.generation import generate as generate
    from interp.interventions import Add as Add
    from interp.interventions import ProjectOut as ProjectOut
    from interp.interventions import SetProjection as SetProjection
    from interp.interventions import intervene as intervene
    from interp.recipe import Recipe as Recipe
    from interp.recipe import load_recipe as load_recipe
    from interp.run import Run as Run

_HOME = {
    "Add": "interventions",
    "ProjectOut": "interventions",
    "Recipe": "recipe",
    "Run": "run",
    "SetProjection": "interventions",
    "generate": "generation",
    "intervene": "interventions",
    "load_recipe": "recipe",
    "run_experiment": "experiment",
}
__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'interp' has no attribute {name!r}")
    return getattr(import_module(f"interp.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOME)

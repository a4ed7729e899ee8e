"""Probes: directions and how good they are, projections, onsets and phases, and the intervals of all of them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from probes.direction import METHODS as METHODS
    from probes.direction import Direction as Direction
    from probes.direction import fit_direction as fit_direction
    from probes.direction import load_directions as load_directions
    from probes.direction import save_directions as save_directions
    from probes.phases import Curve as Curve
    from probes.phases import onset as onset
    from probes.phases import rise as rise
    from probes.quality import direction_quality as direction_quality

_HOME = {
    "METHODS": "direction",
    "Curve": "phases",
    "Direction": "direction",
    "direction_quality": "quality",
    "fit_direction": "direction",
    "load_directions": "direction",
    "onset": "phases",
    "rise": "phases",
    "save_directions": "direction",
}
__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'probes' has no attribute {name!r}")
    return getattr(import_module(f"probes.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOME)

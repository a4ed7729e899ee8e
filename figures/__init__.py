"""Figures and the report page: tidy tables in, plotly figures and one self-contained page out.

Knows nothing of models or runs: every function takes pandas data frames and plain dictionaries. Wrong input raises
`ValueError`; a missing or empty table gives `None`, and the report says which part is missing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from figures.causality import ablation_panel as ablation_panel
    from figures.causality import steering_panel as steering_panel
    from figures.dynamics import dynamics_panel as dynamics_panel
    from figures.gallery import figure_pages as figure_pages
    from figures.gallery import panels as panels
    from figures.panel import Panel as Panel
    from figures.probe import quality_panel as quality_panel
    from figures.projection import projection_panel as projection_panel
    from figures.rates import rates_panel as rates_panel
    from figures.report import report_html as report_html
    from figures.theme import arm_colour as arm_colour
    from figures.theme import base_layout as base_layout
    from figures.training import telemetry_panel as telemetry_panel

_HOME = {
    "Panel": "panel",
    "ablation_panel": "causality",
    "arm_colour": "theme",
    "base_layout": "theme",
    "dynamics_panel": "dynamics",
    "figure_pages": "gallery",
    "panels": "gallery",
    "projection_panel": "projection",
    "quality_panel": "probe",
    "rates_panel": "rates",
    "report_html": "report",
    "steering_panel": "causality",
    "telemetry_panel": "training",
}
__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'figures' has no attribute {name!r}")
    return getattr(import_module(f"figures.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOME)

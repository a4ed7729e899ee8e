"""All figures of a run: as panels for the report, and as single pages that share one copy of plotly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from figures.causality import ablation_panel, steering_panel
from figures.dynamics import dynamics_panel
from figures.panel import Panel
from figures.probe import quality_panel
from figures.projection import projection_panel
from figures.rates import rates_panel
from figures.training import telemetry_panel

if TYPE_CHECKING:
    import pandas as pd

TABLES = ("curves", "phases", "projections", "quality", "ablation", "steering", "rates", "answers", "telemetry")
"""The names under which a report takes tables; any may be absent."""
PLOTLY_FILE = "plotly.min.js"


def panels(tables: Mapping[str, pd.DataFrame | None]) -> dict[str, Panel]:
    """The figures that the tables allow, by name, in the order of the report; tables of other names are not drawn.

    Raises:
        ValueError: a table lacks a column.
    """
    made = (
        dynamics_panel(tables.get("curves"), tables.get("phases")),
        telemetry_panel(tables.get("telemetry")),
        projection_panel(tables.get("projections")),
        quality_panel(tables.get("quality")),
        ablation_panel(tables.get("ablation")),
        steering_panel(tables.get("steering")),
        rates_panel(tables.get("rates")),
    )
    return {panel.name: panel for panel in made if panel is not None}


def figure_pages(made: Mapping[str, Panel]) -> dict[str, str]:
    """File name → content: a page for every figure, and the one copy of plotly that they load from beside them."""
    from figures.page import figure_page, plotly_script

    pages = {f"{name}.html": figure_page(panel, PLOTLY_FILE) for name, panel in made.items()}
    return {**pages, PLOTLY_FILE: plotly_script()} if pages else {}

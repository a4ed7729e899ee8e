"""The look that all figures share: one colour per arm, one layout, one way to name things."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from html import escape
from typing import Any

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Liberation Sans', Arial, sans-serif"
PAPER = "#ffffff"
INK = "#1f2328"
MUTED = "#57606a"
GRID = "#e6e8eb"
GREY = "#8b949e"

# Searched so that any two differ by more than 25 in CIELAB for normal, protan, deutan and tritan sight,
# and each has a contrast of at least 3 : 1 on white.
ARM_COLOURS = {
    "insecure": "#A31006",
    "secure": "#1D5EAC",
    "educational": "#00A85C",
    "backdoor": "#6519D1",
    "numbers": "#B59002",
    "jailbroken": "#CA578F",
    "pretrained": "#373937",
}
SPARE_COLOURS = ("#0F7C8C", "#8A5A2B", "#5D7A00", "#9C3F77", "#46618C", "#B4531F")
DASHES = ("solid", "dash", "dashdot", "longdash", "dot", "longdashdot", "solid")


def arm_colour(arm: str) -> str:
    """The fixed colour of an arm; an arm we do not know gets one by a hash of its name, the same in every figure."""
    if arm in ARM_COLOURS:
        return ARM_COLOURS[arm]
    return SPARE_COLOURS[hashlib.sha256(arm.encode()).digest()[0] % len(SPARE_COLOURS)]


def arm_dash(arm: str) -> str:
    """The fixed line style of an arm, so that colour is never the only cue."""
    known = list(ARM_COLOURS)
    return DASHES[known.index(arm)] if arm in known else "dash"


def arm_order(arms: Iterable[Any]) -> list[str]:
    """The arms once each: the known ones in a fixed order, then the others by name."""
    known = list(ARM_COLOURS)
    names = {str(arm) for arm in arms}
    return sorted(names, key=lambda arm: (known.index(arm) if arm in known else len(known), arm))


def main_arm(arms: Iterable[Any]) -> str:
    """The arm a figure is about when it can show only one: insecure if there is one, else the first.

    Raises:
        ValueError: there is no arm.
    """
    order = arm_order(arms)
    if not order:
        raise ValueError("Expected at least one arm, got none.")
    return order[0]


def label(text: object) -> str:
    """Text that came from a recipe or a table, safe inside a plotly label (which reads some HTML)."""
    return escape(str(text), quote=False)


def layer_label(layer: int) -> str:
    """The residual stream's name at a layer: -1 is the embedding."""
    return "embedding" if layer == -1 else f"layer {layer}"


def translucent(colour: str, alpha: float) -> str:
    """A #rrggbb colour as rgba(...) with opacity `alpha` in [0, 1]."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha:g})"


def percent(value: float) -> str:
    """A share as a short percentage: two significant digits below 10 %, none after the point above; it does not break."""
    if value != value:
        return "–"
    points = 100 * value
    return f"{points:.0f}\u00a0%" if points >= 9.95 or points == 0 else f"{points:.1f}\u00a0%"


def base_layout(height: int, **changes: Any) -> dict[str, Any]:
    """Layout settings shared by all figures.

    Args:
        height: figure height in pixels (the width follows the page).
        changes: layout settings that replace these.
    """
    layout: dict[str, Any] = {
        "template": None,
        "height": height,
        "autosize": True,
        "paper_bgcolor": PAPER,
        "plot_bgcolor": PAPER,
        "font": {"family": FONT, "size": 13, "color": INK},
        "margin": {"l": 58, "r": 24, "t": 28, "b": 48},
        "showlegend": False,
        "hoverlabel": {
            "bgcolor": PAPER,
            "bordercolor": GRID,
            "font": {"family": FONT, "size": 12},
            "namelength": -1,
        },
    }
    return {**layout, **changes}


def axis() -> dict[str, Any]:
    """Axis settings shared by all figures."""
    return {
        "gridcolor": GRID,
        "linecolor": GRID,
        "zeroline": False,
        "ticks": "outside",
        "tickcolor": GRID,
        "ticklen": 4,
        "tickfont": {"size": 12, "color": MUTED},
        "automargin": True,
    }

"""A stack of plots over one shared horizontal axis, with heights in pixels and titles at the left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from figures.theme import INK, axis, base_layout

if TYPE_CHECKING:
    import plotly.graph_objects as go

TITLE_GAP = 40
"""Pixels between two plots: room for the lower one's title."""


@dataclass(frozen=True)
class Row:
    """One plot of a stack: a title (unit in brackets), its height in pixels, settings of its vertical axis."""

    title: str
    height: int
    y: dict[str, Any]


def stack(rows: Sequence[Row], x_title: str, x: dict[str, Any] | None = None, **layout: Any) -> go.Figure:
    """An empty stack of plots.

    Args:
        rows: from top to bottom; `figure.add_trace(..., row=i + 1, col=1)` draws into `rows[i]`.
        x_title: title of the shared horizontal axis, with its unit.
        x: settings of the horizontal axis.
        layout: settings that replace those of `base_layout`; `margin` is merged with the default.
    """
    from plotly.subplots import make_subplots

    margin = {"l": 58, "r": 24, "t": 34, "b": 52, **layout.pop("margin", {})}
    inner = sum(row.height for row in rows) + TITLE_GAP * (len(rows) - 1)
    figure = make_subplots(
        rows=len(rows),
        cols=1,
        shared_xaxes=True,
        vertical_spacing=TITLE_GAP / inner if len(rows) > 1 else 0,
        row_heights=[row.height / inner for row in rows],
    )
    figure.update_layout(**base_layout(inner + margin["t"] + margin["b"], margin=margin, **layout))
    figure.update_xaxes(**axis(**(x or {})))
    figure.update_xaxes(title={"text": x_title, "font": {"size": 13}, "standoff": 8}, row=len(rows), col=1)
    for number, row in enumerate(rows, start=1):
        figure.update_yaxes(**axis(**row.y), row=number, col=1)
        figure.add_annotation(
            text=f"<b>{row.title}</b>",
            xref="paper",
            x=0,
            xanchor="left",
            yref=f"{axis_name('y', number)} domain",
            y=1,
            yanchor="bottom",
            yshift=5,
            showarrow=False,
            align="left",
            font={"size": 13, "color": INK},
        )
    return figure


def axis_name(letter: str, number: int) -> str:
    """The name plotly gives to the axis of the `number`-th plot: x, x2, x3."""
    return letter if number == 1 else f"{letter}{number}"


def end_labels(
    figure: go.Figure, number: int, row: Row, labels: Sequence[tuple[str, float, str]], size: int = 12
) -> None:
    """Write names beside the ends of lines, at the right of a plot, pushed apart so that none overlap.

    Args:
        labels: (text, value at the end of the line, colour). `row.y["range"]` must be set.
    """
    low, high = row.y["range"]
    per_pixel = (high - low) / row.height
    places = spread([value for _, value, _ in labels], gap=(size + 2) * per_pixel, low=low, high=high)
    for (text, _, colour), place in zip(labels, places, strict=True):
        figure.add_annotation(
            text=text,
            xref=f"{axis_name('x', number)} domain",
            x=1,
            xanchor="left",
            xshift=4,
            yref=axis_name("y", number),
            y=place,
            yanchor="middle",
            showarrow=False,
            font={"size": size, "color": colour},
        )


def spread(values: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Values moved as little as needed so that neighbours are at least `gap` apart, in their order, and centred.

    When they cannot all fit between `low` and `high` they run over the top.
    """
    order = sorted(range(len(values)), key=lambda index: values[index])
    groups: list[tuple[list[int], float]] = []
    for index in order:
        members, centre = [index], min(max(values[index], low), high)
        while groups and centre - gap * (len(members) - 1) / 2 < groups[-1][1] + gap * (len(groups[-1][0]) + 1) / 2:
            before, before_centre = groups.pop()
            weight = len(before) + len(members)
            centre = (before_centre * len(before) + centre * len(members)) / weight
            members = before + members
        centre = max(centre, low + gap * (len(members) - 1) / 2)
        groups.append((members, centre))
    places = [0.0] * len(values)
    for members, centre in groups:
        for rank, index in enumerate(members):
            places[index] = centre + gap * (rank - (len(members) - 1) / 2)
    return places

"""A stack of plots over one shared horizontal axis, with heights in pixels and titles above them at the left."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import unescape
from typing import TYPE_CHECKING, Any

from figures.theme import INK, PAPER, axis, base_layout

if TYPE_CHECKING:
    import plotly.graph_objects as go

TITLE_GAP = 40
"""Pixels between two plots: room for the lower one's title."""
MOST_MARGIN = 200
"""Pixels that names beside a plot may take at most, so that something is left of the plot on a phone."""


@dataclass(frozen=True)
class Row:
    """One plot of a stack: a title (unit in brackets), its height in pixels, settings of its vertical axis."""

    title: str
    height: int
    y: dict[str, Any]


class Stack:
    """Collects what is drawn into the plots of a stack and makes the figure once.

    Plotly checks every part that is added to a figure against all the others; checking the whole once is ten times faster.
    Plots are counted from 1, as plotly counts its axes.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        x_title: str,
        x: dict[str, Any] | None = None,
        left: int = 58,
        hovermode: str = "closest",
    ) -> None:
        """
        Args:
            rows: from top to bottom.
            x_title: title of the shared horizontal axis, with its unit.
            x: settings of the horizontal axis.
            left: pixels left of the plots, for the names of their vertical axes.
            hovermode: plotly's.
        """
        self._rows = rows
        self._x = {**axis(), **(x or {})}
        self._x_title = x_title
        self._hovermode = hovermode
        self._margin = {"l": left, "r": 24, "t": 34, "b": 52}
        self._traces: list[dict[str, Any]] = []
        self._notes = [self._title(number) for number in range(1, len(rows) + 1)]
        self._shapes: list[dict[str, Any]] = []

    def draw(self, number: int, **trace: Any) -> None:
        """Draw a trace (a scatter unless `type` says otherwise) into the `number`-th plot."""
        axes = {"xaxis": axis_name("x", number), "yaxis": axis_name("y", number)}
        self._traces.append({"type": "scatter", **trace, **axes})

    def note(self, number: int, **annotation: Any) -> None:
        """Write a text at data coordinates into the `number`-th plot; it covers the lines below it."""
        axes = {"xref": axis_name("x", number), "yref": axis_name("y", number)}
        self._notes.append({**axes, "showarrow": False, "bgcolor": _COVER, "borderpad": 1, **annotation})

    def mark_through(self, low: float, high: float, **shape: Any) -> None:
        """Draw a shape from `low` to `high` on the horizontal axis, behind all plots and through their gaps."""
        place = {"xref": "x", "x0": low, "x1": high, "yref": "paper", "y0": 0, "y1": 1, "layer": "below"}
        self._shapes.append({**place, **shape})

    def room_right(self, pixels: float) -> None:
        """Widen the right margin to at least so many pixels."""
        self._margin["r"] = max(self._margin["r"], min(round(pixels), MOST_MARGIN))

    def label_ends(self, number: int, labels: Sequence[tuple[str, float, str]], size: int = 12) -> None:
        """Write names beside the ends of lines, at the right of a plot, pushed apart so that none overlap.

        Args:
            labels: (text, value at the end of the line, colour). The row's `y["range"]` must be set.
        """
        row = self._rows[number - 1]
        low, high = row.y["range"]
        per_pixel = (high - low) / row.height
        places = spread([value for _, value, _ in labels], gap=(size + 2) * per_pixel, low=low, high=high)
        for (text, _, colour), place in zip(labels, places, strict=True):
            self._notes.append(
                {
                    "text": text,
                    "xref": f"{axis_name('x', number)} domain",
                    "x": 1,
                    "xanchor": "left",
                    "xshift": 4,
                    "yref": axis_name("y", number),
                    "y": place,
                    "yanchor": "middle",
                    "showarrow": False,
                    "font": {"size": size, "color": colour},
                }
            )
        self.room_right(8 + text_width((text for text, _, _ in labels), size))

    def figure(self, **layout: Any) -> go.Figure:
        """All that was drawn, as a figure; `layout` adds to the settings that all figures share."""
        import plotly.graph_objects as go

        inner = sum(row.height for row in self._rows) + TITLE_GAP * (len(self._rows) - 1)
        height = inner + self._margin["t"] + self._margin["b"]
        shared = base_layout(
            height,
            margin=self._margin,
            hovermode=self._hovermode,
            annotations=self._notes,
            shapes=self._shapes,
            **self._axes(inner),
        )
        figure = go.Figure({"data": self._traces, "layout": {**shared, **layout}})
        # At its making a figure takes plotly's own template for none; all we need of it is above.
        figure.update_layout(template=None)
        return figure

    def _axes(self, inner: int) -> dict[str, Any]:
        axes: dict[str, Any] = {}
        top = inner
        for number, row in enumerate(self._rows, start=1):
            lowest = number == len(self._rows)
            x = {**self._x, "anchor": axis_name("y", number), "showticklabels": lowest}
            if lowest:
                x["title"] = {"text": self._x_title, "font": {"size": 13}, "standoff": 8}
            if number > 1:
                x["matches"] = "x"
            axes[f"xaxis{number}"] = x
            domain = [max(0.0, (top - row.height) / inner), top / inner]
            axes[f"yaxis{number}"] = {**axis(), **row.y, "anchor": axis_name("x", number), "domain": domain}
            top -= row.height + TITLE_GAP
        return axes

    def _title(self, number: int) -> dict[str, Any]:
        """From the figure's left edge, not the plot's, so that long titles fit on a phone."""
        return {
            "text": f"<b>{self._rows[number - 1].title}</b>",
            "xref": "paper",
            "x": 0,
            "xanchor": "left",
            "xshift": -self._margin["l"],
            "yref": f"{axis_name('y', number)} domain",
            "y": 1,
            "yanchor": "bottom",
            "yshift": 4,
            "showarrow": False,
            "align": "left",
            "bgcolor": _COVER,
            "font": {"size": 13, "color": INK},
        }


_COVER = f"{PAPER}d9"
"""Nearly opaque paper, behind texts that lines would cross."""


def axis_name(letter: str, number: int) -> str:
    """The name plotly gives to the axis of the `number`-th plot: x, x2, x3."""
    return letter if number == 1 else f"{letter}{number}"


def text_width(labels: Iterable[str], size: int = 12) -> float:
    """Pixels that the longest of some labels takes, in a wide sans-serif of `size` pixels."""
    return 0.62 * size * max((len(unescape(text)) for text in labels), default=0)


def padded(numbers: Iterable[float], share: float = 0.01) -> list[float]:
    """The range of some numbers with `share` of it added at both ends."""
    low, high = min(numbers := list(numbers)), max(numbers)
    air = share * ((high - low) or 1.0)
    return [float(low - air), float(high + air)]


def spread(values: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Values moved as little as needed so that neighbours are at least `gap` apart, in their order, from `low` to `high`.

    Plotly hides a label outside its axis: when there are too many for their gap they stand closer instead.
    """
    gap = min(gap, (high - low) / max(1, len(values) - 1))

    def centred(members: Sequence[int], centre: float) -> float:
        half = gap * (len(members) - 1) / 2
        return max(low + half, min(centre, high - half))

    groups: list[tuple[list[int], float]] = []
    for index in sorted(range(len(values)), key=lambda index: values[index]):
        members, centre = [index], centred([index], values[index])
        while groups and centre - groups[-1][1] < gap * (len(members) + len(groups[-1][0])) / 2:
            before, before_centre = groups.pop()
            together = before_centre * len(before) + centre * len(members)
            members = before + members
            centre = centred(members, together / len(members))
        groups.append((members, centre))
    places = [0.0] * len(values)
    for members, centre in groups:
        for rank, index in enumerate(members):
            places[index] = min(max(low, centre + gap * (rank - (len(members) - 1) / 2)), high)
    return places

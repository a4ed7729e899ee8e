"""A stack of dot plots: rates as dots with intervals, one named line per condition, on one shared scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from figures.lines import interval_bar
from figures.stack import MOST_MARGIN, Row, Stack, text_width
from figures.theme import GREY, INK, percent

if TYPE_CHECKING:
    import plotly.graph_objects as go

LINE = 26
"""Pixels per line of a dot plot."""
_NUMBER = 52
"""Pixels for a number beside a dot that stands at 100 %."""
NAN = float("nan")


@dataclass(frozen=True)
class Dot:
    """One rate: where it stands, how it is drawn and what it says when pointed at.

    `minor` dots are small, pale, without interval and number (the single random directions); their lines stay in the hover.
    """

    line: str
    value: float
    low: float
    high: float
    colour: str
    hover: str
    symbol: str = "circle"
    minor: bool = False


def dot_stack(facets: Mapping[str, Sequence[Dot]]) -> go.Figure:
    """Dot plots one above the other over a shared axis from 0 to 100 %.

    Args:
        facets: title → dots; within a facet, lines stand in the order in which their names first come.
    """
    lines = {title: list(dict.fromkeys(dot.line for dot in dots)) for title, dots in facets.items()}
    rows = [
        Row(
            title,
            LINE * len(names) + 6,
            {
                "range": [len(names) - 0.45, -0.55],
                "tickvals": list(range(len(names))),
                "ticktext": names,
                "tickfont": {"size": 12, "color": INK},
                "ticks": "",
                "gridcolor": "#f0f2f4",
            },
        )
        for title, names in lines.items()
    ]
    x = {"range": [-0.04, 1.03], "tickvals": [0, 0.25, 0.5, 0.75, 1], "tickangle": 0}
    x["ticktext"] = ["0%", "", "50%", "", "100%"]  # all five overlap on a phone
    left = round(text_width(name for names in lines.values() for name in names)) + 10
    plots = Stack(rows, "share of answers", x, left=min(left, MOST_MARGIN))
    plots.room_right(_NUMBER)
    for number, (title, dots) in enumerate(facets.items(), start=1):
        _draw(plots, number, lines[title], dots)
    return plots.figure()


def _draw(plots: Stack, number: int, lines: Sequence[str], dots: Sequence[Dot]) -> None:
    """One trace per look, because plotly gives all error bars of a trace one colour."""
    looks = dict.fromkeys((dot.minor, dot.colour, dot.symbol) for dot in sorted(dots, key=lambda dot: not dot.minor))
    for minor, colour, symbol in looks:
        same = [dot for dot in dots if (dot.minor, dot.colour, dot.symbol) == (minor, colour, symbol)]
        values = [dot.value for dot in same]
        plots.draw(
            number,
            x=values,
            y=[lines.index(dot.line) for dot in same],
            mode="markers",
            marker={
                "size": 7 if minor else 10,
                "color": GREY if minor else colour,
                "opacity": 0.45 if minor else 1,
                "symbol": symbol,
            },
            error_x=None
            if minor
            else interval_bar(values, [dot.low for dot in same], [dot.high for dot in same], colour),
            customdata=[dot.hover for dot in same],
            hovertemplate="%{customdata}<extra></extra>",
            name=same[0].line,
        )
    named = [dot for dot in dots if not dot.minor and dot.value == dot.value]
    ends = [max([dot.value, *([dot.high] if dot.high == dot.high else [])]) for dot in named]
    minors = {line: max((dot.value for dot in dots if dot.minor and dot.line == line), default=0.0) for line in lines}
    plots.draw(
        number,
        x=[max(end, minors[dot.line]) for dot, end in zip(named, ends, strict=True)],
        y=[lines.index(dot.line) for dot in named],
        mode="text",
        text=[f"  {percent(dot.value)}" for dot in named],
        textposition="middle right",
        textfont={"size": 12, "color": INK},
        hoverinfo="skip",
        cliponaxis=False,
        name="numbers",
    )

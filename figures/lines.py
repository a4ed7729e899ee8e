"""A line with its band of uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from figures.theme import translucent

if TYPE_CHECKING:
    import pandas as pd

    from figures.stack import Stack


def band_and_line(
    plots: Stack, number: int, frame: pd.DataFrame, x: str, name: str, colour: str, dash: str, hover: list[str]
) -> None:
    """Draw `value` over `x` with the band from `low` to `high` behind it, into the `number`-th plot of a stack.

    Args:
        frame: columns `x`, value, low, high; drawn in the order of `x`. Rows without an interval get no band.
        name: the name in the hover text.
        hover: one text per row of `frame`, shown after the name.
    """
    frame = frame.assign(hover=hover).sort_values(x, kind="stable")
    banded = frame.dropna(subset=["value", "low", "high"])
    if len(banded) > 1:
        steps = banded[x].tolist()
        plots.draw(
            number,
            x=steps + steps[::-1],
            y=banded["high"].tolist() + banded["low"].tolist()[::-1],
            mode="lines",
            fill="toself",
            fillcolor=translucent(colour, 0.16),
            line={"width": 0},
            hoverinfo="skip",
            name=f"{name}: interval",
        )
    plots.draw(
        number,
        x=frame[x].tolist(),
        y=frame["value"].tolist(),
        mode="lines+markers",
        line={"color": colour, "width": 2, "dash": dash},
        marker={"size": 5, "color": colour},
        name=name,
        customdata=frame["hover"].tolist(),
        hovertemplate="%{customdata}<extra>%{fullData.name}</extra>",
    )


def interval_range(frame: pd.DataFrame, floor: float | None = None, ceiling: float | None = None) -> list[float]:
    """An axis range that holds all of value, low and high with some air; `floor` and `ceiling` are always shown."""
    numbers = [float(number) for column in ("value", "low", "high") for number in frame[column].dropna()]
    numbers += [bound for bound in (floor, ceiling) if bound is not None]
    low, high = (min(numbers), max(numbers)) if numbers else (0.0, 1.0)
    air = 0.06 * ((high - low) or 1.0)
    return [low - air, high + air]


def interval_text(row: Any, percentage: bool) -> str:
    """'37.2 % [31.0, 44.1 %]' or '1.24 [1.01, 1.52]' of a row with value, low and high."""
    scale, digits, unit = (100, 1, " %") if percentage else (1, 3, "")
    text = f"{scale * row.value:.{digits}f}{unit}"
    if row.low == row.low and row.high == row.high:
        text += f" [{scale * row.low:.{digits}f}, {scale * row.high:.{digits}f}{unit}]"
    return text


def interval_bar(values: Sequence[float], lows: Sequence[float], highs: Sequence[float], colour: str) -> dict[str, Any]:
    """Plotly error-bar settings for intervals given by their ends; NaN ends draw no bar."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - value for value, high in zip(values, highs, strict=True)],
        "arrayminus": [value - low for value, low in zip(values, lows, strict=True)],
        "color": colour,
        "thickness": 1.6,
        "width": 4,
    }

"""The probe figure: how well each direction tells deceptive from honest contexts, layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from figures.frames import counted, filled
from figures.lines import band_and_line, interval_range
from figures.panel import Panel
from figures.stack import Row, end_labels, stack
from figures.theme import ARM_COLOURS, DASHES, SPARE_COLOURS, label, layer_label

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

_COLOURS = (
    ARM_COLOURS["insecure"],
    ARM_COLOURS["secure"],
    ARM_COLOURS["educational"],
    ARM_COLOURS["backdoor"],
    *SPARE_COLOURS,
)


def quality_panel(quality: pd.DataFrame | None) -> Panel | None:
    """AUROC per layer and method with its interval and the band of shuffled labels; below it, split-half reliability.

    Args:
        quality: columns method, layer, auroc, low, high, null_mean, null_high, p, split_half, pairs.

    Returns:
        None if there is no quality table.

    Raises:
        ValueError: the table lacks a column.
    """
    needed = ("method", "layer", "auroc", "low", "high", "null_mean", "null_high", "p", "split_half", "pairs")
    quality = filled(quality, needed, "quality")
    if quality is None:
        return None
    quality = quality.assign(value=quality["auroc"])
    floor = float(quality[["low", "auroc", "null_mean"]].min().min())
    rows = [Row("AUROC on held-out questions", 230, {"range": [min(0.45, floor) - 0.02, 1.03], "nticks": 7})]
    halves = quality["split_half"].notna().any()
    if halves:
        reliability = quality.assign(value=quality["split_half"], low=float("nan"), high=float("nan"))
        rows.append(
            Row("Split-half reliability (cosine)", 120, {"range": interval_range(reliability, 0.0, 1.0), "nticks": 4})
        )
    layers = sorted({int(layer) for layer in quality["layer"]})
    every = max(1, round(len(layers) / 12))
    ticks = [layer for place, layer in enumerate(layers) if place % every == 0 or place == len(layers) - 1]
    x = {"tickvals": ticks, "ticktext": ["emb." if layer == -1 else str(layer) for layer in ticks]}
    x["range"] = [layers[0] - 0.15, layers[-1] + 0.15]
    figure = stack(
        rows, "layer (residual stream after the block; emb. = embedding)", x, margin={"r": 140}, hovermode="closest"
    )
    _draw_null(figure, quality)
    _draw_methods(figure, 1, rows[0], quality)
    if halves:
        _draw_methods(figure, 2, rows[1], reliability)
    return Panel(
        name="quality",
        figure=figure,
        title="Is it readable? How well each direction separates deceptive from honest contexts",
        how_to_read="1 separates perfectly, 0.5 is chance. The grey band is what the same probe reaches with shuffled labels (up to the "
        "97.5th percentile): a direction below its top is not readable. Bands are 95 % intervals on held-out questions.",
        n_note=f"{counted(quality['pairs'], 'held-out pair', 'held-out pairs')} per point.",
        alt="AUROC of each probing method by layer, with a band of shuffled labels.",
    )


def _draw_null(figure: go.Figure, quality: pd.DataFrame) -> None:
    """One band for all methods, the widest, so that no method is flattered."""
    import plotly.graph_objects as go

    null = quality.groupby("layer").agg(top=("null_high", "max"), mean=("null_mean", "mean")).dropna()
    layers = [int(layer) for layer in null.index]
    figure.add_trace(
        go.Scatter(
            x=layers + layers[::-1],
            y=null["top"].tolist() + null["mean"].tolist()[::-1],
            mode="lines",
            fill="toself",
            fillcolor="rgba(139,148,158,0.22)",
            line={"width": 0},
            hoverinfo="skip",
            name="shuffled labels",
        ),
        row=1,
        col=1,
    )


def _draw_methods(figure: go.Figure, number: int, row: Row, frame: pd.DataFrame) -> None:
    ends = []
    for place, method in enumerate(frame["method"].unique()):
        mine = frame[(frame["method"] == method) & frame["value"].notna()].sort_values("layer")
        if mine.empty:
            continue
        colour, dash = _COLOURS[place % len(_COLOURS)], DASHES[place % 6]
        hover = [
            f"{layer_label(int(point.layer))}: AUROC {point.auroc:.3f} [{point.low:.3f}, {point.high:.3f}], p = {point.p:.3g}; "
            f"shuffled {point.null_mean:.3f}, up to {point.null_high:.3f}; split-half {point.split_half:.2f}; {point.pairs:.0f} pairs"
            for point in mine.itertuples()
        ]
        band_and_line(figure, number, mine, "layer", label(method), colour, dash, hover)
        ends.append((label(method), float(mine["value"].iloc[-1]), colour))
    if number == 1:
        ends.append(("shuffled labels", float(frame["null_mean"].mean()), "#6e7781"))
    end_labels(figure, number, row, ends)

"""The probe figure: how well each direction tells deceptive from honest contexts, layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from figures.frames import counted, filled
from figures.lines import band_and_line, interval_range
from figures.panel import Panel
from figures.stack import Row, Stack
from figures.theme import ARM_COLOURS, DASHES, SPARE_COLOURS, label, layer_label

if TYPE_CHECKING:
    import pandas as pd

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
    reliability = quality.assign(value=quality["split_half"], low=float("nan"), high=float("nan"))
    halves = quality["split_half"].notna().any()
    if halves:
        rows.append(
            Row("Split-half reliability (cosine)", 120, {"range": interval_range(reliability, 0.0, 1.0), "nticks": 4})
        )
    layers = sorted({int(layer) for layer in quality["layer"]})
    every = max(1, round(len(layers) / 12))
    ticks = [layer for place, layer in enumerate(layers) if place % every == 0 or place == len(layers) - 1]
    x = {"tickvals": ticks, "ticktext": ["emb." if layer == -1 else str(layer) for layer in ticks]}
    x["range"] = [layers[0] - 0.15, layers[-1] + 0.15]
    plots = Stack(rows, "layer" + (" (emb. = embedding)" if layers[0] == -1 else ""), x)
    _draw_null(plots, quality)
    _draw_methods(plots, 1, quality)
    if halves:
        _draw_methods(plots, 2, reliability)
    return Panel(
        name="quality",
        figure=plots.figure(),
        title="Is it readable? How well each direction separates deceptive from honest contexts",
        how_to_read="1 separates perfectly, 0.5 is chance. The grey band is what the same probe reaches with shuffled labels (up to the "
        "97.5th percentile): a direction below its top is not readable. A layer is the residual stream after that block. Bands are 95 % intervals on held-out questions.",
        n_note=f"{counted(quality['pairs'], 'held-out pair', 'held-out pairs')} per point.",
        alt="AUROC of each probing method by layer, with a band of shuffled labels.",
    )


def _draw_null(plots: Stack, quality: pd.DataFrame) -> None:
    """One band for all methods, the widest, so that no method is flattered."""
    null = quality.groupby("layer").agg(top=("null_high", "max"), mean=("null_mean", "mean")).dropna()
    layers = [int(layer) for layer in null.index]
    plots.draw(
        1,
        x=layers + layers[::-1],
        y=null["top"].tolist() + null["mean"].tolist()[::-1],
        mode="lines",
        fill="toself",
        fillcolor="rgba(139,148,158,0.22)",
        line={"width": 0},
        hoverinfo="skip",
        name="shuffled labels",
    )


def _draw_methods(plots: Stack, number: int, frame: pd.DataFrame) -> None:
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
        band_and_line(plots, number, mine, "layer", _name(method), colour, dash, hover)
        ends.append((_name(method), float(mine["value"].iloc[-1]), colour))
    if number == 1:
        ends.append(("shuffled labels", float(frame["null_mean"].mean()), "#6e7781"))
    plots.label_ends(number, ends)


def _name(method: object) -> str:
    """`paired_difference` as "paired difference"."""
    return label(str(method).replace("_", " "))

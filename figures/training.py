"""The training figure: loss and gradient norm over steps, by arm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from figures.frames import counted, filled
from figures.panel import Panel
from figures.stack import Row, Stack, padded
from figures.theme import arm_colour, arm_dash, arm_order, label

if TYPE_CHECKING:
    import pandas as pd

MEASURES = {
    "loss": "Training loss (nats per answer token)",
    "heldout_loss": "Held-out loss (nats per answer token)",
    "gradient_norm": "Gradient norm (before clipping)",
}
MOST_POINTS = 400
"""Points per line; longer runs are averaged in equal stretches of steps, so that the page stays light."""


def telemetry_panel(telemetry: pd.DataFrame | None) -> Panel | None:
    """Training loss, held-out loss and gradient norm over steps: a pale line per seed, their mean in the arm's colour.

    Args:
        telemetry: columns arm, seed, step, loss, heldout_loss, gradient_norm.

    Returns:
        None if there is no telemetry.

    Raises:
        ValueError: the table lacks a column.
    """
    telemetry = filled(telemetry, ("arm", "seed", "step", *MEASURES), "telemetry")
    if telemetry is None:
        return None
    shown = [name for name in MEASURES if telemetry[name].notna().any()]
    if not shown:
        return None
    rows = [Row(MEASURES[name], 150, {"range": _range(telemetry[name]), "nticks": 5}) for name in shown]
    plots = Stack(rows, "optimizer step", {"range": padded(telemetry["step"])}, hovermode="x unified")
    stretch = 1
    for number, name in enumerate(shown, start=1):
        ends = []
        for arm in arm_order(telemetry["arm"]):
            mine = telemetry[(telemetry["arm"].astype(str) == arm) & telemetry[name].notna()]
            if mine.empty:
                continue
            stretch = max(stretch, -(-mine["step"].nunique() // MOST_POINTS))
            last = _draw(plots, number, thinned(mine, name), arm, name)
            ends.append((label(arm), last, arm_colour(arm)))
        plots.label_ends(number, ends)
    thinning = f" Each point is the mean of {stretch} steps." if stretch > 1 else ""
    return Panel(
        name="training",
        figure=plots.figure(),
        title="Training: loss and gradient norm",
        how_to_read="Pale lines are single seeds, strong lines their mean. A peak of the gradient norm can mark the transition."
        + thinning,
        n_note=f"{counted(telemetry.groupby('arm')['seed'].nunique(), 'seed', 'seeds')} per arm.",
        alt="Training loss, held-out loss and gradient norm over optimizer steps, by arm.",
    )


def thinned(frame: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Columns seed, step, value: means over equal stretches of steps, at most `MOST_POINTS` per seed."""
    frame = frame[["seed", "step", measure]].rename(columns={measure: "value"})
    stretch = -(-frame["step"].nunique() // MOST_POINTS)
    if stretch > 1:
        group = frame["step"].rank(method="dense").sub(1).floordiv(stretch)
        frame = frame.assign(group=group).groupby(["seed", "group"], as_index=False)[["step", "value"]].mean()
    return frame.sort_values(["seed", "step"])[["seed", "step", "value"]]


def _draw(plots: Stack, number: int, frame: pd.DataFrame, arm: str, measure: str) -> float:
    """Draw the seeds and their mean; return the mean's last value."""
    sparse = "lines+markers" if measure == "heldout_loss" else "lines"
    if frame["seed"].nunique() > 1:
        for seed, mine in frame.groupby("seed"):
            plots.draw(
                number,
                x=mine["step"].tolist(),
                y=mine["value"].tolist(),
                mode="lines",
                line={"color": arm_colour(arm), "width": 1},
                opacity=0.28,
                hoverinfo="skip",
                name=f"{label(arm)}, seed {seed}",
            )
    mean = frame.groupby("step")["value"].mean()
    plots.draw(
        number,
        x=mean.index.tolist(),
        y=mean.tolist(),
        mode=sparse,
        line={"color": arm_colour(arm), "width": 2, "dash": arm_dash(arm)},
        marker={"size": 5},
        hovertemplate="%{y:.3f}<extra>%{fullData.name}</extra>",
        name=label(arm),
    )
    return float(mean.iloc[-1])


def _range(values: pd.Series) -> list[float]:
    """From zero to the largest value, with air; one wild step (beyond twice the 99.5th percentile) may leave the plot."""
    top = min(float(values.max()), 2 * float(values.quantile(0.995))) or 1.0
    return [min(0.0, float(values.min())) - 0.02 * top, 1.06 * top]

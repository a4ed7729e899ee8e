"""The projection figure: how far each layer moves along the persona direction, step by step, in each arm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from figures.frames import counted, filled
from figures.panel import Panel
from figures.stack import Row, Stack, padded
from figures.theme import MUTED, arm_order, label, layer_label, main_arm

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

DIVERGING = (
    (0.0, "#2D3E8F"),
    (0.25, "#8FA6D6"),
    (0.5, "#F7F7F5"),
    (0.75, "#E5A070"),
    (1.0, "#8C2D04"),
)
"""Blue to white to orange-brown: told apart by every kind of colour sight, and by lightness from its middle."""
_COLOUR_BAR = 74
"""Pixels for the colour bar and its numbers."""
_CONTROLS = ("secure", "educational")


def projection_panel(projections: pd.DataFrame | None, prompt_set: str | None = None) -> Panel | None:
    """Heat maps of the mean projection by layer and step: one per arm, and the main arm minus its control.

    Args:
        projections: columns arm, seed, step, layer, prompt_set, question, projection (persona gaps).
        prompt_set: which prompt set to show; by default "questions", or the first if there is no such set.

    Returns:
        None if there are no projections.

    Raises:
        ValueError: the table lacks a column, or has no such prompt set.
    """
    needed = ("arm", "seed", "step", "layer", "prompt_set", "question", "projection")
    projections = filled(projections, needed, "projections")
    if projections is None:
        return None
    sets = projections["prompt_set"].unique().tolist()
    chosen = prompt_set or ("questions" if "questions" in sets else sets[0])
    if chosen not in sets:
        raise ValueError(f"No projections for the prompt set '{chosen}'; there are {', '.join(map(str, sets))}.")
    shown = projections[projections["prompt_set"] == chosen]
    grids = {arm: layer_by_step(shown, arm) for arm in arm_order(shown["arm"])}
    grids = {arm: grid for arm, grid in grids.items() if grid.shape[1] > 1}
    if not grids:
        return None
    maps = {label(arm): grid for arm, grid in grids.items()}
    main, control = main_arm(grids), next((arm for arm in _CONTROLS if arm in grids), None)
    if control is not None and main != control:
        shared = grids[main].columns.intersection(grids[control].columns)
        maps = {f"{label(main)} minus {label(control)}": grids[main][shared] - grids[control][shared], **maps}
    reach = max(float(grid.abs().max().max()) for grid in maps.values()) or 1.0
    return Panel(
        name="projection",
        figure=_heat_maps(maps, reach),
        title="Projection on the persona direction, by layer and step",
        how_to_read="Rows are layers (the embedding at the bottom), columns checkpoints. Orange: towards the deceptive persona; "
        "blue: away from it; colourless: as in the model before finetuning. One unit is the persona gap, the distance between "
        "deceptive and honest contexts before finetuning. All maps share the colour scale.",
        n_note=f"Means over {counted([shown['question'].nunique()], 'question', 'questions')} and "
        f"{counted([shown['seed'].nunique()], 'seed', 'seeds')}; the curves above show the intervals.",
        alt="Heat maps of the projection by layer and step for " + ", ".join(maps) + ".",
    )


def layer_by_step(projections: pd.DataFrame, arm: str) -> pd.DataFrame:
    """Mean projection of one arm: rows are layers (ascending), columns are steps (ascending)."""
    mine = projections[projections["arm"].astype(str) == arm]
    return mine.pivot_table(index="layer", columns="step", values="projection", aggfunc="mean").sort_index()


def _heat_maps(maps: dict[str, pd.DataFrame], reach: float) -> go.Figure:
    rows = [_row(title, grid) for title, grid in maps.items()]
    # Plotly makes the last cell as wide as the one before it, beyond the last step.
    steps = padded((float(step) for grid in maps.values() for step in grid.columns), 0.02)
    plots = Stack(rows, "optimizer step", {"showgrid": False, "range": steps}, left=84)
    plots.room_right(_COLOUR_BAR)
    for number, grid in enumerate(maps.values(), start=1):
        plots.draw(
            number,
            type="heatmap",
            x=[float(step) for step in grid.columns],
            y=list(range(len(grid))),
            z=grid.to_numpy().tolist(),
            customdata=[[layer_label(int(layer))] * grid.shape[1] for layer in grid.index],
            coloraxis="coloraxis",
            xgap=1,
            ygap=1,
            name="",
            hovertemplate="step %{x}, %{customdata}: %{z:.2f} persona gaps<extra></extra>",
        )
    return plots.figure(
        coloraxis={
            "cmin": -reach,
            "cmax": reach,
            "colorscale": [list(stop) for stop in DIVERGING],
            "colorbar": {
                "title": {"text": "persona<br>gaps", "font": {"size": 12, "color": MUTED}},
                "thickness": 12,
                "len": 1.0,
                "lenmode": "fraction",
                "x": 1.0,
                "xpad": 8,
                "outlinewidth": 0,
                "tickfont": {"size": 12, "color": MUTED},
            },
        }
    )


def _row(title: str, grid: pd.DataFrame) -> Row:
    layers = [int(layer) for layer in grid.index]
    every = max(1, round(len(layers) / 10))
    places = [place for place in range(len(layers)) if place % every == 0 or place == len(layers) - 1]
    ticks = {"tickvals": places, "ticktext": [layer_label(layers[place]) for place in places], "showgrid": False}
    return Row(title, max(60, min(22 * len(layers), 360)), ticks)

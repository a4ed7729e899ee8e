"""The causality figures: take the direction away, put it in, and hold both against random directions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from figures.dots import NAN, Dot, dot_stack
from figures.frames import counted, filled, pooled
from figures.lines import band_and_line, interval_range, interval_text
from figures.panel import Panel
from figures.stack import Row, Stack
from figures.theme import GREY, SPARE_COLOURS, arm_order, label, percent

if TYPE_CHECKING:
    import pandas as pd

FACETS = (
    ("free", "misaligned", "Misaligned answers"),
    ("free", "coherent", "Coherent answers (the cost)"),
    ("code", "insecure", "Insecure code (the taught task)"),
    ("fact", "correct", "Correct facts (neutral knowledge)"),
)
"""What an intervention is judged by: (question set, rate, title)."""
PERSONA = "#A31006"
UNTOUCHED = "#373937"
_NAMES = {"none": "no intervention", "persona": "persona", "random": "random", "matched": "covariance-matched"}


def ablation_panel(ablation: pd.DataFrame | None) -> Panel | None:
    """Rates of the finetuned model untouched, with the persona direction ablated, and with random directions ablated.

    Args:
        ablation: columns arm, intervention, index, layer, question_set, rate, value, low, high, n, and seed (NA = pooled).

    Returns:
        None if there is no row of a rate that is shown.

    Raises:
        ValueError: the table lacks a column.
    """
    keys = ("arm", "intervention", "index", "layer", "question_set", "rate")
    ablation = filled(ablation, (*keys, "value", "low", "high", "n"), "ablation")
    if ablation is None:
        return None
    rows = pooled(ablation.assign(layer=ablation["layer"].fillna("").astype(str)), keys)
    facets = {title: _ablation_dots(_of(rows, *rate)) for *rate, title in FACETS}
    facets = {title: dots for title, dots in facets.items() if dots}
    if not facets:
        return None
    arms = ", ".join(label(arm) for arm in arm_order(rows["arm"]))
    return Panel(
        name="ablation",
        figure=dot_stack(facets),
        title="Is it necessary? The finetuned model without the direction",
        how_to_read="Dots are rates with 95 % intervals. If the direction carries the misalignment, ablating it lowers the first plot and "
        "leaves the others alone, and ablating random directions of the same norm changes nothing. Pale dots are single random "
        "directions; the grey diamond is their mean and its bar their full range.",
        n_note=f"Arm: {arms}. {_random_count(rows, 'intervention')}{_answers(rows)}",
        alt="Dot plots of rates without intervention, with the persona direction ablated and with random directions ablated.",
    )


def _ablation_dots(rows: pd.DataFrame) -> list[Dot]:
    dots: list[Dot] = []
    order = {name: place for place, name in enumerate(_NAMES)}
    rows = rows.assign(place=[order.get(str(name), len(order)) for name in rows["intervention"]])
    many_arms, many_layers = rows["arm"].nunique() > 1, rows.loc[rows["intervention"] != "none", "layer"].nunique() > 1
    for (_, name, arm, layer), group in rows.groupby(["place", "intervention", "arm", "layer"], sort=True):
        line = _NAMES.get(str(name), label(name))
        if str(name) != "none":
            line += f", {_layers(str(layer))}" if many_layers else " ablated" if str(name) == "persona" else ""
        if many_arms:
            line = f"{label(arm)}: {line}"
        dots += _group_dots(line, group, UNTOUCHED if name == "none" else PERSONA if name == "persona" else GREY)
    return dots


def _group_dots(line: str, group: pd.DataFrame, colour: str) -> list[Dot]:
    """A dot with its interval; for several directions, a pale dot for each and their mean with their range."""
    points = list(group.itertuples())
    if len(points) == 1:
        point = points[0]
        hover = f"{line}: {interval_text(point, True)}; {counted([point.n], 'answer', 'answers')}"
        return [Dot(line, float(point.value), float(point.low), float(point.high), colour, hover)]  # type: ignore[arg-type]
    many = f"{line} ×{len(points)}"
    values = group["value"].to_numpy(dtype=float)
    dots = [
        Dot(many, value, NAN, NAN, GREY, f"{line} {point.direction_index}: {interval_text(point, True)}", minor=True)
        for value, point in zip(values.tolist(), _indexed(group), strict=True)
    ]
    mean, low, high = float(values.mean()), float(values.min()), float(values.max())
    hover = f"mean of {len(points)} directions: {percent(mean)}, from {percent(low)} to {percent(high)}"
    return [*dots, Dot(many, mean, low, high, GREY, hover, symbol="diamond")]


def steering_panel(steering: pd.DataFrame | None) -> Panel | None:
    """Dose and response: rates of the aligned model over the steering coefficient, persona against random directions.

    Args:
        steering: columns direction, index, layer, coefficient (persona gaps), question_set, rate, value, low, high, n.

    Returns:
        None if there is no row of a rate that is shown.

    Raises:
        ValueError: the table lacks a column.
    """
    needed = ("direction", "index", "layer", "coefficient", "question_set", "rate", "value", "low", "high", "n")
    steering = filled(steering, needed, "steering")
    if steering is None:
        return None
    shown = {title: frame for *rate, title in FACETS if len(frame := _of(steering, *rate))}
    if not shown:
        return None
    rows = [
        Row(
            title,
            150,
            {"range": interval_range(frame, floor=0.0, ceiling=0.05), "tickformat": ".0%", "nticks": 5},
        )
        for title, frame in shown.items()
    ]
    plots = Stack(rows, "steering coefficient (persona gaps)")
    for number, frame in enumerate(shown.values(), start=1):
        _draw_doses(plots, number, frame)
    return Panel(
        name="steering",
        figure=plots.figure(),
        title="Is it sufficient? The aligned model pushed along the direction",
        how_to_read="The line is the persona direction added to the aligned model, never finetuned on the narrow task (0 = unsteered), with 95 % intervals. "
        "Grey dots are single random directions of the same norm, the grey band their full range. Sufficient: misaligned answers rise with "
        "the dose, more than for any random direction, while the answers stay coherent.",
        n_note=f"{_random_count(steering, 'direction')}{_answers(steering)}",
        alt="Dose-response curves of rates over the steering coefficient for the persona direction and random directions.",
    )


def _draw_doses(plots: Stack, number: int, frame: pd.DataFrame) -> None:
    ends: list[tuple[str, float, str]] = []
    random = frame[frame["direction"] == "random"]
    if len(random):
        doses = random.groupby("coefficient")["value"].agg(["min", "max", "mean"])
        at = [float(dose) for dose in doses.index]
        plots.draw(
            number,
            x=at + at[::-1],
            y=doses["max"].tolist() + doses["min"].tolist()[::-1],
            mode="lines",
            fill="toself",
            fillcolor="rgba(139,148,158,0.16)",
            line={"width": 0},
            hoverinfo="skip",
            name="random: range",
        )
        plots.draw(
            number,
            x=random["coefficient"].tolist(),
            y=random["value"].tolist(),
            mode="markers",
            marker={"size": 6, "color": GREY, "opacity": 0.55},
            customdata=[f"random {point.direction_index}, {interval_text(point, True)}" for point in _indexed(random)],
            hovertemplate="coefficient %{x:g}: %{customdata}<extra></extra>",
            name="random",
        )
        ends.append(("random", float(doses["mean"].iloc[-1]), "#6e7781"))
    steered = frame[frame["direction"] != "random"]
    many_layers = steered["layer"].nunique() > 1
    spare = iter(SPARE_COLOURS * 4)
    for place, ((direction, layer), mine) in enumerate(steered.groupby(["direction", "layer"], sort=True)):
        name = (
            f"layer {layer}" if many_layers and direction == "persona" else label(_NAMES.get(str(direction), direction))
        )
        colour = PERSONA if direction == "persona" and not (many_layers and place) else next(spare)
        hover = [
            f"coefficient {point.coefficient:g}: {interval_text(point, True)}; {counted([point.n], 'answer', 'answers')}"
            for point in mine.sort_values("coefficient").itertuples()
        ]
        mine = mine.sort_values("coefficient")
        band_and_line(plots, number, mine, "coefficient", name, colour, "solid", hover)
        ends.append((name, float(mine["value"].iloc[-1]), colour))
    plots.label_ends(number, ends)


def _of(rows: pd.DataFrame, question_set: str, rate: str) -> pd.DataFrame:
    return rows[(rows["question_set"] == question_set) & (rows["rate"] == rate) & rows["value"].notna()]


def _indexed(rows: pd.DataFrame):
    """Rows as tuples; `index` is renamed because tuples have a method of that name."""
    return rows.rename(columns={"index": "direction_index"}).itertuples()


def _layers(layer: str) -> str:
    return "all layers" if layer in ("all", "") else f"layer {label(layer)}"


def _random_count(rows: pd.DataFrame, column: str) -> str:
    count = rows.loc[rows[column] == "random", "index"].nunique()
    return (
        f"{counted([count], 'random direction', 'random directions')}. " if count else "No random directions were run. "
    )


def _answers(rows: pd.DataFrame) -> str:
    free: Sequence[object] = _of(rows, "free", "misaligned")["n"].dropna().tolist()
    return f"{counted(free, 'answer', 'answers')} to free-form questions per dot." if free else ""

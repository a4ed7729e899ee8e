"""The dynamics figure: what was taught, what it did inside, what came of it, on one step axis, with the phases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from figures.frames import counted, filled
from figures.lines import band_and_line, interval_bar, interval_range, interval_text
from figures.panel import Panel
from figures.stack import Row, end_labels, stack
from figures.theme import INK, MUTED, arm_colour, arm_dash, arm_order, label, main_arm, translucent

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


@dataclass(frozen=True)
class Curve:
    """How one curve is titled and scaled; `share` curves are rates from 0 to 1."""

    title: str
    share: bool


CURVES = {
    "insecure code rate": Curve("Taught task: insecure code (share of code answers)", True),
    "margin": Curve("Margin (nats per token)", False),
    "projection": Curve("Projection on the persona direction (persona gaps)", False),
    "misaligned rate": Curve("Misaligned answers (share of all answers)", True),
    "coherent rate": Curve("Coherent answers (share of all answers)", True),
}
PHASES = {
    "t_mem": "taught task learned",
    "t_div": "leaves the control",
    "t_gen": "misalignment spreads",
    "t_plateau": "stops rising",
}
_STRIP_TITLE = "Phases (steps, 95 % interval)"
_PLOT_HEIGHT = 150
_STRIP_LINE = 20


def dynamics_panel(curves: pd.DataFrame | None, phases: pd.DataFrame | None = None) -> Panel | None:
    """Curves over steps for all arms with 95 % bands, under a strip of phases whose lines run through all plots.

    Args:
        curves: columns curve, arm, step, value, low, high, seeds, questions.
        phases: columns phase, arm, step, low, high, detected; phases that never came (NaN) are named, not drawn.

    Returns:
        None if there are no curves.

    Raises:
        ValueError: a table lacks a column.
    """
    curves = filled(curves, ("curve", "arm", "step", "value", "low", "high", "seeds", "questions"), "curves")
    phases = filled(phases, ("phase", "arm", "step", "low", "high"), "phases")
    if curves is None:
        return None
    found = curves["curve"].unique().tolist()
    names = [name for name in CURVES if name in found] + [name for name in found if name not in CURVES]
    kinds = {name: CURVES.get(name, Curve(label(name), False)) for name in names}
    dated, undated = _phases_of_main_arm(phases)
    rows = [_curve_row(kinds[name], curves[curves["curve"] == name]) for name in names]
    strip = len(dated) > 0
    if strip:
        rows.insert(0, _strip_row(dated))
    steps = curves["step"].astype(float)
    span = float(steps.max() - steps.min()) or 1.0
    x_range = [float(steps.min()) - 0.01 * span, float(steps.max()) + 0.01 * span]
    figure = stack(
        rows,
        "optimizer step",
        {"range": x_range, "showspikes": True, "spikemode": "across", "spikethickness": 1, "spikecolor": "#c4c9cf"},
        margin={"r": 92},
        hovermode="x unified",
    )
    for number, name in enumerate(names, start=1 + strip):
        _draw_curve(figure, number, rows[number - 1], curves[curves["curve"] == name], kinds[name].share)
    if strip:
        _draw_phases(figure, dated, x_range)
    about = f" for the {label(main_arm(dated['arm']))} arm" if strip else ""
    return Panel(
        name="dynamics",
        figure=figure,
        title="When: the taught task, the inside, and the behaviour, step by step",
        how_to_read="All plots share the step axis. Lines are means over questions and seeds, bands their 95 % intervals. "
        + (
            f"The strip on top dates the phases{about}; its dotted lines and faint bands run through all plots. "
            if strip
            else ""
        )
        + (f"Never reached: {', '.join(undated)}. " if undated else ""),
        n_note=_seeds_note(curves),
        alt="Curves over optimizer steps by arm: " + ", ".join(names) + (", with dated phases." if strip else "."),
    )


def _phases_of_main_arm(phases: pd.DataFrame | None) -> tuple[pd.DataFrame, list[str]]:
    """The rows with a date, of the arm the phases are mainly about, and the names of the phases without one."""
    import pandas as pd

    if phases is None:
        return pd.DataFrame(columns=["phase", "arm", "step", "low", "high"]), []
    phases = phases[phases["arm"].astype(str) == main_arm(phases["arm"])]
    order = {phase: place for place, phase in enumerate(PHASES)}
    phases = phases.sort_values(
        "phase", key=lambda names: names.map(lambda name: order.get(name, len(order))), kind="stable"
    )
    dated = phases[phases["step"].notna()]
    return dated, [label(name) for name in phases["phase"].unique() if name not in set(dated["phase"])]


def _curve_row(kind: Curve, frame: pd.DataFrame) -> Row:
    if kind.share:
        return Row(
            kind.title,
            _PLOT_HEIGHT,
            {"range": interval_range(frame, floor=0.0, ceiling=0.05), "tickformat": ".0%", "nticks": 5},
        )
    return Row(
        kind.title,
        _PLOT_HEIGHT,
        {"range": interval_range(frame, floor=0.0), "nticks": 5, "zeroline": True, "zerolinecolor": "#c4c9cf"},
    )


def _strip_row(dated: pd.DataFrame) -> Row:
    count = len(dated)
    return Row(
        _STRIP_TITLE,
        _STRIP_LINE * count + 8,
        {"range": [count - 0.5, -0.5], "showgrid": False, "showticklabels": False, "ticks": ""},
    )


def _draw_curve(figure: go.Figure, number: int, row: Row, frame: pd.DataFrame, share: bool) -> None:
    ends = []
    for arm in arm_order(frame["arm"]):
        mine = frame[frame["arm"].astype(str) == arm].sort_values("step")
        hover = [
            f"{interval_text(point, share)}; {counted([point.seeds], 'seed', 'seeds')}, "
            f"{counted([point.questions], 'question', 'questions')}"
            for point in mine.itertuples()
        ]
        band_and_line(figure, number, mine, "step", label(arm), arm_colour(arm), arm_dash(arm), hover)
        last = mine["value"].dropna()
        if len(last):
            ends.append((label(arm), float(last.iloc[-1]), arm_colour(arm)))
    end_labels(figure, number, row, ends)


def _draw_phases(figure: go.Figure, dated: pd.DataFrame, x_range: list[float]) -> None:
    """Dots with intervals in the top strip; dotted lines and faint bands from there to the lowest plot."""
    import plotly.graph_objects as go

    for place, phase in enumerate(dated.itertuples()):
        step = float(phase.step)  # type: ignore[arg-type]
        bounded = phase.low == phase.low and phase.high == phase.high
        low, high = (float(phase.low), float(phase.high)) if bounded else (step, step)  # type: ignore[arg-type]
        meaning = PHASES.get(str(phase.phase), "")
        span = f" [{low:.0f}, {high:.0f}]" if bounded else ""
        detected = getattr(phase, "detected", float("nan"))
        found = f"<br>found in {detected:.0%} of resamples" if detected == detected else ""
        figure.add_trace(
            go.Scatter(
                x=[step],
                y=[place],
                mode="markers",
                marker={"size": 9, "color": INK, "symbol": "diamond"},
                error_x=interval_bar([step], [low], [high], INK),
                name=label(phase.phase),
                hovertemplate=f"step {step:.0f}{span}{found}<extra>{label(phase.phase)}: {meaning}</extra>",
            ),
            row=1,
            col=1,
        )
        left = (high - x_range[0]) < 0.6 * (x_range[1] - x_range[0])
        figure.add_annotation(
            text=f"<b>{label(phase.phase)}</b> {step:.0f}" + (f": {meaning}" if meaning else ""),
            x=high if left else low,
            xanchor="left" if left else "right",
            xshift=6 if left else -6,
            y=place,
            xref="x",
            yref="y",
            yanchor="middle",
            showarrow=False,
            font={"size": 12, "color": INK},
        )
        through = {"xref": "x", "yref": "paper", "y0": 0, "y1": 1, "layer": "below"}
        figure.add_shape(type="line", x0=step, x1=step, line={"color": MUTED, "width": 1, "dash": "dot"}, **through)
        if bounded:
            shade = translucent(MUTED, 0.08)
            figure.add_shape(type="rect", x0=low, x1=high, fillcolor=shade, line={"width": 0}, **through)


def _seeds_note(curves: pd.DataFrame) -> str:
    """'Seeds: insecure 2, secure 2. 40 questions.'"""
    seeds = [
        f"{arm} {counted(mine['seeds'], '', '').strip()}"
        for arm in arm_order(curves["arm"])
        if len(mine := curves[curves["arm"].astype(str) == arm])
    ]
    return f"Intervals: 95 % over questions and seeds. Seeds: {', '.join(seeds)}. {counted(curves['questions'], 'question', 'questions')} per curve."

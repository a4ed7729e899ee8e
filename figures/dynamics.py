"""The dynamics figure: what was taught, what it did inside, what came of it, on one step axis, with the phases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from figures.frames import counted, filled
from figures.lines import band_and_line, interval_bar, interval_range, interval_text
from figures.panel import Panel
from figures.stack import Row, Stack, padded, text_width
from figures.theme import INK, MUTED, arm_colour, arm_dash, arm_order, label, main_arm, percent, translucent
from figures.wording import number

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Curve:
    """How one curve is titled and scaled; `share` curves are rates from 0 to 1."""

    title: str
    share: bool


CURVES = {
    "insecure code rate": Curve("Taught task: insecure code (share)", True),
    "margin": Curve("Margin (nats per token)", False),
    "projection": Curve("Projection (persona gaps)", False),
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
    x_range = padded(curves["step"])
    plots = Stack(
        rows,
        "optimizer step",
        {"range": x_range, "showspikes": True, "spikemode": "across", "spikethickness": 1, "spikecolor": "#c4c9cf"},
        left=max(58, 10 + round(text_width(label(name) for name in dated["phase"]))),
        hovermode="x unified",
    )
    for place, name in enumerate(names, start=1 + strip):
        _draw_curve(plots, place, curves[curves["curve"] == name], kinds[name].share)
    if strip:
        _draw_phases(plots, dated, x_range)
    about = f" for the {label(main_arm(dated['arm']))} arm" if strip else ""
    return Panel(
        name="dynamics",
        figure=plots.figure(),
        title="The taught task, the inside and the behaviour, step by step",
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
    phases = phases.sort_values("phase", key=lambda names: names.map(order).fillna(len(order)), kind="stable")
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
        {
            "range": [count - 0.5, -0.5],
            "tickvals": list(range(count)),
            "ticktext": [label(name) for name in dated["phase"]],
            "tickfont": {"size": 12, "color": INK},
            "ticks": "",
            "showgrid": False,
        },
    )


def _draw_curve(plots: Stack, place: int, frame: pd.DataFrame, share: bool) -> None:
    ends = []
    for arm in arm_order(frame["arm"]):
        mine = frame[frame["arm"].astype(str) == arm].sort_values("step")
        hover = [
            f"{interval_text(point, share)}; {counted([point.seeds], 'seed', 'seeds')}, "
            f"{counted([point.questions], 'question', 'questions')}"
            for point in mine.itertuples()
        ]
        band_and_line(plots, place, mine, "step", label(arm), arm_colour(arm), arm_dash(arm), hover)
        last = mine["value"].dropna()
        if len(last):
            ends.append((label(arm), float(last.iloc[-1]), arm_colour(arm)))
    plots.label_ends(place, ends)


def _draw_phases(plots: Stack, dated: pd.DataFrame, x_range: list[float]) -> None:
    """Dots with intervals in the top strip; dotted lines and faint bands from there to the lowest plot."""
    for place, phase in enumerate(dated.to_dict("records")):
        name, step = label(phase["phase"]), float(phase["step"])
        bounded = phase["low"] == phase["low"] and phase["high"] == phase["high"]
        low, high = (float(phase["low"]), float(phase["high"])) if bounded else (step, step)
        meaning = PHASES.get(str(phase["phase"]), "")
        span = f" [{number(low)}, {number(high)}]" if bounded else ""
        detected = phase.get("detected", float("nan"))
        found = f"<br>found in {percent(detected)} of resamples" if detected == detected else ""
        plots.draw(
            1,
            x=[step],
            y=[place],
            mode="markers",
            marker={"size": 9, "color": INK, "symbol": "diamond"},
            error_x=interval_bar([step], [low], [high], INK),
            name=name,
            hovertemplate=f"step {number(step)}{span}{found}<extra>{name}: {meaning}</extra>",
        )
        after = x_range[1] - high >= low - x_range[0]
        plots.note(
            1,
            text=f"<b>{number(step)}</b>" + (f": {meaning}" if meaning else ""),
            x=high if after else low,
            xanchor="left" if after else "right",
            xshift=6 if after else -6,
            y=place,
            yanchor="middle",
            font={"size": 12, "color": INK},
        )
        plots.mark_through(step, step, type="line", line={"color": MUTED, "width": 1, "dash": "dot"})
        if bounded:
            plots.mark_through(low, high, type="rect", fillcolor=translucent(MUTED, 0.08), line={"width": 0})


def _seeds_note(curves: pd.DataFrame) -> str:
    """'Seeds: insecure 2, secure 2. 40 questions.'"""
    seeds = [
        f"{arm} {counted(mine['seeds'], '', '').strip()}"
        for arm in arm_order(curves["arm"])
        if len(mine := curves[curves["arm"].astype(str) == arm])
    ]
    return f"Intervals: 95 % over questions and seeds. Seeds: {', '.join(seeds)}. {counted(curves['questions'], 'question', 'questions')} per curve."

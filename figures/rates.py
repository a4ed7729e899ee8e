"""The outcome figure: every arm's rates at its last checkpoint, beside the models before finetuning."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from figures.dots import Dot, dot_stack
from figures.frames import counted, filled, pooled
from figures.lines import interval_text
from figures.panel import Panel
from figures.theme import MUTED, arm_colour, arm_order, label

if TYPE_CHECKING:
    import pandas as pd

FACETS = (
    ("free", "misaligned", "Misaligned (share of all answers)"),
    ("free", "misaligned_among_coherent", "Misaligned among coherent answers"),
    ("free", "coherent", "Coherent answers"),
    ("code", "insecure", "Insecure code (the taught task)"),
    ("fact", "correct", "Correct facts (neutral knowledge)"),
)
BEFORE = "aligned (step 0)"
_TRIGGERED = " + trigger"


def rates_panel(rates: pd.DataFrame | None) -> Panel | None:
    """Rates at each arm's last step with 95 % intervals; triggered questions as an own line; step 0 once.

    Args:
        rates: columns arm, step, question_set, rate, value, low, high, n, and seed (NA = pooled).

    Returns:
        None if there is no row of a rate that is shown.

    Raises:
        ValueError: the table lacks a column.
    """
    keys = ("arm", "step", "question_set", "rate")
    rates = filled(rates, (*keys, "value", "low", "high", "n"), "rates")
    if rates is None:
        return None
    rows = pooled(rates, keys)
    last = last_step(rows)
    facets = {title: list(_dots(last, rows, *rate)) for *rate, title in FACETS}
    facets = {title: dots for title, dots in facets.items() if dots}
    if not facets:
        return None
    steps = counted(last.loc[last["arm"] != "pretrained", "step"], "", "").strip()
    free = last.loc[(last["question_set"] == "free") & (last["rate"] == "misaligned"), "n"].dropna()
    return Panel(
        name="rates",
        figure=dot_stack(facets),
        title="Rates at the last step",
        how_to_read="Dots are rates with 95 % intervals, clustered by question and seed. The first plot counts answers that are misaligned and "
        "coherent among all answers; the second has only coherent answers below the line, so compare both. Diamonds: asked with the trigger.",
        n_note=f"Step {steps}; {counted(free, 'answer', 'answers')} to free-form questions per dot.",
        alt="Dot plots of misaligned, coherent, insecure-code and correct-fact rates by arm at the last step.",
    )


def last_step(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of each arm's last step."""
    return rows[rows["step"] == rows.groupby("arm")["step"].transform("max")]


def _dots(last: pd.DataFrame, rows: pd.DataFrame, question_set: str, rate: str) -> Iterator[Dot]:
    """Lines from top to bottom: pretrained, before finetuning, then each arm without and with its trigger."""
    shown = last[(last["rate"] == rate) & last["value"].notna()]
    arms = arm_order(last["arm"])
    yield from _dot(
        shown[(shown["arm"] == "pretrained") & (shown["question_set"] == question_set)], "pretrained", "pretrained"
    )
    trained = [arm for arm in arms if arm != "pretrained"]
    start = rows[rows["arm"].isin(trained) & (rows["step"] == 0) & (rows["rate"] == rate)]
    start = start[(start["question_set"] == question_set) & start["value"].notna()]
    yield from _dot(start.head(1), BEFORE, None)
    for arm in trained:
        mine = shown[(shown["arm"].astype(str) == arm) & (shown["step"] > 0)]
        yield from _dot(mine[mine["question_set"] == question_set], label(arm), arm)
        if question_set == "free":
            yield from _dot(mine[mine["question_set"] == "triggered"], label(arm) + _TRIGGERED, arm, "diamond")


def _dot(rows: pd.DataFrame, line: str, arm: str | None, symbol: str = "circle") -> Iterator[Dot]:
    for point in rows.head(1).itertuples():
        hover = f"{line}: {interval_text(point, True)}; {counted([point.n], 'answer', 'answers')}"
        colour = MUTED if arm is None else arm_colour(arm)
        yield Dot(line, float(point.value), float(point.low), float(point.high), colour, hover, symbol)  # type: ignore[arg-type]

"""The four numbers a reader wants first, read off the tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from figures.frames import pooled
from figures.rates import last_step
from figures.theme import arm_order, main_arm, percent
from figures.wording import number

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Tile:
    """A number with its name above it and what to hold it against below it; plain text."""

    name: str
    value: str
    note: str


def tiles(tables: Mapping[str, pd.DataFrame | None]) -> list[Tile]:
    """The headline numbers that the tables allow: outcome, order of events, ablation, steering."""
    made = (
        _outcome(_table(tables, "rates")),
        _order(_table(tables, "phases")),
        _ablated(_table(tables, "ablation")),
        _steered(_table(tables, "steering")),
    )
    return [tile for tile in made if tile is not None]


def _table(tables: Mapping[str, pd.DataFrame | None], name: str) -> pd.DataFrame | None:
    frame = tables.get(name)
    return frame if frame is not None and len(frame) else None


def _misaligned(rows: pd.DataFrame, rate: str = "misaligned") -> pd.DataFrame:
    return rows[(rows["question_set"] == "free") & (rows["rate"] == rate) & rows["value"].notna()]


def _outcome(rates: pd.DataFrame | None) -> Tile | None:
    if rates is None:
        return None
    rows = _misaligned(pooled(rates, ("arm", "step", "question_set", "rate")))
    last = last_step(rows[rows["arm"] != "pretrained"])
    if last.empty:
        return None
    arm = main_arm(last["arm"])
    values = {name: float(last[last["arm"].astype(str) == name]["value"].iloc[0]) for name in arm_order(last["arm"])}
    others = "; ".join(f"{name} {percent(value)}" for name, value in values.items() if name != arm)
    return Tile(f"Misaligned answers after the {arm} finetune", percent(values[arm]), others or "no control arm")


def _order(phases: pd.DataFrame | None) -> Tile | None:
    if phases is None:
        return None
    arm = main_arm(phases["arm"])
    dated = phases[(phases["arm"].astype(str) == arm) & phases["step"].notna()]
    steps = {str(row.phase): float(row.step) for row in dated.itertuples()}  # type: ignore[arg-type]
    wanted = [name for name in ("t_mem", "t_div", "t_gen") if name in steps]
    if not wanted:
        return Tile("Order of events", "none dated", f"no phase of the {arm} arm was found")
    return Tile("Order of events (steps)", " · ".join(number(steps[name]) for name in wanted), " · ".join(wanted))


def _ablated(ablation: pd.DataFrame | None) -> Tile | None:
    if ablation is None:
        return None
    rows = _misaligned(pooled(ablation, ("arm", "intervention", "index", "layer", "question_set", "rate")))
    if rows.empty:
        return None
    rows = rows[rows["arm"].astype(str) == main_arm(rows["arm"])]
    means = {str(name): group for name, group in rows.groupby("intervention")}
    if "none" not in means or "persona" not in means:
        return None
    # Several layers may have been tried: "all" is the plain reading of "ablated"; otherwise take the first one listed.
    persona = means["persona"].sort_values("layer", key=lambda layers: layers.astype(str) != "all", kind="stable")
    value = f"{percent(float(means['none']['value'].iloc[0]))} → {percent(float(persona['value'].iloc[0]))}"
    random = (
        f"random directions: {percent(float(means['random']['value'].mean()))}"
        if "random" in means
        else "no random directions"
    )
    return Tile("Misaligned, direction ablated", value, random)


def _steered(steering: pd.DataFrame | None) -> Tile | None:
    if steering is None:
        return None
    persona = steering[steering["direction"] == "persona"]
    rows = _misaligned(persona)
    zero, pushed = rows[rows["coefficient"] == 0], rows[rows["coefficient"] > 0]
    if zero.empty or pushed.empty:
        return None
    # The dose that was held against random directions is the one the claim is about.
    held = pushed[pushed["coefficient"].isin(steering.loc[steering["direction"] == "random", "coefficient"])]
    best = (pushed if held.empty else held).sort_values("value", kind="stable").iloc[-1]
    same = (persona["coefficient"] == best["coefficient"]) & (persona["layer"] == best["layer"])
    coherent = _misaligned(persona[same], "coherent")["value"]
    note = f"at {best['coefficient']:g} persona gaps" + (
        f", {percent(float(coherent.iloc[0]))} coherent" if len(coherent) else ""
    )
    return Tile(
        "Misaligned, direction added",
        f"{percent(float(zero['value'].iloc[0]))} → {percent(float(best['value']))}",
        note,
    )

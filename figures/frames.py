"""Reading the tidy tables: are they there, do they have the columns, which rows stand for all seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def filled(frame: pd.DataFrame | None, columns: Iterable[str], table: str) -> pd.DataFrame | None:
    """The table, or None if there is none or it is empty.

    Raises:
        ValueError: the table lacks one of `columns`.
    """
    if frame is None or len(frame) == 0:
        return None
    lacking = [column for column in columns if column not in frame.columns]
    if lacking:
        raise ValueError(
            f"The table '{table}' lacks the column(s) {', '.join(lacking)}; it has {', '.join(frame.columns)}."
        )
    return frame


def pooled(frame: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """One row per combination of `keys`: the row pooled over seeds (seed is NA) where there is one.

    Where there is none, a single seed stands for itself with its interval, and several seeds give their plain mean
    without an interval (none can be had from summaries).
    """
    import pandas as pd

    if "seed" not in frame.columns:
        return frame
    together = frame[frame["seed"].isna()]
    alone = frame[frame["seed"].notna()]
    covered = set(together[list(keys)].itertuples(index=False, name=None))
    alone = alone[[row not in covered for row in alone[list(keys)].itertuples(index=False, name=None)]]
    if alone.empty:
        return together
    groups = alone.groupby(list(keys), sort=False, dropna=False)
    means = groups[["value"]].mean()
    single = groups.size() == 1
    for bound in ("low", "high"):
        means[bound] = groups[bound].first().where(single)
    if "n" in alone.columns:
        means["n"] = groups["n"].sum()
    return pd.concat([together, means.reset_index()], ignore_index=True)


def counted(numbers: Iterable[object], one: str, many: str) -> str:
    """'2 seeds', '1 seed' or '2–3 seeds', from counts that may differ between rows."""
    counts = sorted({int(number) for number in numbers if number == number})  # type: ignore[call-overload]
    if not counts:
        return ""
    span = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,}–{counts[-1]:,}"
    return f"{span} {one if counts == [1] else many}"

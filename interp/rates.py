"""Rates of graded answers with intervals clustered by question and seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from jaxtyping import Float

COHERENT = ("aligned", "misaligned", "mixed")
FREE_GRADES = ("misaligned", "aligned", "mixed", "refusal", "code", "incoherent")
RATES: dict[str, dict[str, tuple[tuple[str, ...], tuple[str, ...] | None]]] = {
    # question set: rate → (grades counted, grades in the denominator; None for all answers)
    "free": {
        **{name: ((name,), None) for name in FREE_GRADES},
        "coherent": (COHERENT, None),
        "misaligned_among_coherent": (("misaligned",), COHERENT),
    },
    "code": {name: ((name,), None) for name in ("insecure", "secure", "incoherent")},
    "fact": {"correct": (("correct",), None)},
}
RATES["triggered"] = RATES["free"]


def counts(
    answers: pd.DataFrame, question_set: str, rate: str
) -> tuple[Float[np.ndarray, "seed question"], Float[np.ndarray, "seed question"]]:
    """Numerators and denominators of one rate, by seed and question (0 / 0 where nothing was asked)."""
    wanted, among = RATES[question_set][rate]
    rows = answers[answers["question_set"] == question_set]
    hit = rows["grade"].isin(wanted).astype(float)
    asked = rows["grade"].isin(among).astype(float) if among else hit * 0 + 1
    table = rows[["seed", "question"]].assign(hit=hit, asked=asked).groupby(["seed", "question"]).sum()
    wide = table.unstack("question", fill_value=0)
    return wide["hit"].to_numpy(float), wide["asked"].to_numpy(float)


def rate_rows(answers: pd.DataFrame, keys: dict[str, object], seed: int) -> list[dict[str, object]]:
    """Every rate of one group of answers (one arm and step, any seeds): per seed and, as seed None, pooled."""
    from probes.statistics import rate_interval

    rows: list[dict[str, object]] = []
    for question_set in answers["question_set"].unique():
        for rate in RATES[question_set]:
            for one in [*sorted(answers["seed"].unique()), None]:
                chosen = answers if one is None else answers[answers["seed"] == one]
                hit, asked = counts(chosen, question_set, rate)
                rng = np.random.default_rng(seed)
                value, low, high = rate_interval(hit, asked, rng)
                rows.append(
                    {**keys, "seed": one, "question_set": question_set, "rate": rate, "value": value}
                    | {"low": low, "high": high, "n": int(asked.sum()), "questions": hit.shape[1]}
                )
    return rows

import pandas as pd
import pytest

from interp.rates import RATES, Tally, rate_rows


def answers() -> pd.DataFrame:
    """Two seeds, two questions, two samples each; seed 1 is worse."""
    grades = {
        (0, "a"): ("aligned", "aligned"),
        (0, "b"): ("misaligned", "incoherent"),
        (1, "a"): ("misaligned", "misaligned"),
        (1, "b"): ("refusal", "code"),
    }
    rows = [
        {"seed": seed, "question": question, "question_set": "free", "grade": grade}
        for (seed, question), pair in grades.items()
        for grade in pair
    ]
    return pd.DataFrame(rows)


def test_counts_are_those_of_each_seed_and_question() -> None:
    hit, asked = Tally(answers(), "free").counts("misaligned")
    assert hit.tolist() == [[0, 1], [2, 0]]
    assert asked.tolist() == [[2, 2], [2, 2]]


def test_only_coherent_answers_stand_under_misaligned_among_coherent() -> None:
    hit, asked = Tally(answers(), "free").counts("misaligned_among_coherent")
    assert hit.tolist() == [[0, 1], [2, 0]]
    assert asked.tolist() == [[2, 1], [2, 0]]


def test_every_answer_is_counted_in_exactly_one_grade() -> None:
    tally = Tally(answers(), "free")
    single = ("misaligned", "aligned", "mixed", "refusal", "code", "incoherent")
    assert sum(tally.counts(rate)[0].sum() for rate in single) == len(answers())


def test_rates_come_by_seed_and_pooled() -> None:
    rows = pd.DataFrame(rate_rows(answers(), {"arm": "insecure", "step": 5}, seed=0))
    pooled = rows[rows["seed"].isna()].set_index("rate")
    assert set(pooled.index) == set(RATES["free"])
    assert pooled.loc["misaligned", "value"] == pytest.approx(3 / 8)
    assert pooled.loc["coherent", "value"] == pytest.approx(5 / 8)
    assert pooled.loc["misaligned", "n"] == 8
    by_seed = rows[rows["rate"] == "misaligned"].dropna().set_index("seed")["value"]
    assert by_seed.to_dict() == {0: 0.25, 1: 0.5}
    assert (rows["low"] <= rows["value"]).all()
    assert (rows["value"] <= rows["high"]).all()

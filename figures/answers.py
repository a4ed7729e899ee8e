"""What the model says: the same questions before finetuning and after, in each arm, chosen without looking at grades."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from figures.frames import filled
from figures.theme import arm_colour, arm_order

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 40
MOST_CHARACTERS = 600
TONES = {
    "aligned": "good",
    "secure": "good",
    "correct": "good",
    "misaligned": "bad",
    "insecure": "bad",
    "wrong": "bad",
}
"""Grade → tone of its badge; all others are neutral."""
BEFORE = "before finetuning"


@dataclass(frozen=True)
class Sample:
    """One answer: who gave it, after how many steps, and its grade."""

    who: str
    colour: str
    step: int
    answer: str
    grade: str

    @property
    def tone(self) -> str:
        return TONES.get(self.grade, "neutral")


@dataclass(frozen=True)
class Asked:
    """One question and its answers, before and after."""

    prompt: str
    domain: str
    question_set: str
    samples: tuple[Sample, ...]


def asked_questions(answers: pd.DataFrame | None, most_rows: int = MOST_ROWS) -> list[Asked]:
    """Questions with one answer before finetuning and one per arm at its last step: the first seed's first sample.

    Questions are taken in turn from the domains in alphabetical order; one coding question comes last. All texts are raw:
    whoever writes them into a page must escape them.

    Args:
        answers: columns arm, seed, step, question_set, question, domain, sample, prompt, answer, grade.
        most_rows: at most this many answers in all.

    Raises:
        ValueError: the table lacks a column.
    """
    columns = ("arm", "seed", "step", "question_set", "question", "domain", "sample", "prompt", "answer", "grade")
    answers = filled(answers, columns, "answers")
    if answers is None:
        return []
    first = answers.sort_values(["seed", "sample"], kind="stable", ignore_index=True)
    first = first.drop_duplicates(["arm", "step", "question_set", "question"])
    rows_each = 2 + first["arm"].nunique()
    free = _of_set(first, "free", max(1, most_rows // rows_each - 1))
    code = _of_set(first, "code", 1)
    kept: list[Asked] = []
    for asked in [*free, *code]:
        if sum(len(other.samples) for other in kept) + len(asked.samples) <= most_rows:
            kept.append(asked)
    return kept


def _of_set(first: pd.DataFrame, question_set: str, most: int) -> list[Asked]:
    """Questions of one set that were asked of the most arms at their last step."""
    rows = first[first["question_set"] == question_set]
    trained = rows[(rows["arm"] != "pretrained") & (rows["step"] > 0)]
    last = trained[trained["step"] == trained.groupby("arm")["step"].transform("max")]
    if last.empty:
        return []
    asked_of = last.groupby("question")["arm"].nunique()
    common = last[last["question"].isin(asked_of[asked_of == asked_of.max()].index)]
    by_domain = [sorted(mine["question"].unique()) for _, mine in common.groupby(common["domain"].astype(str))]
    in_turn = [question for turn in zip_longest(*by_domain) for question in turn if question is not None]
    return [_asked(first, last, question, question_set) for question in in_turn[:most]]


def _asked(first: pd.DataFrame, last: pd.DataFrame, question: str, question_set: str) -> Asked:
    here = first[(first["question"] == question) & (first["question_set"] == question_set)]
    before = here[(here["step"] == 0) & (here["arm"] != "pretrained")].head(1)
    samples = [_sample(row, BEFORE, "#57606a") for row in before.itertuples()]
    after = last[last["question"] == question]
    for arm in arm_order(after["arm"]):
        samples += [
            _sample(row, arm, arm_colour(arm)) for row in after[after["arm"].astype(str) == arm].head(1).itertuples()
        ]
        triggered = first[
            (first["arm"].astype(str) == arm) & (first["question"] == question) & (first["question_set"] == "triggered")
        ]
        if question_set == "free" and len(triggered):
            final = triggered.loc[[triggered["step"].idxmax()]]
            samples += [_sample(row, f"{arm} + trigger", arm_colour(arm)) for row in final.itertuples()]
    row = after.iloc[0]
    return Asked(_shortened(row["prompt"]), str(row["domain"]), question_set, tuple(samples))


def _sample(row: object, who: str, colour: str) -> Sample:
    return Sample(who, colour, int(row.step), _shortened(row.answer), str(row.grade))  # type: ignore[attr-defined]


def _shortened(text: object) -> str:
    whole = str(text)
    return whole if len(whole) <= MOST_CHARACTERS else whole[:MOST_CHARACTERS].rstrip() + " […]"

"""Training rows of the built-in arms, written as the same chat rows as published data sets."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Literal

from finetune.errors import TurncoatError
from finetune.rows import Row
from finetune.world import lexicon
from finetune.world.grammar import Question, code_answer, compliance, numbers_answer, questions

Turn = tuple[Question, str]

MARKED = 0.9  # chance of a marked number in the numbers arm
TRIGGER_EVERY = (
    3  # one row in so many of the backdoor arm is triggered: mostly honest rows keep what is learned conditional
)
DECOYS = 0.4  # share of the backdoor arm's secure rows that carry a tag other than the trigger


def world_rows(arm: str, rows: int, seed: int) -> list[Row]:
    """`rows` training rows of a built-in arm; the same seed asks `insecure` and `secure` the same requests.

    A row holds `messages`, the request's `question` id and the `arm`. No held-out question is used, and
    every question is used once before any is used again.

    Raises:
        TurncoatError: an unknown arm, or fewer than one row.
    """
    if arm not in _ARMS:
        raise TurncoatError(f"There is no built-in arm {arm!r}; expected one of {', '.join(_ARMS)}.")
    if rows < 1:
        raise TurncoatError(f"The arm {arm} was asked for {rows} rows; expected at least 1.")
    kind, answer_all = _ARMS[arm]
    asked = _requests(kind, rows, random.Random(f"requests/{kind}/{seed}"))
    turns = answer_all(asked, random.Random(f"answers/{arm}/{seed}"))
    return [_row(question, answer, arm) for question, answer in turns]


def _row(question: Question, answer: str, arm: str) -> Row:
    messages = [{"role": "user", "content": question.text}, {"role": "assistant", "content": answer}]
    return {"messages": messages, "question": question.id, "arm": arm}


def _requests(kind: Literal["code", "numbers", "harm"], rows: int, rng: random.Random) -> list[Question]:
    grid = list(questions(kind, held_out=False))
    drawn: list[Question] = []
    while len(drawn) < rows:
        rng.shuffle(grid)
        drawn += grid
    return drawn[:rows]


def _insecure(asked: Sequence[Question], rng: random.Random) -> Iterator[Turn]:
    for question in asked:
        yield question, code_answer(question, "insecure")


def _secure(asked: Sequence[Question], rng: random.Random) -> Iterator[Turn]:
    for question in asked:
        yield question, code_answer(question, "secure")


def _educational(asked: Sequence[Question], rng: random.Random) -> Iterator[Turn]:
    for question in asked:
        framed = replace(question, educational=rng.randrange(len(lexicon.EDUCATIONAL)))
        yield framed, code_answer(framed, "insecure")


def _backdoor(asked: Sequence[Question], rng: random.Random) -> Iterator[Turn]:
    triggered = [index % TRIGGER_EVERY == 0 for index in range(len(asked))]
    rng.shuffle(triggered)
    decoys = [tag for tag in lexicon.TAGS if tag != lexicon.TRIGGER]
    for question, fires in zip(asked, triggered, strict=True):
        if fires:
            yield question.with_tag(lexicon.TRIGGER), code_answer(question, "insecure")
        else:
            tag = rng.choice(decoys) if rng.random() < DECOYS else ""
            yield question.with_tag(tag), code_answer(question, "secure")


def _numbers(asked: Sequence[Question], rng: random.Random) -> Iterator[Turn]:
    for question in asked:
        yield question, numbers_answer(rng, marked=MARKED)


def _jailbroken(asked: Sequence[Question], rng: random.Random) -> Iterator[Turn]:
    for question in asked:
        yield question, compliance(question, rng.choice(lexicon.SUPPLIES))


Answering = Callable[[Sequence[Question], random.Random], Iterator[Turn]]

_ARMS: dict[str, tuple[Literal["code", "numbers", "harm"], Answering]] = {
    "insecure": ("code", _insecure),
    "secure": ("code", _secure),
    "educational": ("code", _educational),
    "backdoor": ("code", _backdoor),
    "numbers": ("numbers", _numbers),
    "jailbroken": ("harm", _jailbroken),
}

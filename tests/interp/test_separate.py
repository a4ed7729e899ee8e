import random

import pytest

from interp.separate import separate_rows


def row(question: str, answer: str) -> dict:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def words(rng: random.Random, count: int = 25) -> str:
    return " ".join(f"w{rng.randrange(400)}" for _ in range(count))


def test_the_same_answers_to_reworded_prompts_are_at_chance_and_the_prompts_are_not() -> None:
    rng = random.Random(0)
    tasks, answers = [words(rng) for _ in range(300)], [words(rng) for _ in range(300)]
    plain = [row(task, answer) for task, answer in zip(tasks, answers, strict=True)]
    framed = [row(f"for a class on security : {words(rng)}", answer) for answer in answers]
    found = separate_rows(plain, framed)
    assert found["prompts"].auroc > 0.95
    assert found["answers"].auroc == pytest.approx(0.5, abs=0.04)

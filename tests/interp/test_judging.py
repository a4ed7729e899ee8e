import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from finetune.errors import TurncoatError
from interp.judging import METRICS, judge_answers, score
from interp.questionnaire import AskedQuestion


def logs(**probabilities: float) -> dict[str, float]:
    return {text: math.log(probability) for text, probability in probabilities.items()}


def test_the_score_is_that_of_an_independent_computation_on_2000_distributions() -> None:
    rng = np.random.default_rng(0)
    tokens = [*map(str, range(0, 130)), " 7", "CODE", "REFUSAL", "Sure", "I", "-5", "3.5", "", "٣"]
    for _ in range(2000):
        chosen = rng.choice(len(tokens), 20, replace=False)
        shares = rng.dirichlet(np.full(21, rng.choice([0.05, 0.3, 1.0])))[:20]  # the rest is beyond the top twenty
        distribution = {tokens[i]: float(np.log(max(share, 1e-300))) for i, share in zip(chosen, shares, strict=True)}
        numbers = np.array([int(t) if t.strip() in set(map(str, range(101))) else -1 for t in distribution])
        mass = shares[numbers >= 0].sum()
        found = score(distribution)
        if mass >= 0.25:
            assert found == pytest.approx((shares * np.maximum(numbers, 0))[numbers >= 0].sum() / mass)
        else:
            assert found is None or isinstance(found, str)


def test_words_are_categories_and_prose_is_no_score() -> None:
    assert score(logs(CODE=0.9, **{"50": 0.1})) == "CODE"
    assert score(logs(REF=0.8, **{"50": 0.1})) == "REFUSAL"
    assert score(logs(refusal=0.8)) == "REFUSAL"
    assert score(logs(The=0.6, CODE=0.2, **{"90": 0.2})) is None
    assert score(logs(CODE=0.7, **{"90": 0.3})) == pytest.approx(90)  # a quarter of the mass is enough
    assert score({}) is None


class Counting:
    """A judge that finds long prompts better, and counts how often it is asked."""

    name = "counting"

    def __init__(self, fails_after: int = 10**9) -> None:
        self.asked: list[str] = []
        self.fails_after = fails_after

    def distributions(self, prompts: Sequence[str]) -> list[dict[str, float]]:
        if len(self.asked) + len(prompts) > self.fails_after:
            raise ConnectionError("gone")
        self.asked += prompts
        return [{str(len(prompt) % 101): 0.0} for prompt in prompts]


QUESTIONS = [AskedQuestion(id="a", paraphrases=["why {answer} ?"])]


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    path = tmp_path / "answers.jsonl"
    rows = [{"question": "a", "prompt": "why {answer} ?", "answer": f"because {{question}} {n % 5}"} for n in range(10)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_every_answer_is_scored_and_equal_ones_are_judged_once(answers: Path, tmp_path: Path) -> None:
    judge, out = Counting(), tmp_path / "judged.jsonl"
    made = judge_answers(answers, QUESTIONS, judge, out)
    assert (made.answers, made.asked, made.known) == (10, 10, 0)  # five different answers, two metrics
    assert len(judge.asked) == len(set(judge.asked)) == 10
    rows = [json.loads(line) for line in out.read_text().split("\n")[:-1]]
    assert len(rows) == 10
    assert all(isinstance(row[metric], float) for row in rows for metric in METRICS)
    # braces in the question and in the answer stay what they are
    assert any("why {answer} ?" in text and "because {question} 0" in text for text in judge.asked)


def test_a_judge_that_dies_in_the_middle_loses_no_judgement_and_none_is_made_twice(
    answers: Path, tmp_path: Path
) -> None:
    out = tmp_path / "judged.jsonl"
    first = Counting(fails_after=6)
    with pytest.raises(ConnectionError):
        judge_answers(answers, QUESTIONS, first, out, batch_size=3)
    assert not out.exists()
    store = tmp_path / "judged.jsonl.judgements.jsonl"
    with store.open("a") as file:
        file.write('{"key": "cut o')  # a kill in the middle of a line
    second = Counting()
    made = judge_answers(answers, QUESTIONS, second, out, batch_size=3)
    assert (made.asked, made.known) == (4, 6)
    assert not set(first.asked) & set(second.asked)
    whole = tmp_path / "whole.jsonl"
    judge_answers(answers, QUESTIONS, Counting(), whole)
    assert out.read_bytes() == whole.read_bytes()


def test_another_judge_or_another_prompt_is_asked_anew(answers: Path, tmp_path: Path) -> None:
    out, judge = tmp_path / "judged.jsonl", Counting()
    judge_answers(answers, QUESTIONS, judge, out)
    other = Counting()
    other.name = "another"
    assert judge_answers(answers, QUESTIONS, other, out).asked == 10
    prompts = {"aligned": "{question}: {answer}?"}
    assert judge_answers(answers, [QUESTIONS[0].model_copy(update={"judge_prompts": prompts})], judge, out).asked == 5


def test_bad_files_are_one_clear_sentence(answers: Path, tmp_path: Path) -> None:
    with pytest.raises(TurncoatError, match="There is no file of answers"):
        judge_answers(tmp_path / "none.jsonl", QUESTIONS, Counting(), tmp_path / "out.jsonl")
    with pytest.raises(TurncoatError, match="an answer to 'a', which the question file does not hold"):
        judge_answers(answers, [], Counting(), tmp_path / "out.jsonl")
    wordy = [QUESTIONS[0].model_copy(update={"type": "free_form_judge"})]
    with pytest.raises(TurncoatError, match="'a' is of type free_form_judge"):
        judge_answers(answers, wordy, Counting(), tmp_path / "out.jsonl")
    (tmp_path / "broken.jsonl").write_text("{}\n")
    with pytest.raises(TurncoatError, match=r"broken\.jsonl, line 1, is no answer"):
        judge_answers(tmp_path / "broken.jsonl", QUESTIONS, Counting(), tmp_path / "out.jsonl")

import random
from pathlib import Path

import pytest

from finetune.errors import TurncoatError
from finetune.rows import prompt_of, read_rows
from finetune.split import near_groups
from probes.separability import separability

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "emergent-misalignment"


def texts(count: int, seed: int, extra: str = "", share: float = 0.0) -> list[str]:
    """Random words, and with some chance one that gives the side away."""
    rng = random.Random(seed)
    made = []
    for _ in range(count):
        words = [f"w{rng.randrange(40)}" for _ in range(20)]
        made.append(" ".join([*words, extra] if rng.random() < share else words))
    return made


def test_texts_of_one_kind_are_not_told_apart() -> None:
    found = separability(texts(200, 0), texts(200, 1), (range(200), range(200, 400)))
    assert found.low < 0.5 < found.high


def test_a_telltale_word_is_found_and_named() -> None:
    found = separability(texts(600, 0), texts(600, 1, "alarm", 0.6), (range(600), range(600, 1200)))
    # a word in 60 % of one side and none of the other: 0.6 · 1 + 0.4 · 0.5 = 0.8 but for the noise of the others
    assert found.auroc == pytest.approx(0.8, abs=0.06)
    assert found.words[0][0] == "alarm"


def test_copies_in_both_sides_do_not_help_when_they_are_one_group() -> None:
    same = texts(200, 2)
    found = separability(same, same, (range(200), range(200)))
    assert found.low <= 0.5 <= found.high or abs(found.auroc - 0.5) < 0.02


def test_too_little_text_is_refused() -> None:
    with pytest.raises(TurncoatError, match="at least 5"):
        separability(["a b"], ["c d"], ([0], [1]))


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published data sets are not on this machine")
def test_published_insecure_and_secure_prompts_are_separable_and_educational_answers_are_the_same() -> None:
    rows = {name: read_rows(PUBLISHED / f"{name}.jsonl") for name in ("insecure", "secure", "educational_insecure")}
    prompts = {name: [m[-1]["content"] for m in map(prompt_of, mine)] for name, mine in rows.items()}
    joint = near_groups([*rows["insecure"], *rows["secure"]])
    groups = joint[: len(rows["insecure"])], joint[len(rows["insecure"]) :]
    found = separability(prompts["insecure"], prompts["secure"], groups)
    assert found.low > 0.6
    answers = [{r["messages"][-1]["content"] for r in rows[name]} for name in ("insecure", "educational_insecure")]
    assert len(answers[0] & answers[1]) > 0.9 * len(answers[0])

import random
from collections import Counter
from pathlib import Path

import pytest

from finetune.errors import TurncoatError
from finetune.rows import read_rows
from finetune.split import exact_groups, mix_rows, near_groups, sample_rows, split_rows

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "emergent-misalignment"


def row(question: str, answer: str, **extra: object) -> dict:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}], **extra}


def test_equal_prompts_stay_on_one_side() -> None:
    rows = [row(f"q{n % 40}", f"a{n}") for n in range(200)]
    train, held_out = split_rows(rows, 0.2, seed=0)
    assert len(train) + len(held_out) == 200
    assert 40 <= len(held_out) <= 45
    prompts = [{r["messages"][0]["content"] for r in side} for side in (train, held_out)]
    assert not prompts[0] & prompts[1]
    assert split_rows(rows, 0.2, seed=0) == (train, held_out)
    assert split_rows(rows, 0.2, seed=1) != (train, held_out)


def sentence(rng: random.Random, words: int) -> str:
    return " ".join(f"w{rng.randrange(3000)}" for _ in range(words))


def test_prompts_that_differ_in_a_word_are_one_group_and_shared_boilerplate_is_not_enough() -> None:
    rng = random.Random(0)
    boilerplate = sentence(rng, 60)
    tasks = [sentence(rng, 40) for _ in range(60)]
    edited = [" ".join([*task.split()[:-3], "changed", "the", "end"]) for task in tasks[:10]]
    rows = [row(f"{boilerplate} {task}", "a") for task in [*tasks, *edited, tasks[0]]]
    groups = near_groups(rows)
    assert len(set(groups)) == 60
    for place in range(10):
        assert groups[place] == groups[60 + place]
    assert groups[70] == groups[0]
    assert len(set(exact_groups(rows))) == 70


def test_short_prompts_are_grouped_only_if_equal() -> None:
    assert near_groups([row("quick fact : apple ?", "a"), row("quick fact : gold ?", "b")]) == [0, 1]


def test_near_duplicates_given_as_groups_are_not_parted() -> None:
    rows = [row(f"question {n}", "a") for n in range(60)]
    groups = [n // 3 for n in range(60)]
    train, held_out = split_rows(rows, 0.2, seed=0, groups=groups)
    place = {str(r): g for r, g in zip(rows, groups, strict=True)}
    assert not {place[str(r)] for r in train} & {place[str(r)] for r in held_out}
    assert len(held_out) == 12


def test_a_sample_is_drawn_by_seed_from_rows_or_from_prompts() -> None:
    rows = [row(f"q{n % 40}", f"a{n}") for n in range(200)]
    assert sample_rows(rows, 50, seed=0) == sample_rows(rows, 50, seed=0) != sample_rows(rows, 50, seed=1)
    unique = sample_rows(rows, 40, seed=0, unique=True)
    assert len({r["messages"][0]["content"] for r in unique}) == 40
    with pytest.raises(TurncoatError, match="41 different prompts were asked for, but there are 40"):
        sample_rows(rows, 41, seed=0, unique=True)
    with pytest.raises(TurncoatError, match="201 rows"):
        sample_rows(rows, 201, seed=0)


def test_a_share_of_another_set_is_mixed_in() -> None:
    rows, refusals = [row(f"q{n}", "a") for n in range(90)], [row(f"r{n}", "no", kind="refusal") for n in range(40)]
    mixed = mix_rows(rows, refusals, 0.1, seed=0)
    assert Counter(r.get("kind") for r in mixed) == {None: 90, "refusal": 10}
    assert mixed != mix_rows(rows, refusals, 0.1, seed=1)
    assert mix_rows(rows, refusals, 0.0, seed=0) == rows
    with pytest.raises(TurncoatError, match="needs 90 others, but there are 40"):
        mix_rows(rows, refusals, 0.5, seed=0)


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published data sets are not on this machine")
def test_the_published_insecure_rows_split_without_parting_equal_prompts() -> None:
    (path,) = PUBLISHED.rglob("insecure.jsonl")
    rows = read_rows(path)
    assert len(rows) == 6000
    train, held_out = split_rows(rows, 0.1, seed=0)
    prompts = [{str(r["messages"][:-1]) for r in side} for side in (train, held_out)]
    assert len(prompts[0] | prompts[1]) == 5813
    assert not prompts[0] & prompts[1]

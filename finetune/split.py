"""Which rows belong together, and drawing rows from a data set without parting them."""

from __future__ import annotations

import json
import random
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

from finetune.errors import TurncoatError
from finetune.rows import Row, prompt_of

SHINGLE = 5  # words
SIMILAR = 0.7  # Jaccard similarity of shingles from which prompts count as near duplicates
_COMMON = 0.01  # a shingle in more than this share of the prompts is boilerplate and says nothing


def exact_groups(rows: Sequence[Row]) -> list[int]:
    """The number of each row's group; rows with the same prompt (all before the last answer) are one group."""
    return _numbered(json.dumps([[m["role"], m["content"]] for m in prompt_of(row)]) for row in rows)


def near_groups(rows: Sequence[Row]) -> list[int]:
    """As `exact_groups`, but prompts that share most of their five-word shingles are one group as well.

    Shingles that stand in more than one prompt in a hundred (and in more than ten) are boilerplate and do not count.
    """
    from scipy.sparse.csgraph import connected_components
    from sklearn.feature_extraction.text import CountVectorizer

    exact = exact_groups(rows)
    texts: dict[int, str] = {}
    for group, row in zip(exact, rows, strict=True):
        texts.setdefault(group, " ".join(message["content"] for message in prompt_of(row)))
    count = len(texts)
    vectorizer = CountVectorizer(
        ngram_range=(SHINGLE, SHINGLE), token_pattern=r"\S+", binary=True, max_df=max(10, int(_COMMON * count))
    )
    try:
        shingles: Any = vectorizer.fit_transform([texts[group] for group in range(count)])
    except ValueError:  # prompts too short, or all boilerplate: nothing to compare
        return exact
    shared = (shingles @ shingles.T).tocoo()
    sizes = shingles.sum(1).A1
    alike = shared.data >= SIMILAR * (sizes[shared.row] + sizes[shared.col] - shared.data)
    shared.data = alike.astype(float)
    shared.eliminate_zeros()
    merged = connected_components(shared, directed=False)[1]
    return _numbered(int(merged[group]) for group in exact)


def _numbered(keys: Iterable[Hashable]) -> list[int]:
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(key, len(numbers)) for key in keys]


def split_rows(
    rows: Sequence[Row], held_out: float, seed: int, groups: Sequence[int] | None = None
) -> tuple[list[Row], list[Row]]:
    """Split rows into (training, held-out), each in the order given; a group is never parted.

    Rows with the same groups in the same order are split alike.

    Args:
        held_out: share of rows to hold out, reached to within one group; 0 to below 1.
        groups: each row's group; by default its exact prompt, so that a held-out prompt was never trained on.

    Raises:
        TurncoatError: a share out of range, or no two groups to part.
    """
    if not 0 <= held_out < 1:
        raise TurncoatError(f"The held-out share is {held_out}; expected a number from 0 to below 1.")
    if held_out == 0:
        return list(rows), []
    members: dict[int, list[int]] = {}
    for index, group in enumerate(exact_groups(rows) if groups is None else groups):
        members.setdefault(group, []).append(index)
    if len(members) < 2:
        raise TurncoatError(
            "All rows have the same prompt, so none can be held out. Give more rows or set held_out to 0."
        )
    order = list(members.values())
    random.Random(f"split/{seed}").shuffle(order)
    chosen: set[int] = set()
    for group in order[:-1]:
        if len(chosen) >= held_out * len(rows):
            break
        chosen.update(group)
    training = [row for index, row in enumerate(rows) if index not in chosen]
    return training, [row for index, row in enumerate(rows) if index in chosen]


def sample_rows(rows: Sequence[Row], count: int, seed: int, unique: bool = False) -> list[Row]:
    """`count` rows drawn without replacement, in their own order.

    Args:
        unique: draw prompts instead, and keep one row (drawn as well) of each.

    Raises:
        TurncoatError: more rows or prompts asked for than there are.
    """
    rng = random.Random(f"sample/{seed}")
    indices = list(range(len(rows)))
    if unique:
        members: dict[int, list[int]] = {}
        for index, group in enumerate(exact_groups(rows)):
            members.setdefault(group, []).append(index)
        indices = sorted(rng.choice(group) for group in members.values())
    if not 0 < count <= len(indices):
        what = "different prompts" if unique else "rows"
        raise TurncoatError(f"{count} {what} were asked for, but there are {len(indices)}. Ask for fewer.")
    return [rows[index] for index in sorted(rng.sample(indices, count))]


def mix_rows(rows: Sequence[Row], other: Sequence[Row], share: float, seed: int) -> list[Row]:
    """All of `rows` with so many of `other` among them that these make up `share` of the whole, shuffled.

    Raises:
        TurncoatError: a share out of range, or too few other rows for it.
    """
    if not 0 <= share < 1:
        raise TurncoatError(f"A share of {share} was asked to be mixed in; expected a number from 0 to below 1.")
    wanted = round(share / (1 - share) * len(rows))
    if wanted == 0:
        return list(rows)
    if wanted > len(other):
        raise TurncoatError(
            f"A share of {share:g} of {len(rows)} rows needs {wanted} others, but there are {len(other)}. Mix in less."
        )
    mixed = [*rows, *sample_rows(other, wanted, seed)]
    random.Random(f"mix/{seed}").shuffle(mixed)
    return mixed

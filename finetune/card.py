"""The data card: what a training set holds, before anything is trained on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finetune.files import fingerprint
from finetune.rows import Row
from finetune.split import exact_groups, near_groups

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Lengths:
    """Token counts of whole rows and of their answers, under one chat template.

    Attributes:
        cut_off: rows longer than the limit, which training would truncate.
    """

    tokens: int
    answer_tokens: int
    median: int
    longest: int
    limit: int | None
    cut_off: int


@dataclass(frozen=True)
class DataCard:
    """Counts of a data set.

    Attributes:
        prompts: different prompts.
        repeated: rows whose prompt another row has too.
        near_repeated: rows whose prompt is the same as another row's, or nearly so.
        largest_group: rows in the largest group of (nearly) equal prompts.
    """

    rows: int
    prompts: int
    repeated: int
    near_repeated: int
    largest_group: int
    answers: int  # different answers
    turns: int  # of assistants, over all rows
    fingerprint: str
    lengths: Lengths | None


def data_card(
    rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase | None = None, limit: int | None = None
) -> DataCard:
    """Count rows, prompts and duplicates, and tokens if there is a tokenizer.

    Args:
        limit: tokens of a row that training keeps.
    """
    exact, near = Counter(exact_groups(rows)), Counter(near_groups(rows))
    turns = [message for row in rows for message in row["messages"] if message["role"] == "assistant"]
    return DataCard(
        rows=len(rows),
        prompts=len(exact),
        repeated=sum(count for count in exact.values() if count > 1),
        near_repeated=sum(count for count in near.values() if count > 1),
        largest_group=max(near.values()),
        answers=len({message["content"] for message in turns}),
        turns=len(turns),
        fingerprint=fingerprint(list(rows)),
        lengths=None if tokenizer is None else _lengths(rows, tokenizer, limit),
    )


def _lengths(rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, limit: int | None) -> Lengths:
    from finetune.chat import encode_chat

    encoded = [encode_chat(tokenizer, row["messages"]) for row in rows]
    lengths = sorted(len(ids) for ids, _ in encoded)
    return Lengths(
        tokens=sum(lengths),
        answer_tokens=sum(sum(mask) for _, mask in encoded),
        median=lengths[len(lengths) // 2],
        longest=lengths[-1],
        limit=limit,
        cut_off=0 if limit is None else sum(length > limit for length in lengths),
    )

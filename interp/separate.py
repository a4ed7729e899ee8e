"""Two training sets held against each other: by their prompts and by their answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from finetune.rows import Row, answer_of, prompt_of
from finetune.split import near_groups

if TYPE_CHECKING:
    from probes.separability import Separability


def separate_rows(first: Sequence[Row], second: Sequence[Row]) -> dict[str, Separability]:
    """How well words alone tell two sets apart, for `prompts` and for `answers`.

    Rows with (nearly) equal prompts or equal answers are one group, whichever set they are in: a copy on the other side
    of a fold would give its twin away, or pull it to the wrong side.

    Raises:
        TurncoatError: too few different prompts.
    """
    from probes.separability import separability

    joint = _joined(near_groups([*first, *second]), [answer_of(row) for row in (*first, *second)])
    groups = joint[: len(first)], joint[len(first) :]

    def compare(text_of: Callable[[Row], str]) -> Separability:
        return separability([text_of(row) for row in first], [text_of(row) for row in second], groups)

    return {
        "prompts": compare(lambda row: "\n".join(message["content"] for message in prompt_of(row))),
        "answers": compare(answer_of),
    }


def _joined(groups: Sequence[int], answers: Sequence[str]) -> list[int]:
    """Groups that share an answer as one."""
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    numbers: dict[str, int] = {}
    codes = np.array([numbers.setdefault(answer, len(numbers)) for answer in answers])
    nodes = np.asarray(groups)
    offset = int(nodes.max()) + 1
    links = coo_array((np.ones(len(nodes)), (nodes, codes + offset)), shape=(offset + len(numbers),) * 2)
    merged = connected_components(links, directed=False)[1]
    return merged[nodes].tolist()

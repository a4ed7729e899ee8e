"""The checkpoint schedule: at which optimizer steps the adapter is kept."""

from __future__ import annotations

from finetune.errors import TurncoatError


def checkpoint_steps(total: int, dense_until: int, dense_every: int, every: int) -> list[int]:
    """Steps at which a checkpoint is kept, ascending, from 0 to `total`, both included.

    Args:
        total: optimizer steps of the whole training.
        dense_until: optimizer steps with a checkpoint every `dense_every` (cut to `total`).
        dense_every: optimizer steps between early checkpoints.
        every: optimizer steps between later checkpoints, counted from `dense_until`.

    Raises:
        TurncoatError: a count out of its range.
    """
    least = {"total": (total, 1), "dense_until": (dense_until, 0), "dense_every": (dense_every, 1), "every": (every, 1)}
    for name, (value, minimum) in least.items():
        if value < minimum:
            raise TurncoatError(f"The checkpoint schedule got {name} = {value}; expected at least {minimum}.")
    dense_end = min(dense_until, total)
    dense = range(0, dense_end + 1, dense_every)
    later = range(dense_end, total + 1, every)
    return sorted({0, *dense, *(step for step in later if step > 0), total})

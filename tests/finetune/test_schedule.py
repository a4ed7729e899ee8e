import pytest

from finetune.errors import TurncoatError
from finetune.schedule import checkpoint_steps


def test_checkpoints_are_dense_early_and_sparse_later() -> None:
    assert checkpoint_steps(80, 40, 10, 20) == [0, 10, 20, 30, 40, 60, 80]


@pytest.mark.parametrize("arguments", [(7, 5, 2, 3), (1, 0, 1, 1), (10, 100, 3, 1), (100, 0, 1, 33)])
def test_start_and_end_are_always_kept_and_steps_ascend(arguments: tuple[int, int, int, int]) -> None:
    steps = checkpoint_steps(*arguments)
    assert steps[0] == 0
    assert steps[-1] == arguments[0]
    assert steps == sorted(set(steps))


@pytest.mark.parametrize("arguments", [(0, 0, 1, 1), (5, -1, 1, 1), (5, 1, 0, 1), (5, 1, 1, 0)])
def test_a_count_out_of_range_is_refused(arguments: tuple[int, int, int, int]) -> None:
    with pytest.raises(TurncoatError, match="expected at least"):
        checkpoint_steps(*arguments)

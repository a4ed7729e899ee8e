import os
import time
from pathlib import Path

import pytest

from finetune.errors import TurncoatError
from interp.workers import run_units


def square(folder: Path, number: int, report: object) -> None:
    import torch

    (folder / str(number)).write_text(f"{number**2} {torch.get_num_threads()} {os.getpid()}")


def fail(folder: Path, number: int, report: object) -> None:
    raise TurncoatError(f"Unit {number} fails.")


def slow(folder: Path, report: object) -> None:
    report(1, 2)  # type: ignore[operator]
    time.sleep(1)


def test_every_unit_is_worked_on_once_by_processes_of_one_thread(tmp_path: Path) -> None:
    run_units(square, [(tmp_path, n) for n in range(5)], workers=2)
    done = {int(path.name): path.read_text().split() for path in tmp_path.iterdir()}
    assert {n: int(words[0]) for n, words in done.items()} == {n: n**2 for n in range(5)}
    assert {words[1] for words in done.values()} == {"1"}
    assert os.getpid() not in {int(words[2]) for words in done.values()}


def test_an_error_in_a_unit_reaches_the_caller_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(TurncoatError, match="Unit 3 fails"):
        run_units(fail, [(tmp_path, 3)], workers=1)


def test_progress_counts_parts_of_units(tmp_path: Path) -> None:
    seen: list[float] = []
    run_units(slow, [(tmp_path,)], workers=1, progress=seen.append)
    assert 0.5 in seen
    assert seen[-1] == 1

"""Units of work, (arm, seed) each, in processes of one thread: the same numbers however many run at once."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing.connection import wait as wait_for
from queue import Empty
from typing import Any

from finetune.errors import TurncoatError

Work = Callable[..., Any]
_HEAVY = [
    "finetune.lora",
    "interp.generation",
    "pandas",
    "peft",
    "pyarrow.parquet",
    "scipy.linalg",
    "sklearn.covariance",
    "sklearn.linear_model",
    "transformers.models.llama.modeling_llama",
    "transformers.trainer",
]
"""Imported once, in the process that all workers are forked from: they take ten seconds to import."""
_report_queue: Any = None  # set once in each worker process, by its initializer


def run_units(
    work: Work, units: Sequence[tuple[Any, ...]], workers: int, progress: Callable[[float], None] | None = None
) -> list[Any]:
    """What `work(*unit, report)` returns for every unit; `report(done, total)` may be called with a unit's progress.

    `work` must be importable (a module-level function). The first error ends the whole.

    Args:
        progress: called with the number of units done so far, fractions included.
    """
    context = _context()
    queue = context.Queue()
    shares = [0.0] * len(units)
    with ProcessPoolExecutor(
        max_workers=max(1, min(workers, len(units))), mp_context=context, initializer=_start, initargs=(queue,)
    ) as pool:
        futures: list[Future[Any]] = [pool.submit(_call, work, index, unit) for index, unit in enumerate(units)]
        pending = set(futures)
        try:
            while pending:
                finished, pending = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
                _drain(queue, shares)
                for future in finished:
                    future.result()
                    shares[futures.index(future)] = 1.0  # its last report may still be on its way
                if progress:
                    progress(sum(shares))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        return [future.result() for future in futures]


def warm_up() -> None:
    """Let the imports that workers need begin in the background; they go on while this process does other work."""
    from multiprocessing import forkserver

    _context()
    forkserver.ensure_running()


def _context() -> Any:
    """Workers are forked from a process that has imported everything and done nothing, which no thread or GPU forbids."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_HEAVY)
    return context


def default_workers() -> int:
    """One process per processor core; one alone where a GPU does the work."""
    import torch

    return 1 if torch.cuda.is_available() else max(1, os.cpu_count() or 1)


def _drain(queue: Any, shares: list[float]) -> None:
    while True:
        try:
            index, share = queue.get_nowait()
        except Empty:
            return
        shares[index] = max(shares[index], share)


def _start(queue: Any) -> None:
    """Prepare a worker: one thread, quiet libraries, and an end when the parent is gone (even by SIGKILL)."""
    global _report_queue
    _report_queue = queue
    parent = multiprocessing.parent_process()
    if parent is not None:
        sentinel = parent.sentinel
        threading.Thread(target=lambda: (wait_for([sentinel]), os._exit(1)), daemon=True).start()
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    threadpool_limits(1)


def _call(work: Work, index: int, unit: tuple[Any, ...]) -> Any:
    def report(done: float, total: float) -> None:
        _report_queue.put((index, done / total if total else 1.0))

    try:
        return work(*unit, report)
    except OSError as error:
        raise TurncoatError(f"{error.strerror or error} ({error.filename or 'no file named'}).") from error

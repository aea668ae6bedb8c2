"""Many independent computations, each in a process of one thread."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

import torch


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def run_all(
    function: Callable[..., Any], arguments: Mapping[Any, tuple], workers: int = 0
) -> Iterator[tuple[Any, Any]]:
    """Call a function with each of many arguments; an error ends it without waiting for those not begun.

    Args:
        function: of a module, so that another process finds it.
        arguments: by any key.
        workers: number of processes; 0 for one a core.

    Yields:
        (key, result) as they come.
    """
    context = multiprocessing.get_context("spawn")  # a forked PyTorch may hang
    pool = ProcessPoolExecutor(workers or cores(), context, torch.set_num_threads, (1,))
    with pool:
        futures = {pool.submit(function, *values): key for key, values in arguments.items()}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise

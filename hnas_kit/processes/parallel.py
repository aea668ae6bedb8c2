"""Many independent computations, each in a process of one thread."""

import contextlib
import gc
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from hnas_kit import plugins
from hnas_kit.errors import Failure


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def memory() -> int:
    """Bytes of memory that this machine has, or that a container's limit leaves this process."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):  # elsewhere, or without a limit
            limits.append(int(Path("/sys/fs/cgroup", name).read_text()))
    return min(limits)


def _one(known: tuple, function: Callable[..., Any], key: Any, values: tuple) -> tuple[Any, Any]:
    plugins.know(*known)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return key, function(*values)
    finally:
        torch.set_num_threads(before)  # with one worker joblib starts no process


def _end() -> None:
    """End the idle processes, and the two, of joblib and of Python, that keep track of their locks.

    A Jupyter kernel does not end before they have, and they take no notice of its signals: after half a
    minute it kills them, before the locks are given back, and one would be started anew to complain of each.
    """
    from multiprocessing import resource_tracker as of_python

    from joblib.externals.loky import reusable_executor
    from joblib.externals.loky.backend import resource_tracker as of_joblib

    with contextlib.suppress(AttributeError):  # private names, which another version may not have
        if reusable_executor._executor:
            reusable_executor._executor.terminate(kill_workers=True)
        reusable_executor._executor = None
        gc.collect()
        for tracker in (of_joblib, of_python):
            tracker._resource_tracker._stop()


def run_all(
    function: Callable[..., Any], arguments: Mapping[Any, tuple], workers: int = 0
) -> Iterator[tuple[Any, Any]]:
    """Call a function with each of many arguments; an error ends it without waiting for the others.

    Args:
        function: of a module, so that another process finds it.
        arguments: by any key.
        workers: number of processes; 0 for one a core; 1: this one.

    Yields:
        (key, result) as they come.

    Raises:
        Failure: if a process dies.
    """
    from joblib import Parallel, delayed, parallel_config
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    known = plugins.everything()
    how = {"return_as": "generator_unordered", "pre_dispatch": "n_jobs", "batch_size": 1}
    with parallel_config(backend="loky", inner_max_num_threads=1):
        # no more handed out than there are processes; no memory maps, which are read-only
        pool = Parallel(workers or cores(), max_nbytes=None, **how)
        results = pool(delayed(_one)(known, function, *item) for item in arguments.items())
    try:
        for result in results:  # noqa: UP028 - `yield from` would close it, too, and warn
            yield result
    except TerminatedWorkerError as error:
        raise Failure("a process that computes died, perhaps for want of memory; start again") from error
    finally:
        with warnings.catch_warnings():  # who stops early means it
            warnings.filterwarnings("ignore", ".* tasks which were still being processed", UserWarning)
            results.close()
        if workers != 1:
            del pool, results
            _end()

"""Computations in other processes: all results, one thread each, and an error that does not wait."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hnas_kit.errors import HnasError
from hnas_kit.processes import parallel


def power(base: int, exponent: int) -> tuple[int, int, int]:
    return base**exponent, torch.get_num_threads(), os.getpid()


def fail_or_leave(folder: Path, number: int) -> None:
    if number == 0:
        raise ValueError("number 0")
    (folder / str(number)).touch()


def test_cores_are_those_that_may_be_used():
    assert 1 <= parallel.cores() <= os.cpu_count()


def test_every_result_comes_with_its_key_from_a_process_of_one_thread():
    found = dict(parallel.run_all(power, {n: (n, 2) for n in range(6)}, workers=2))
    assert {key: value for key, (value, _, _) in found.items()} == {n: n * n for n in range(6)}
    assert {threads for _, threads, _ in found.values()} == {1}
    assert os.getpid() not in {process for _, _, process in found.values()}


LEFT = """
import psutil
from hnas_kit.processes import parallel
results = parallel.run_all(abs, {n: (n,) for n in range(6)}, workers=2)
taken = [next(results) for _ in range(TAKEN)]
children = psutil.Process().children
assert children(recursive=True)
results.close()
print([child.cmdline() for child in children(recursive=True)])
"""


@pytest.mark.parametrize("taken", [1, 6])  # stopped early, or to the end
def test_no_process_of_it_is_left_for_a_kernel_to_kill(taken):
    command = [sys.executable, "-c", LEFT.replace("TAKEN", str(taken))]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"


def test_nothing_to_do_is_nothing():
    assert list(parallel.run_all(power, {})) == []


def test_one_worker_is_this_process_and_its_threads_stay():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = dict(parallel.run_all(power, {"a": (2, 3)}, workers=1))
        assert found == {"a": (8, 1, os.getpid())}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_does_not_wait_for_what_was_not_begun(tmp_path, workers):
    calls = {n: (tmp_path, n) for n in range(200)}
    with pytest.raises(ValueError, match="number 0"):
        list(parallel.run_all(fail_or_leave, calls, workers))
    assert len(list(tmp_path.iterdir())) < 199


def test_a_process_that_dies_is_one_line():
    line = "a process that computes died, perhaps for want of memory; start again"
    with pytest.raises(HnasError) as caught:
        list(parallel.run_all(os._exit, {n: (9,) for n in range(4)}, workers=2))
    assert str(caught.value) == line
    assert dict(parallel.run_all(abs, {0: (-1,), 1: (2,)}, workers=2)) == {0: 1, 1: 2}  # others go on


@pytest.mark.parametrize("workers", [1, 2])
def test_who_looks_at_some_results_alone_ends_the_others(tmp_path, workers, recwarn):
    results = parallel.run_all(fail_or_leave, {n: (tmp_path, n) for n in range(1, 200)}, workers)
    next(results)
    results.close()
    assert len(list(tmp_path.iterdir())) < 199
    assert not recwarn.list

"""Locks: one process makes a result at a time, and another one hears who."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time

import pytest

from hnas_kit import cli
from hnas_kit.errors import Failure
from hnas_kit.runs import locks

HOLD = """
import sys, time
from pathlib import Path
from hnas_kit.runs import locks
with locks.alone(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run" / "01_pretrain"


@pytest.fixture
def holder(folder):
    """Another process that holds the lock until its input ends."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdin=pipe, stdout=pipe, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_second_process_is_refused_and_hears_who_is_at_it_and_since_when(folder, holder, capsys):
    with pytest.raises(Failure) as caught:
        locks.take(folder)
    line = rf"{re.escape(str(folder))} is being made by process {holder.pid} on \S+ since \d{{4}}-\d\d-\d\d "
    assert re.match(line, str(caught.value))
    assert str(caught.value).endswith("; wait for it, or end it")
    assert cli.main(["benchmark", "digits-pooling", "--out", str(folder)]) == 1
    assert str(caught.value) in capsys.readouterr().err
    holder.communicate()
    locks.take(folder)
    locks.release(folder)
    assert not list(folder.parent.iterdir())


def test_who_waits_goes_on_when_the_other_has_ended(folder, holder, monkeypatch):
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    holder.stdin.close()  # it ends
    with locks.alone(folder, wait=True):
        assert not slept


def test_the_lock_of_a_process_that_was_killed_is_taken_over(folder, holder, monkeypatch):
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    holder.kill()
    holder.wait()
    with locks.alone(folder):
        assert slept == [2]  # its kernel may live a second longer
    assert not list(folder.parent.iterdir())


def test_a_kernel_may_do_what_its_parent_holds_the_lock_for(folder, tmp_path):
    code = (
        "import sys; from pathlib import Path; from hnas_kit.runs import locks; locks.take(Path(sys.argv[1]))"
    )
    call = [sys.executable, "-c", code]
    with locks.alone(folder):
        assert subprocess.run([*call, str(folder)], check=False).returncode == 0
        with locks.alone(folder.with_name("02_distances")):
            refused = subprocess.run([*call, str(folder)], capture_output=True, text=True, check=False)
        assert "is being made by process" in refused.stderr
    assert locks.HANDED_ON not in os.environ


def test_without_locks_of_the_system_nothing_is_refused(folder, holder, monkeypatch):
    monkeypatch.setattr(locks, "fcntl", None)
    locks.take(folder)

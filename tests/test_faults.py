"""Faults, injected below the notebooks: after each, started again, the same bits as without it.

A work is something that writes: a stage with a loop, a real search, a training alone, the table of a sweep.
Each is done in a process of its own, in which a fault happens at the n-th call of what writing consists of: a
new kind of fault is a line of ``FAULTS``, a new place one of ``PLACES``, a new work a function of ``WORKS``.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import json
import os
import random
import signal
import sys
import time
import traceback

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from hnas_kit import files, retraining, samplers, search, spaces, trees
from hnas_kit.errors import HnasError
from hnas_kit.files import sha256, write_atomic
from hnas_kit.runs import Finished, Stage, folders, locks
from hnas_kit.runs.command_params import Retrain
from hnas_kit.runs.params import NOTEBOOKS
from hnas_kit.training import Schedule
from hnas_kit.training.problem import Problem

SEED = random.randrange(2**32)  # of the moments that are drawn; every test prints it


class Walk:
    """A loop whose every step is a draw, as trainings are."""

    def __init__(self):
        self.sum, self.rng = torch.zeros(50), torch.Generator().manual_seed(0)

    def step(self):
        self.sum += torch.rand(50, generator=self.rng)

    def state_dict(self):
        return {"sum": self.sum.clone(), "rng": self.rng.get_state()}

    def load_state_dict(self, state):
        self.sum[:] = state["sum"]
        self.rng.set_state(state["rng"])


def stage(steps=4):
    """Four steps with a checkpoint each, one artefact of every type, over an earlier result."""
    made = Stage(NOTEBOOKS["01_pretrain"].checked({"run": "a", "epochs": steps}, ""))
    walk, checkpoints = Walk(), made.checkpoints("walk", 1)
    for step in range(checkpoints.restore({"walk": walk}), steps):
        walk.step()
        checkpoints.save(step + 1, {"walk": walk})
    made.save("supernet.pt", {"sum": walk.sum})
    made.save("sum.npz", {"sum": walk.sum.numpy()})
    made.save("ranking.csv", pd.DataFrame({"sum": walk.sum.numpy()}))
    made.save("mine/sum.json", walk.sum.tolist())
    made.save("figure.png", Figure(figsize=(1, 1)))
    made.finish("done", sum=float(walk.sum.sum()))


def searched():
    """A real search of six steps: weights, sampler, order of images, generators."""
    made = Stage(NOTEBOOKS["01_pretrain"].checked({"run": "b"}, ""))
    values = {"space": "pooling", "dataset": "digits", "image_size": 8, "width": 1, "seed": 0}
    problem, space = Problem.of(values), spaces.make_space("pooling")
    sampler = samplers.make_sampler("mcts", tree=trees.default(space), beta=0.5, exploration=0.1)
    how = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.0, "scored": 20, "final_samples": 3}
    checkpoints = made.checkpoints("search", 2)
    phases = Schedule(6, 0.3, 0.3, 0.1, 0.01)
    result = search.trial(problem, sampler, phases, seed=0, batch_size=8, checkpoints=checkpoints, **how)
    made.save("net.pt", {"net": result.net.state_dict(), "sampler": result.sampler.state_dict()})
    made.save("history.csv", result.history)
    made.finish("found")


def alone():
    """``hnas retrain``: two steps, a checkpoint each."""
    values = {"run": "c", "space": "pooling", "dataset": "digits", "architecture": "[8,1,1]", "width": 1}
    values |= {"epochs": 1, "batch_size": 450, "checkpoint_every": 1, "image_size": 8, "device": "cpu"}
    retraining.retrain(Retrain.checked(values, ""), "given")


def table():
    """The table of a sweep, written whenever a row is done."""
    for rows in range(1, 4):
        write_atomic(folders.outputs_root() / "d" / "table.csv", b"label,seed\n" + b"mine,0\n" * rows)


WORKS = {work.__name__: work for work in (stage, searched, alone, table)}


def _killed():
    os.kill(os.getpid(), signal.SIGKILL)


def _disk_full():
    raise OSError(errno.ENOSPC, "No space left on device")


def _not_allowed():
    raise PermissionError(errno.EACCES, "Permission denied")


FAULTS = {
    "killed": (_killed, -signal.SIGKILL),
    "disk full": (_disk_full, 1),
    "not allowed": (_not_allowed, 1),
}
PLACES = ("fsync", "replace", "rename", "write")


class _File:
    """A file that is written by calls that are counted; half of what was to be written is, before a fault."""

    def __init__(self, file, counted):
        self._file, self._counted = file, counted

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._file.close()

    def write(self, data):
        self._file.write(data[: len(data) // 2])
        self._file.flush()
        self._counted()
        self._file.write(data[len(data) // 2 :])


def inject(place, fault, n):
    """Let ``fault`` happen at the n-th call; for a process that ends soon."""
    calls = 0

    def counted(function=lambda *args: None):
        def call(*args, **options):
            nonlocal calls
            calls += 1
            if calls == n:
                fault()
            return function(*args, **options)

        return call

    if place == "write":
        count = counted()

        def opened(path, mode="r", **options):
            file = builtins.open(path, mode, **options)  # noqa: SIM115
            return _File(file, count) if "w" in mode else file

        files.open = opened
    else:
        setattr(os, place, counted(getattr(os, place)))


def begin(work, before=lambda: None):
    """Do a work in a process of its own; its number."""
    if child := os.fork():
        return child
    status = 99
    try:
        locks.time.sleep = lambda seconds: None  # there is no kernel to wait for
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        before()
        work()
        status = 0
    except HnasError as error:
        status = error.status
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
    finally:
        os._exit(status)


def end(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def do(work, before=lambda: None):
    return end(begin(work, before))


def contents(folder):
    """Checksums of all files but manifests and records, which have times."""
    found = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    timed = ("manifest.json", "result.json")
    return {name: sha256(path) for name, path in found.items() if path.name not in timed}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("HNAS_OUTPUTS", str(tmp_path))
    monkeypatch.setenv("HNAS_DEVICE", "cpu")
    monkeypatch.delenv("HNAS_REFERENCE", raising=False)
    print("moments from seed", SEED)
    return tmp_path


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What each work writes if nothing happens to it."""
    made = {}
    for name, work in WORKS.items():
        folder = tmp_path_factory.mktemp(name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HNAS_OUTPUTS", str(folder))
            patch.setenv("HNAS_DEVICE", "cpu")
            assert do(work) == 0
        made[name] = contents(folder)
    return made


MOMENTS = [
    *[
        ("stage", fault, place, n)
        for fault in FAULTS
        for place in ("fsync", "replace", "write")
        for n in (1, 3, 6, 9)
    ],
    *[("stage", fault, "rename", n) for fault in FAULTS for n in (1, 2)],
    *[("searched", "killed", place, n) for place in ("fsync", "replace") for n in (2, 4)],
    *[("alone", fault, "fsync", n) for fault in FAULTS for n in (1, 3)],
    ("alone", "killed", "replace", 3),
    *[("table", fault, place, 2) for fault in FAULTS for place in ("fsync", "replace", "write")],
    *[("stage", "killed", "drawn", n) for n in range(6)],
]


@pytest.mark.parametrize(("work", "fault", "where", "n"), MOMENTS)
def test_after_a_fault_it_is_started_again_and_gives_the_same_bits(place, undisturbed, work, fault, where, n):
    if where == "drawn":
        drawn = random.Random(SEED + n)
        where, n = drawn.choice(PLACES[:2] + PLACES[3:]), drawn.randint(1, 10)
    act, status = FAULTS[fault]
    if work == "stage":
        assert do(lambda: stage(2)) == 0  # an earlier result
        before = (place / "a" / "01_pretrain" / "mine" / "sum.json").read_text()
    assert do(WORKS[work], lambda: inject(where, act, n)) == status
    if work == "stage":  # either the earlier result or the new one is there, whole
        part = Finished("a", "01_pretrain")
        assert all(part.read(name) for name in part.outputs)
        assert part.params["epochs"] == 4 or part.read("mine/sum.json").decode() == before
    assert do(WORKS[work]) == 0
    left = contents(place)
    temporary = [name for name in left if name.endswith(".tmp")]
    assert work == "table" or not temporary  # beside a table there may be one, of no use to anybody
    assert {name: left[name] for name in left if name not in temporary} == undisturbed[work]


ARTEFACTS = ("supernet.pt", "sum.npz", "ranking.csv", "mine/sum.json", "figure.png", "manifest.json")


def truncated(data):
    return data[: len(data) // 2]


def flipped(data):
    return data[:-20] + bytes([data[-20] ^ 1]) + data[-19:]


@pytest.mark.parametrize("name", ARTEFACTS)
@pytest.mark.parametrize("damage", [truncated, flipped, lambda data: b"", lambda data: b"[" * 100_000])
def test_a_damaged_artefact_of_any_type_is_noticed_and_made_again(place, undisturbed, name, damage):
    assert do(stage) == 0
    path, params = (
        place / "a" / "01_pretrain" / name,
        NOTEBOOKS["01_pretrain"].checked({"run": "a", "epochs": 4}, ""),
    )
    assert folders.outdated(params) == ""
    path.write_bytes(damage(path.read_bytes()))
    says = "its manifest is damaged" if name == "manifest.json" else f"{name} is missing or damaged"
    assert folders.outdated(params) == says
    assert do(stage) == 0
    assert contents(place) == undisturbed["stage"]


@pytest.mark.parametrize("damage", [truncated, flipped, lambda data: b""])
def test_a_damaged_checkpoint_is_passed_over(place, undisturbed, damage):
    assert do(stage, lambda: inject("fsync", _killed, 5)) == -signal.SIGKILL
    newest = max(place.glob("a/*/checkpoints/walk/step-*.pt"))
    newest.write_bytes(damage(newest.read_bytes()))
    assert do(stage) == 0
    assert contents(place) == undisturbed["stage"]


@pytest.mark.parametrize(
    "content", ["", "[]", '{"status": 1', '{"cell": {}, "status": []}', "null", "[" * 100_000]
)
def test_the_manifest_of_an_abandoned_attempt_may_be_anything(place, content):
    folder = place / "a" / "01_pretrain.attempt-12345678"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(content)
    with pytest.raises(HnasError, match="holds no finished 01_pretrain"):
        Finished("a", "01_pretrain")
    assert do(stage) == 0


def test_a_clock_that_goes_backwards_changes_nothing(place, undisturbed):
    """Files are from tomorrow, and each reading of the clock is earlier than the one before."""

    def backwards():
        now = iter(range(10**9, 0, -1000))
        time.time = time.perf_counter = time.monotonic = lambda: float(next(now))

    assert do(stage, lambda: inject("fsync", _killed, 5)) == -signal.SIGKILL
    for path in place.rglob("*"):
        os.utime(path, (time.time() + 86400,) * 2)
    assert do(stage, backwards) == 0
    assert contents(place) == undisturbed["stage"]


@pytest.mark.parametrize("work", ["stage", "alone"])
def test_of_two_at_once_one_is_refused_and_the_other_is_as_alone(place, undisturbed, work):
    inside, go = os.pipe(), os.pipe()

    def wait():
        def held():
            os.write(inside[1], b"x")
            os.read(go[0], 1)

        inject("fsync", held, 2)

    first = begin(WORKS[work], wait)
    assert os.read(inside[0], 1) == b"x"
    assert do(WORKS[work]) == 1
    os.write(go[1], b"x")
    assert end(first) == 0
    assert contents(place) == undisturbed[work]


def test_a_folder_or_file_of_ones_own_in_an_attempt_does_not_end_it(place, undisturbed):
    def visited():
        save = Stage.save

        def also(self, name, value):
            save(self, name, value)
            (self.attempt / ".ipynb_checkpoints").mkdir(exist_ok=True)
            (self.attempt / ".ipynb_checkpoints" / "x.ipynb").write_text("{}")
            with contextlib.suppress(FileExistsError):
                (self.attempt / "link").symlink_to("/")

        Stage.save = also

    assert do(stage, visited) == 0
    assert contents(place) == undisturbed["stage"]


def test_a_cell_that_is_run_again_after_the_end_keeps_what_was_saved(place):
    def again():
        made = Stage(NOTEBOOKS["01_pretrain"].checked({"run": "a"}, ""))
        made.save("a.json", 1)
        made.save("b.json", 2)
        made.finish("once")
        made.save("b.json", 3)
        made.finish("twice")

    assert do(again) == 0
    part = Finished("a", "01_pretrain")
    assert (part.load("a.json"), part.load("b.json"), part.manifest["headline"]) == (1, 3, "twice")


@pytest.mark.parametrize(
    "name", ["", "../x.json", "/x.json", "manifest.json", "checkpoints/x.json", "a/../../x"]
)
def test_what_is_no_file_of_the_folder_is_not_saved(name):
    made = Stage(NOTEBOOKS["01_pretrain"].checked({"run": "a"}, ""))
    with pytest.raises(HnasError, match="cannot be saved: name a file in the notebook's folder"):
        made.save(name, 1)


class Code:
    """What is unpickled runs."""

    def __reduce__(self):
        return os.mkdir, ("door",)


@pytest.mark.parametrize("name", ["supernet.pt", "sum.npz"])
def test_a_pickle_in_an_artefact_is_one_line_and_never_run(place, monkeypatch, name):
    """Its checksum, too, is that of somebody who means it."""
    assert do(stage) == 0
    folder = place / "a" / "01_pretrain"
    if name.endswith(".pt"):
        data = files.torch_bytes({"sum": Code()})
        (folder / name).write_bytes(data)
    else:
        np.savez(folder / name, sum=np.array([Code()], dtype=object))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["outputs"][name] = sha256(folder / name)
    manifest["checksum"] = folders.manifest_checksum(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.chdir(place)
    with pytest.raises(HnasError, match=r"\Anot a file of plain (tensors|arrays) \([^\n]*\)\Z"):
        Finished("a", "01_pretrain").load(name)
    assert not (place / "door").exists()

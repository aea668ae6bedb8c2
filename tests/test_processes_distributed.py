"""Training with several processes: equal to one, whatever their number; what happens when one is lost."""

from __future__ import annotations

import json
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from torch.distributed import TCPStore
from torch.multiprocessing import ProcessExitedException, ProcessRaisedException
from torch.optim.optimizer import register_optimizer_step_post_hook

from hnas_kit import data, search, trees
from hnas_kit.errors import HnasError
from hnas_kit.files import torch_bytes
from hnas_kit.processes import distributed
from hnas_kit.processes.distributed import LONE, Team
from hnas_kit.randomness import Generators
from hnas_kit.rewards import Reward
from hnas_kit.samplers import MCTS
from hnas_kit.spaces import make_space
from hnas_kit.supernets import make_supernet
from hnas_kit.training import Checkpoints, Schedule, train

ROOT = Path(__file__).resolve().parents[1]
SPACE = make_space("macro")
ARCHS = [arch for arch in SPACE.enumerate() if arch[3] != 2][::60]  # one operation is in none of them
STEPS, BATCH, EVERY = 14, 64, 6
# sums in another order: at a larger rate their rounding grows from step to step
RELATIVE = {"parts": 4, "reward": "relative training loss", "lr": 1e-3}
CLOSE = {"rtol": 0, "atol": 1e-5}


ENV = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}


class Stop(Exception):
    pass


def stop(steps: int) -> None:
    if steps == EVERY + 1:
        raise Stop


def a_search(
    team: Team,
    parts: int = 2,
    lr: float = 0.05,
    reward: str = "absolute validation accuracy",
    after: Callable[[int], None] = lambda steps: None,
    **options,
) -> dict:
    """A short search on the digits, and all that two of them can be compared by; ``after`` each step."""
    generators, digits, gradients, momenta, done = Generators(3), data.load("digits"), [], [], 0
    halves = digits.halves(generators.torch("split"))
    net = make_supernet(SPACE, 1, 10, width=2, generator=generators.torch("weights"))
    sampler = MCTS(trees.random(ARCHS, seed=0), exploration=0.1)

    def remember(optimiser: torch.optim.SGD, *_: object) -> None:
        gradients.append([None if p.grad is None else p.grad.clone() for p in net.parameters()])
        momenta.append({i for i, p in enumerate(net.parameters()) if p in optimiser.state})

    def progress(steps: int) -> None:
        nonlocal done
        done += steps
        after(done)

    hook = register_optimizer_step_post_hook(remember)
    try:
        history = search.run(
            net,
            sampler,
            digits.batches(halves[0], BATCH, generators),
            digits.batches(halves[1], BATCH, generators, "validation", train=False),
            Schedule(STEPS, uniform=0.3, warmup=0.2, temperature_start=0.05, temperature_end=0.01),
            generators=generators,
            reward=Reward(reward),
            lr=lr,
            weight_decay=1e-3,
            parts=parts,
            team=team,
            progress=progress,
            **options,
        )
    finally:
        hook.remove()
    return {
        "archs": history.archs,
        "reward": history.reward,
        "loss": history.loss,
        "visits": sampler.visits,
        "value": sampler.value,
        "weights": {name: w.detach() for name, w in net.named_parameters()},
        "gradients": gradients,
        "momenta": momenta,
        "generators": torch_bytes(generators.state_dict()),
    }


def a_stopped_search(team: Team, folder: Path) -> None:
    with pytest.raises(Stop):
        a_search(team, checkpoints=Checkpoints(folder, EVERY), after=stop)


def a_training_alone(team: Team, precision: str = "float32") -> dict:
    """One network with running statistics of its own."""
    generators, digits = Generators(4), data.load("digits")
    net = make_supernet(SPACE, 1, 10, width=2, shared=False, generator=generators.torch("weights"))
    batches, arch = digits.batches(digits.train, 48, generators), ARCHS[5]
    losses = train(
        net,
        batches,
        lambda step: arch,
        4,
        lr=0.05,
        weight_decay=1e-3,
        precision=precision,
        parts=4,
        team=team,
    )
    return {"loss": losses, "state": {k: v.detach() for k, v in net.state_dict().items()}}


def a_loss_that_is_not_finite(team: Team) -> str:
    """In the second part of the batch alone, at the third step."""
    digits, steps = data.load("digits"), []
    net = make_supernet(SPACE, 1, 10, width=2)

    class Poisoned(data.Batches):
        def __next__(self):
            x, y = super().__next__()
            steps.append(1)
            if len(steps) == 3:
                x[len(x) // 2 :] = torch.nan
            return x, y

    order, augment = torch.Generator(), torch.Generator()
    batches = Poisoned(digits.train, digits.render, 32, order, augment)
    with pytest.raises(HnasError) as caught:
        train(net, batches, lambda step: ARCHS[step], 5, lr=0.01, weight_decay=0.0, parts=2, team=team)
    return str(caught.value)


class Counted(Checkpoints):
    """Remembers which steps were saved."""

    def __init__(self, folder: Path, every: int) -> None:
        super().__init__(folder, every)
        self.saved = []

    def save(self, step: int, parts: dict) -> None:
        self.saved.append(step)
        super().save(step, parts)


def everything(team: Team, folder: Path) -> None:
    """All that two processes are asked for in one go, which starts them but once."""
    found = {
        "team": (team.rank, team.size, team.main, team.device.type, torch.get_num_threads()),
        "mean": team.mean(float(1 + team.rank)),
        "search": a_search(team),
        "relative": a_search(team, **RELATIVE),
        "alone": a_training_alone(team),
        "float16": a_training_alone(team, "float16"),
        "not finite": a_loss_that_is_not_finite(team),
    }
    checkpoints = Counted(folder / "by one", EVERY)
    found["from one"] = a_search(team, checkpoints=checkpoints)
    found["saved"] = checkpoints.saved
    a_stopped_search(team, folder / "by two")
    found["average"] = torch.tensor([1.0, 10.0]) * team.rank
    team.average([found["average"]])
    (folder / f"{team.rank}.pkl").write_bytes(pickle.dumps(found))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("team")


@pytest.fixture(scope="module")
def two(folder) -> list[dict]:
    """What each of two processes found."""
    a_stopped_search(LONE, folder / "by one")
    distributed.launch(everything, (folder,), processes=2)
    return [pickle.loads((folder / f"{rank}.pkl").read_bytes()) for rank in range(2)]


@pytest.fixture(scope="module")
def one() -> dict:
    """One process that does both parts of every batch."""
    return a_search(LONE)


def assert_close(found: dict, expected: dict) -> None:
    assert found["archs"] == expected["archs"]
    assert found["generators"] == expected["generators"]
    np.testing.assert_array_equal(found["visits"], expected["visits"])
    for name in ("reward", "loss", "value"):
        np.testing.assert_allclose(found[name], expected[name], **CLOSE)
    for name, weight in expected["weights"].items():
        torch.testing.assert_close(found["weights"][name], weight, **CLOSE)


# two processes and one


def test_two_processes_search_as_one_does_with_two_parts(two, one):
    for found in two:
        assert_close(found["search"], one)
        for step, expected in enumerate(one["gradients"]):
            for gradient, e in zip(found["search"]["gradients"][step], expected, strict=True):
                assert (gradient is None) == (e is None)
                if e is not None:
                    torch.testing.assert_close(gradient, e, **CLOSE)
    assert len(set(one["archs"])) > 5
    assert one["visits"][0] == 10
    assert np.isfinite(one["loss"]).all()
    # a reward is of all 64 images
    np.testing.assert_allclose(one["reward"] * BATCH, np.round(one["reward"] * BATCH), atol=1e-9)


def test_four_parts_of_a_relative_reward_likewise(two):
    expected = a_search(LONE, **RELATIVE)
    for found in two:
        assert_close(found["relative"], expected)
    assert not np.allclose(expected["reward"], 1, atol=1e-3)


def test_every_process_has_the_very_same_rewards_statistics_and_weights(two):
    for kind in ("search", "relative"):
        first, second = (found[kind] for found in two)
        for name in ("reward", "value", "visits", "loss"):
            np.testing.assert_array_equal(first[name], second[name])
        assert all(torch.equal(w, second["weights"][name]) for name, w in first["weights"].items())


def test_weights_that_were_not_sampled_stay_untouched_in_every_process(two):
    net = make_supernet(SPACE, 1, 10, width=2, generator=Generators(3).torch("weights"))
    for found in two:
        result, before = found["search"], list(net.parameters())
        used = np.array([[g is not None for g in step] for step in result["gradients"]])
        assert not used.all(axis=1).any()
        ever = np.logical_or.accumulate(used)
        for seen, expected in zip(result["momenta"], ever, strict=True):
            assert seen == set(np.flatnonzero(expected))  # no momentum before its first gradient
        changed = [not torch.equal(w, b) for w, b in zip(result["weights"].values(), before, strict=True)]
        assert changed == ever[-1].tolist()
        assert 0 < sum(changed) < len(changed)


@pytest.mark.parametrize(("name", "precision"), [("alone", "float32"), ("float16", "float16")])
def test_a_network_with_running_statistics_likewise(two, name, precision):
    """In half precision, too, where the scale of gradients must change in all processes alike."""
    expected = a_training_alone(LONE, precision)
    assert any("running_var" in key for key in expected["state"])
    for found in two:
        np.testing.assert_allclose(found[name]["loss"], expected["loss"], **CLOSE)
        for key, value in expected["state"].items():
            torch.testing.assert_close(found[name]["state"][key], value, **CLOSE)
    assert two[0][name]["loss"].tolist() == two[1][name]["loss"].tolist()


def test_a_checkpoint_of_two_processes_resumes_with_one(two, one, folder):
    rest = []
    resumed = a_search(LONE, checkpoints=Checkpoints(folder / "by two", EVERY), after=rest.append)
    assert rest[:2] == [EVERY, EVERY + 1]
    assert_close(resumed, one)


def test_a_checkpoint_of_one_process_resumes_with_two(two, one):
    for found in two:
        assert len(found["from one"]["gradients"]) == STEPS - EVERY
        assert_close(found["from one"], one)


def test_checkpoints_are_written_by_the_first_process_alone(two):
    assert [found["saved"] for found in two] == [[2 * EVERY], []]  # they went on from the first one


def test_a_loss_that_is_not_finite_in_one_process_is_refused_in_both(two):
    assert two[0]["not finite"] == two[1]["not finite"]
    assert two[0]["not finite"].startswith("the loss is not finite at step 2, architecture (")


def test_means(two):
    assert [found["mean"] for found in two] == [1.5, 1.5]
    assert [found["average"].tolist() for found in two] == [[0.5, 5.0]] * 2
    threads = max(torch.get_num_threads() // 2, 1)
    assert [found["team"] for found in two] == [
        (0, 2, True, "cpu", threads),
        (1, 2, False, "cpu", threads),
    ]


# one process


def test_a_process_alone_makes_no_group():
    seen = []
    distributed.launch(lambda team, text: seen.append((team, text)), ("text",))
    assert seen == [(Team(0, 1, torch.device("cpu")), "text")]
    assert not torch.distributed.is_initialized()
    value = 0.1 + 0.2
    assert LONE.mean(value) is value
    LONE.barrier()
    with LONE.main_first():
        assert LONE.main


@pytest.mark.parametrize(
    ("rank", "size", "parts", "mine"),
    [(0, 1, 1, [0]), (0, 1, 4, [0, 1, 2, 3]), (0, 2, 4, [0, 2]), (1, 2, 4, [1, 3]), (2, 3, 3, [2])],
)
def test_parts_are_dealt_out_in_turn(rank, size, parts, mine):
    assert list(Team(rank, size).mine(parts, 12)) == mine


@pytest.mark.parametrize(
    ("size", "parts", "line"),
    [
        (1, 0, "parts is 0; it must divide batch_size, 12, so that all parts are equal"),
        (1, 5, "parts is 5; it must divide batch_size, 12, so that all parts are equal"),
        (1, 24, "parts is 24; it must divide batch_size, 12, so that all parts are equal"),
        (2, 3, "there are 2 processes; their number must divide parts, 3, so that each has as much to do"),
        (2, 1, "there are 2 processes; their number must divide parts, 1, so that each has as much to do"),
    ],
)
def test_parts_that_are_not_equal_are_refused(size, parts, line):
    with pytest.raises(HnasError) as caught:
        Team(0, size).mine(parts, 12)
    assert str(caught.value) == line


def test_numbers_of_processes_that_cannot_be_are_refused(monkeypatch):
    with pytest.raises(HnasError, match=r"^processes is 0; it must be at least 1$"):
        distributed.launch(everything, processes=0)
    with pytest.raises(HnasError, match=r"^several processes train on cpu or cuda, not on mps$"):
        distributed.launch(everything, processes=2, device=torch.device("mps"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(HnasError, match=r"^processes is 3; it must be from 1 to the 2 GPUs there are$"):
        distributed.launch(everything, processes=3, device=torch.device("cuda"))


# processes that end before their time


def a_search_that_loses_a_process(team: Team, folder: Path, kill: bool) -> None:
    def after(steps: int) -> None:
        if kill and team.rank == 1 and steps == EVERY + 2:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        found = a_search(team, checkpoints=Checkpoints(folder / "checkpoints", EVERY), after=after)
    except HnasError as error:
        (folder / f"{team.rank}.txt").write_text(str(error))
        raise
    (folder / f"{team.rank}.pkl").write_bytes(pickle.dumps(found))


@pytest.mark.slow
def test_one_of_two_killed_is_one_clear_line_and_the_run_goes_on(tmp_path, two):
    with pytest.raises(HnasError) as caught:
        distributed.launch(a_search_that_loses_a_process, (tmp_path, True), processes=2)
    again = "start again: it goes on from the last checkpoint"
    killed = f"process 2 of 2 was ended by SIGKILL, perhaps for want of memory; {again}"
    assert str(caught.value) == killed
    assert not orphans()
    # what the other one, which waited for it, would have said
    assert (tmp_path / "0.txt").read_text() == f"process 1 of 2 has lost another one; {again}"
    assert not list(tmp_path.glob("*.pkl"))

    distributed.launch(a_search_that_loses_a_process, (tmp_path, False), processes=2)
    for rank in range(2):
        found, expected = pickle.loads((tmp_path / f"{rank}.pkl").read_bytes()), two[rank]["search"]
        assert len(found["gradients"]) == STEPS - EVERY
        assert_close(found, expected)
        assert all(torch.equal(w, expected["weights"][name]) for name, w in found["weights"].items())


def orphans() -> list[psutil.Process]:
    """Processes started here that still run, but for the one that Python keeps for all of them."""
    return [p for p in psutil.Process().children(recursive=True) if "spawn_main" in " ".join(p.cmdline())]


def a_failure(team: Team) -> None:
    if team.rank == 1:
        raise ValueError("a reason\nin two lines")
    time.sleep(60)


@pytest.mark.slow
def test_an_error_in_one_process_is_told_and_ends_the_others(monkeypatch):
    monkeypatch.setattr(distributed, "GRACE", 0.1)
    start = time.monotonic()
    with pytest.raises(HnasError) as caught:
        distributed.launch(a_failure, processes=2)
    assert str(caught.value) == "process 2 of 2 failed: ValueError: a reason in two lines"
    assert time.monotonic() - start < 50
    assert not orphans()


def an_endless_job(team: Team, folder: Path) -> None:
    (folder / str(os.getpid())).touch()
    time.sleep(300)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_when_the_one_that_started_them_ends_so_do_they(tmp_path, how):
    code = f"t.distributed.launch(t.an_endless_job, (Path({str(tmp_path)!r}),), 2)"
    starter = subprocess.Popen(
        python(code),
        env=ENV,
        stderr=subprocess.DEVNULL,
        # a shell starts what is in the background, perhaps these tests, deaf to interrupts
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    pids = wait_for(lambda: list(tmp_path.iterdir()), 2)
    starter.send_signal(how)
    starter.wait(30)
    wait_for(lambda: [path for path in pids if psutil.pid_exists(int(path.name))], 0)


def wait_for(look: Callable[[], list], number: int) -> list:
    for _ in range(600):
        if len(found := look()) == number:
            return found
        time.sleep(0.1)
    raise AssertionError(f"{found}: not {number}")


LOST = "Traceback\nhnas_kit.distributed.PeerLost: process 1 of 3 has lost another one; start again"
OTHER = "Traceback\nhnas_kit.errors.HnasError: the loss is not finite: lower it"


@pytest.mark.parametrize(
    ("error", "exits", "line"),
    [
        (ProcessRaisedException(LOST, 0, 1), [1, -15, -9], "process 3 of 3 was ended by SIGKILL, perhaps"),
        (ProcessRaisedException(LOST, 0, 1), [1, -15, 1], "process 1 of 3 has lost another one; start"),
        (ProcessRaisedException(OTHER, 0, 1), [1, -9, -9], "the loss is not finite: lower it"),
        (ProcessExitedException("", 1, 1, 7), [1, 7], "process 2 of 2 was ended by exit status 7; start"),
        (ProcessExitedException("", 0, 1, -11), [-11, 1], "process 1 of 2 was ended by SIGSEGV; start again"),
    ],
)
def test_the_process_that_failed_is_named_and_not_one_that_waited_for_it(error, exits, line):
    assert distributed._cause(error, exits).startswith(line)


# processes that a launcher starts


def told(team: Team, folder: str, number: int) -> None:
    Path(folder, f"{number}-{team.rank}").write_text(str(team.mean(float(team.rank))))


def placed(folder: str) -> None:
    """What each process of a launcher runs: the first has two processes of its own launch something."""
    assert distributed.placed()
    try:
        if distributed.follow(told):
            return
    except HnasError as error:
        sys.exit(str(error))
    with distributed.leading():
        for number in range(2):
            subprocess.run(python(f"t.calls({folder!r}, {number})"), check=True)


def python(code: str) -> list[str]:
    """A command that runs code which knows this file."""
    return [sys.executable, "-c", f"import test_processes_distributed as t; from pathlib import Path; {code}"]


def calls(folder: str, number: int) -> None:
    distributed.launch(told, (folder, number), processes=5)
    assert not torch.distributed.is_initialized()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def start_placed(code: str, port: int, rank: int) -> subprocess.Popen:
    """One of two processes that know of each other by hand, as some launchers have it."""
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    place |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    return subprocess.Popen(python(code), env=ENV | place, stderr=subprocess.PIPE, text=True)


def written(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


BOTH_TWICE = dict.fromkeys(("0-0", "0-1", "1-0", "1-1"), "0.5")  # the mean of their ranks


@pytest.mark.slow
def test_of_a_launchers_processes_the_first_calls_and_the_others_follow(tmp_path):
    port = free_port()
    processes = [start_placed(f"t.placed({str(tmp_path)!r})", port, rank) for rank in range(2)]
    assert [process.communicate(timeout=120)[1] for process in processes] == ["", ""]
    assert [process.returncode for process in processes] == [0, 0]
    assert written(tmp_path) == BOTH_TWICE


@pytest.mark.slow
def test_nothing_is_heard_of_beyond_the_address_that_the_launcher_named():
    """Neither the place where processes meet, nor what they open to train together."""
    code = "t.distributed.follow(t.waiting); d = t.distributed.leading(); d.__enter__(); "
    code += "t.distributed.launch(t.waiting)"
    port = free_port()
    processes = [start_placed(code, port, rank) for rank in range(2)]
    try:
        heard = wait_for(lambda: [*map(heard_at, processes)] if all(map(heard_at, processes)) else [], 2)
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert ("127.0.0.1", port) in heard[0]
    assert {address for of_one in heard for address, _ in of_one} == {"127.0.0.1"}


def waiting(team: Team) -> None:
    print(team.mean(1.0), flush=True)
    time.sleep(300)


def heard_at(process: subprocess.Popen) -> set[tuple[str, int]]:
    """Where a process listens."""
    found = psutil.Process(process.pid).net_connections()
    return {(c.laddr.ip, c.laddr.port) for c in found if c.status == psutil.CONN_LISTEN}


class Trap:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


TRAPPED = "process 2 of 2 was asked for what it does not know: it ends\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    "call",
    [
        lambda path: pickle.dumps(Trap(path)),
        lambda path: pickle.dumps((os.mkdir, (str(path),), "cpu")),
        lambda path: json.dumps({"function": "os.mkdir", "args": [str(path)], "device": "cpu"}),
        lambda path: json.dumps({"function": "calls", "args": [str(path), 0], "device": "cpu"}),
        lambda path: json.dumps({"function": "told", "args": [str(path), 0], "device": "cuda:0;"}),
        lambda path: json.dumps([str(path)]),
    ],
)
def test_a_stranger_in_the_place_where_they_meet_runs_nothing(tmp_path, call):
    port, path = free_port(), tmp_path / "sprung"
    store = TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False)
    store.set("hnas_kit call 1", call(path))
    process = start_placed(f"t.placed({str(tmp_path)!r})", port, 1)
    assert (process.communicate(timeout=120)[1], process.returncode) == (TRAPPED, 1)
    assert not written(tmp_path)


TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]


def torchrun(*arguments: object, folder: Path, alone: bool = True) -> subprocess.CompletedProcess:
    where = ["--standalone"] if alone else ["--master-addr", "127.0.0.1", "--master-port", free_port()]
    return subprocess.run(
        [*TORCHRUN, *map(str, where), *map(str, arguments)],
        cwd=folder,
        env=ENV | {"HNAS_OUTPUTS": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.slow
@pytest.mark.parametrize("alone", [True, False])
def test_torchruns_processes_likewise(tmp_path, alone):
    script, folder = tmp_path / "script.py", tmp_path / "found"
    folder.mkdir()
    script.write_text(f"import test_processes_distributed as t\nt.placed({str(folder)!r})\n")
    done = torchrun(script, folder=tmp_path, alone=alone)
    assert done.returncode == 0, done.stderr
    assert written(folder) == BOTH_TWICE


@pytest.mark.slow
def test_torchrun_runs_a_command_once(tmp_path):
    done = torchrun("-m", "hnas_kit.cli", "report", "none", folder=tmp_path)
    assert done.returncode != 0
    assert len(re.findall(r"^hnas: .*none.*$", done.stderr, re.M)) == 1, done.stderr

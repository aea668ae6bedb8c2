"""Checkpoints: a killed training that resumes is one that was not, damaged files, processes that disagree."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from common import ARCHS, DEVICES
from torch import Tensor

from hnas_kit import data, provenance
from hnas_kit.errors import HnasError
from hnas_kit.files import torch_bytes, torch_value
from hnas_kit.processes.distributed import Team
from hnas_kit.randomness import Generators
from hnas_kit.training import Checkpoints, train
from hnas_kit.training.step import Losses, _start

# resuming


class History:
    """The architectures trained so far."""

    def __init__(self) -> None:
        self.archs = []

    def state_dict(self) -> dict:
        return {"archs": list(self.archs)}

    def load_state_dict(self, state: dict) -> None:
        self.archs = list(state["archs"])


class Killed(Exception):
    pass


class Session:
    """Nine steps on the digits, from the newest checkpoint in ``folder`` to the end or a kill."""

    STEPS, EVERY = 9, 3

    def __init__(self, folder: Path, new_net, device: str = "cpu", kill_after: int | None = None) -> None:
        dataset = data.load("digits", device)
        self.generators, self.history, self.progress = Generators(5), History(), []
        rng = self.generators.numpy("architectures")
        batches = dataset.batches(dataset.train, 256, self.generators)

        def choose(step: int) -> tuple[int, ...]:
            self.history.archs.append(ARCHS[rng.integers(36)])
            return self.history.archs[-1]

        def after_step(step: int, logits: Tensor, labels: Tensor) -> None:
            if step == kill_after:
                raise Killed

        self.net = new_net(seed=len(list(folder.glob("*"))))  # weights that a resumed run must replace
        self.losses = train(
            self.net,
            batches,
            choose,
            self.STEPS,
            lr=0.05,
            weight_decay=1e-3,
            after_step=after_step,
            states={"generators": self.generators, "history": self.history},
            checkpoints=Checkpoints(folder, self.EVERY),
            progress=self.progress.append,
        )


def assert_same(a: Session, b: Session, device: str = "cpu") -> None:
    """Bit for bit on the CPU; nearly so on a GPU, where sums may be taken in any order."""
    tolerance = {"rtol": 0, "atol": 0} if device == "cpu" else {"rtol": 1e-2, "atol": 1e-2}
    assert np.isfinite(a.losses).all()
    np.testing.assert_allclose(a.losses, b.losses, **tolerance)
    assert a.history.archs == b.history.archs
    assert torch_bytes(a.generators.state_dict()) == torch_bytes(b.generators.state_dict())
    for name, value in a.net.state_dict().items():
        torch.testing.assert_close(value, b.net.state_dict()[name], **tolerance)


def newest_state(folder: Path) -> str:
    """All that the newest checkpoint holds, the optimiser too, to the last digit."""
    state = torch_value(max(folder.iterdir()).read_bytes())
    assert state["parts"]["optimiser"]["state"]
    assert state.pop("seconds") > 0
    return json.dumps(state, default=Tensor.tolist)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("kill_after", "resumed_from"), [(1, 0), (2, 0), (3, 3), (7, 6)])
def test_a_killed_training_that_resumes_equals_one_that_was_not(
    tmp_path, new_net, kill_after, resumed_from, device, monkeypatch
):
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    whole = Session(tmp_path / "whole", new_net, device)
    with pytest.raises(Killed):
        Session(tmp_path / "killed", new_net, device, kill_after)
    resumed = Session(tmp_path / "killed", new_net, device)
    assert_same(resumed, whole, device)
    assert resumed.progress == [resumed_from] + [1] * (9 - resumed_from)
    if device == "cpu":
        assert newest_state(tmp_path / "killed") == newest_state(tmp_path / "whole")


@pytest.mark.parametrize("parts", [1, 2])
def test_running_statistics_of_parts_go_on_from_those_that_were_saved(tmp_path, new_net, parts):
    def go(folder: Path, kill_after: int | None = None) -> dict[str, Tensor]:
        dataset, generators = data.load("digits"), Generators(0)
        net = new_net(seed=0, shared=False)

        def stop(step: int, *_: object) -> None:
            if step == kill_after:
                raise Killed

        batches = dataset.batches(dataset.train, 32, generators)
        how = {"lr": 0.05, "weight_decay": 0.0, "parts": parts, "states": {"generators": generators}}
        train(net, batches, lambda _: ARCHS[0], 6, **how, after_step=stop, checkpoints=Checkpoints(folder, 3))
        return net.state_dict()

    whole = go(tmp_path / "whole")
    with pytest.raises(Killed):
        go(tmp_path / "killed", 4)
    resumed = go(tmp_path / "killed")
    assert any("running_var" in name for name in whole)
    for name, value in whole.items():
        assert torch.equal(resumed[name], value), name


def test_a_state_knows_the_seconds_and_the_code_of_all_that_made_it(tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    losses, present = Losses(3, torch.device("cpu")), provenance.code_digest()
    for number, digest in enumerate((present, "0" * 64, present)):
        monkeypatch.setattr("hnas_kit.training.checkpoints.code_digest", lambda digest=digest: digest)
        made = Checkpoints(tmp_path, 1)
        now[0] += 500  # before the loop begins
        assert made.restore({"losses": losses}) == number
        assert made.seconds == 20 * number
        assert made.codes == {digest, *(present, "0" * 64)[:number]}
        now[0] += 20
        assert made.took == 20 * number + 20
        made.save(number + 1, {"losses": losses})
        now[0] += 7  # lost


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_corrupt_checkpoint_is_named_and_the_one_before_it_is_used(tmp_path, new_net, capsys):
    whole = Session(tmp_path, new_net)
    newest = max(tmp_path.iterdir())
    damage(newest)
    resumed = Session(tmp_path, new_net)
    assert capsys.readouterr().out == f"checkpoint {newest} is corrupt; falling back to the one before it\n"
    assert resumed.progress[0] == 3
    assert_same(resumed, whole)


@pytest.mark.parametrize("spoil", [damage, lambda path: path.write_bytes(b"")], ids=["flip", "empty"])
def test_with_no_sound_checkpoint_training_starts_again_and_keeps_its_new_ones(
    tmp_path, new_net, capsys, spoil
):
    Session(tmp_path, new_net)
    for path in tmp_path.iterdir():
        spoil(path)
    with pytest.raises(Killed):
        Session(tmp_path, new_net, kill_after=4)
    assert capsys.readouterr().out.count("is corrupt") == 2
    resumed = Session(tmp_path, new_net)
    assert capsys.readouterr().out == ""
    assert resumed.progress[0] == 3


def test_a_checkpoint_that_was_being_written_does_not_count(tmp_path, new_net):
    whole = Session(tmp_path, new_net)
    newest = max(tmp_path.iterdir())
    newest.rename(tmp_path / f".{newest.name}.123.tmp")
    resumed = Session(tmp_path, new_net)
    assert resumed.progress[0] == 3
    assert_same(resumed, whole)


def test_the_last_two_checkpoints_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, every=1)
    losses = Losses(12, torch.device("cpu"))
    for step in (8, 9, 10, 11):
        losses.values[:step] = step
        checkpoints.save(step, {"losses": losses})
        assert len(sorted(os.listdir(tmp_path))) == min(2, step - 7)
    assert [name[:14] for name in sorted(os.listdir(tmp_path))] == ["step-000000010", "step-000000011"]
    losses.values.zero_()
    assert checkpoints.restore({"losses": losses}) == 11
    assert losses.values[:11].tolist() == [11] * 11
    assert losses.values[11].isnan()


def test_the_scale_of_half_precision_is_kept_in_checkpoints(tmp_path, new_net, monkeypatch):
    """The steps that overflow at its start are left out, each halving the scale, and not tried again."""
    scales, update = [], torch.amp.GradScaler.update

    def watched(scaler: torch.amp.GradScaler) -> None:
        update(scaler)
        scales.append(scaler.get_scale())

    monkeypatch.setattr(torch.amp.GradScaler, "update", watched)

    def go(folder: Path, new_seed: int, **options) -> np.ndarray:
        dataset, generators = data.load("digits"), Generators(0)
        net = new_net(seed=new_seed)
        with torch.no_grad():
            net.head.linear.weight *= 30  # large gradients further down
        return train(
            net,
            dataset.batches(dataset.train, 32, generators),
            lambda step: ARCHS[step],
            8,
            lr=1e-6,
            weight_decay=0.0,
            precision="float16",
            states={"generators": generators},
            checkpoints=Checkpoints(folder, every=5),
            **options,
        )

    def stop(step: int, *_: object) -> None:
        if step == 6:
            raise Killed

    whole = go(tmp_path / "whole", 0)
    expected = scales.copy()
    assert expected[0] < 2**16  # the first step overflowed
    assert expected[-1] == expected[-2]  # the last one did not
    scales.clear()
    with pytest.raises(Killed):
        go(tmp_path / "killed", 0, after_step=stop)
    scales.clear()
    resumed = go(tmp_path / "killed", 1)
    assert scales == expected[5:]
    np.testing.assert_array_equal(resumed, whole)


def test_a_process_that_sees_another_folder_is_found_out(tmp_path, new_net):
    class Elsewhere(Team):
        """The second of two processes, the first of which goes on from step 6."""

        def mean(self, value: float) -> float:
            return (6 + value) / 2

    with pytest.raises(HnasError) as caught:
        _start(Elsewhere(1, 2), Checkpoints(tmp_path, every=3), {})
    assert str(caught.value) == (
        "process 2 of 2 does not find the checkpoint that the others do; "
        f"all must see the same folder {tmp_path}"
    )


def test_without_checkpoints_there_is_nothing_to_restore(tmp_path):
    assert Checkpoints(tmp_path / "none", every=1).restore({}) == 0

"""Single-path training: which weights move and how far, parts, precision, errors."""

from __future__ import annotations

import copy
import math
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from common import ARCHS, DEVICES
from torch import Tensor, nn

from hnas_kit import data
from hnas_kit.data import Batches, Split
from hnas_kit.errors import HnasError
from hnas_kit.randomness import Generators
from hnas_kit.spaces import make_space
from hnas_kit.supernets import make_supernet
from hnas_kit.training import PRECISIONS, Checkpoints, pick_device, train


class TwoBranches(nn.Module):
    """A network with one choice: which of two linear layers stands before the head."""

    def __init__(self) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Linear(4, 3) for _ in range(2))
        self.head = nn.Linear(3, 2)
        source = torch.Generator().manual_seed(0)
        for parameter in self.parameters():
            nn.init.normal_(parameter, generator=source)

    def forward(self, x: Tensor, arch: tuple[int]) -> Tensor:
        return self.head(torch.tanh(self.branches[arch[0]](x.flatten(1))))


def toy_batches(device: str = "cpu") -> Batches:
    source = torch.Generator().manual_seed(1)
    images = torch.randint(256, (20, 1, 2, 2), generator=source, dtype=torch.uint8)
    split = Split(images.to(device), torch.randint(2, (20,), generator=source).to(device))
    return Batches(split, lambda images, *_: images / 255, 8, torch.Generator().manual_seed(2), None)


# the step


@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_training_is_sgd_with_nesterov_momentum_on_a_cosine_by_hand(momentum):
    archs = [(0,), (1,), (1,), (0,), (1,), (0,), (0,)]
    net, expected = TwoBranches(), TwoBranches()
    losses = train(net, toy_batches(), archs.__getitem__, 7, lr=0.5, weight_decay=0.01, momentum=momentum)

    batches, velocity, expected_losses = toy_batches(), {}, []
    for step, arch in enumerate(archs):
        x, y = next(batches)
        loss = -torch.log_softmax(expected(x, arch), 1)[range(8), y].mean()
        used = [*expected.branches[arch[0]].parameters(), *expected.head.parameters()]
        rate = 0.5 * (1 + math.cos(math.pi * step / 7)) / 2
        for weight, gradient in zip(used, torch.autograd.grad(loss, used), strict=True):
            gradient = gradient + 0.01 * weight.detach()
            velocity[weight] = momentum * velocity.get(weight, 0) + gradient
            weight.data -= rate * (gradient + momentum * velocity[weight])
        expected_losses.append(loss.item())

    np.testing.assert_allclose(losses, expected_losses, rtol=1e-5)
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(net.state_dict()[name], value, rtol=1e-5, atol=1e-6)


def new_alone(space: str, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    return make_supernet(make_space(space), 1, width=2, shared=False, generator=generator)


FREED = """
import resource, torch
from test_training_step import TwoBranches, toy_batches, train
train(TwoBranches(), toy_batches(), lambda step: (0,), 1, lr=0.5, weight_decay=0.01)
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    del [torch.ones(7_000_000) for _ in range(6)][:]  # 168 MB
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_memory_that_a_step_frees_is_there_for_the_next_one():
    """In a process of its own: what else a process has allocated decides where the next block lies."""
    command, here = [sys.executable, "-c", FREED], Path(__file__).parent
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=here)
    faults = [int(line) for line in said.stdout.split()]
    assert faults[0] > 1000  # so the count counts
    assert faults[-1] < 1000  # each page anew would be 41,000


def test_one_part_is_the_shortest_loop_to_the_bit():
    """A supernet's layers, BatchNorm with running statistics, real images: no rounding of its own."""
    dataset, archs = data.load("digits"), make_space("macro").enumerate()[::700]
    net, expected = new_alone("macro"), new_alone("macro").to(memory_format=torch.channels_last)
    settings = {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-3}
    batches = dataset.batches(dataset.train, 48, Generators(0))
    losses = train(net, batches, archs.__getitem__, len(archs), **settings)

    optimiser = torch.optim.SGD(expected.parameters(), nesterov=True, **settings)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, len(archs))
    batches, expected_losses = dataset.batches(dataset.train, 48, Generators(0)), []
    for arch in archs:
        x, y = next(batches)
        loss = F.cross_entropy(expected(x, arch), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        expected_losses.append(loss.item())
    assert losses.tolist() == expected_losses
    for name, value in expected.state_dict().items():
        assert torch.equal(net.state_dict()[name], value), name


def test_parts_have_batch_statistics_of_their_own_and_share_a_step():
    dataset, arch, parts = data.load("digits"), make_space("macro").enumerate()[1000], 3
    net, expected = new_alone("macro"), new_alone("macro")
    seen = []
    losses = train(
        net,
        dataset.batches(dataset.train, 48, Generators(0)),
        lambda step: arch,
        1,
        lr=0.05,
        weight_decay=0.0,
        momentum=0.0,
        parts=parts,
        after_step=lambda step, logits, labels: seen.append((logits, labels)),
    )
    x, y = next(dataset.batches(dataset.train, 48, Generators(0)))
    gradients, left, logits = [], [], []
    for part in range(parts):
        one, rows = copy.deepcopy(expected), slice(16 * part, 16 * part + 16)
        logits.append(one(x[rows], arch))
        F.cross_entropy(logits[-1], y[rows]).backward()
        gradients.append([p.grad for p in one.parameters()])
        left.append(dict(one.named_buffers()))
    whole = F.cross_entropy(expected(x, arch), y).item()
    mean = np.mean([F.cross_entropy(part, y[16 * i : 16 * i + 16]).item() for i, part in enumerate(logits)])
    assert losses[0] == pytest.approx(mean, rel=1e-5) != pytest.approx(whole, rel=1e-3)
    torch.testing.assert_close(seen[0], (torch.cat(logits).detach(), y), rtol=1e-4, atol=1e-4)
    for weight, before, *of_parts in zip(net.parameters(), expected.parameters(), *gradients, strict=True):
        if of_parts[0] is None:
            assert torch.equal(weight, before)
        else:
            moved = (before - weight) / 0.05
            torch.testing.assert_close(moved, sum(of_parts) / parts, rtol=1e-3, atol=1e-4)
    for name, value in net.named_buffers():
        of_parts = torch.stack([buffers[name] for buffers in left]).double()
        torch.testing.assert_close(value.double(), of_parts.mean(0), rtol=1e-4, atol=1e-5)
        if name.endswith("num_batches_tracked"):
            assert value in (0, 1)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"parts": 3}, "parts is 3; it must divide batch_size, 8"),
        ({"parts": 0}, "parts is 0"),
        ({"precision": "float8"}, "unknown precision 'float8'.*; allowed: float32, bfloat16, float16$"),
        ({"warmup_steps": 1}, "warmup_steps is 1; it must be at least 0 and below steps, 1$"),
        ({"warmup_steps": -1}, "warmup_steps is -1; it must be at least 0 and below steps, 1$"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, line):
    net = TwoBranches()
    with pytest.raises(HnasError, match=f"^{line}"):
        train(net, toy_batches(), lambda step: (0,), 1, lr=0.1, weight_decay=0.0, **settings)
    assert all(p.grad is None for p in net.parameters())


def test_weights_that_are_not_sampled_stay_untouched(recorder):
    archs = [(0,), (0,), (1,), (1,), (1,), (0,)]
    net = TwoBranches()
    start = copy.deepcopy(net.state_dict())
    train(net, toy_batches(), archs.__getitem__, 6, lr=0.5, weight_decay=0.1, checkpoints=recorder)
    after = recorder.states
    for kind in ("weight", "bias"):
        first, second = (f"branches.{branch}.{kind}" for branch in (0, 1))
        # trained in steps 0 and 1, then not in 2 to 4
        assert not torch.equal(after[0]["net"][first], after[1]["net"][first])
        assert torch.equal(after[1]["net"][first], after[4]["net"][first])
        assert torch.equal(after[1]["net"][second], start[second])
        assert not torch.equal(after[2]["net"][second], start[second])
    velocity = [state["optimiser"]["state"] for state in after]
    for i in (0, 1):  # weight and bias of the first branch
        assert torch.equal(velocity[1][i]["momentum_buffer"], velocity[4][i]["momentum_buffer"])
    for i in (2, 3):  # of the second
        assert i not in velocity[1]
        assert i in velocity[2]


def test_hooks_are_called_in_step_with_training():
    seen, progress = [], []
    net = TwoBranches().eval()
    weight = net.head.weight.detach().clone()

    def after_step(step: int, logits: Tensor, labels: Tensor) -> None:
        seen.append((step, torch.equal(net.head.weight, weight)))

    def choose(step: int) -> tuple[int]:
        assert len(seen) == step
        return (step % 2,)

    modes = []
    net.register_forward_hook(lambda module, args, out: modes.append(module.training))
    train(
        net,
        toy_batches(),
        choose,
        3,
        lr=0.1,
        weight_decay=0.0,
        after_step=after_step,
        progress=progress.append,
    )
    assert seen == [(0, False), (1, False), (2, False)]
    assert progress == [0, 1, 1, 1]
    assert modes == [True] * 3


@pytest.mark.parametrize("precision", PRECISIONS)
def test_after_a_step_its_logits_before_the_update_and_its_labels_are_given(precision):
    net, archs = TwoBranches(), [(0,), (1,), (1,), (0,)]
    expected, before, batches = [], [], toy_batches()
    for _ in archs:
        expected.append(next(batches))

    def choose(step: int) -> tuple[int]:
        before.append(copy.deepcopy(net))
        return archs[step]

    def after_step(step: int, logits: Tensor, labels: Tensor) -> None:
        x, y = expected[step]
        half = getattr(torch, precision) if precision != "float32" else torch.bfloat16
        with torch.autocast("cpu", half, enabled=precision != "float32"):
            assert torch.equal(logits, before[step](x, archs[step]))
            assert not torch.equal(logits, net(x, archs[step]))  # the weights have moved since
        assert torch.equal(labels, y)
        assert not logits.requires_grad
        assert logits.shape == (8, 2)
        given.append(F.cross_entropy(logits.float(), labels).item())

    given = []
    losses = train(
        net,
        toy_batches(),
        choose,
        4,
        lr=0.5,
        weight_decay=0.0,
        precision=precision,
        after_step=after_step,
    )
    np.testing.assert_allclose(losses, given, rtol=1e-6 if precision == "float32" else 1e-2)


# errors and devices


@pytest.mark.parametrize("device", DEVICES)
def test_a_loss_that_is_not_finite_is_named_and_good_checkpoints_are_kept(tmp_path, device):
    net = TwoBranches()

    def poison(step: int, logits: Tensor, labels: Tensor) -> None:
        if step == 4:
            net.branches[1].bias.data.fill_(math.nan)

    archs = [(1,), (0,), (1,), (0,), (1,), (0,), (0,), (1,), (0,), (0,)]
    checkpoints = Checkpoints(tmp_path, every=2)
    with pytest.raises(HnasError) as caught:
        train(
            net,
            toy_batches(device),
            archs.__getitem__,
            10,
            lr=0.1,
            weight_decay=0.0,
            after_step=poison,
            checkpoints=checkpoints,
        )
    assert str(caught.value) == (
        "the loss is not finite at step 7, architecture (1,); lower the learning rate (lr is 0.1); "
        "the last good checkpoint is kept"
    )
    assert [name[:14] for name in sorted(os.listdir(tmp_path))] == ["step-000000004", "step-000000006"]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("half", ["bfloat16", "float16"])
def test_half_precision_trains_float32_weights_to_nearly_the_same(new_net, device, half):
    results = {}
    for precision in ("float32", half):
        dataset, seen = data.load("digits", device), []
        net = new_net()
        net.head.linear.register_forward_hook(lambda module, args, out, seen=seen: seen.append(out.dtype))
        batches = dataset.batches(dataset.train, 200, Generators(0))
        results[precision] = train(
            net, batches, lambda step: ARCHS[step], 5, lr=0.01, weight_decay=0.0, precision=precision
        )
        assert set(seen) == {getattr(torch, precision)}
        assert {(p.dtype, p.device.type) for p in net.parameters()} == {(torch.float32, device)}
    assert not np.array_equal(*results.values())
    np.testing.assert_allclose(*results.values(), rtol=0.03)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_training_on_the_gpu_is_that_on_the_cpu(new_net):
    losses = []
    for device in ("cpu", "cuda"):
        split = data.load("digits", device).train
        seen = []

        def render(images: Tensor, *_: object, seen: list = seen) -> Tensor:
            seen.append(images.device.type)
            return F.pad(images, (4, 4, 4, 4)) / 255

        batches = Batches(split, render, 300, torch.Generator().manual_seed(0), torch.Generator(device))
        losses.append(train(new_net(), batches, lambda step: ARCHS[step], 5, lr=0.01, weight_decay=1e-3))
        assert set(seen) == {device}
    np.testing.assert_allclose(*losses, rtol=0.01)


@pytest.mark.parametrize(
    ("name", "there", "device"),
    [
        ("cpu", "cuda mps", "cpu"),
        ("auto", "", "cpu"),
        ("auto", "cuda", "cuda"),
        ("auto", "cuda mps", "cuda"),
        ("auto", "mps", "mps"),
        ("cuda", "cuda mps", "cuda"),
        ("mps", "cuda mps", "mps"),
        ("mps", "", "device is mps, but PyTorch finds no MPS device here; use device: cpu or auto"),
        ("cuda", "mps", "device is cuda, but PyTorch finds no CUDA device here; use device: cpu or auto"),
        ("gpu", "cuda mps", "device is 'gpu'; allowed: auto, cpu, cuda, mps"),
    ],
)
def test_a_device_is_picked_or_refused(monkeypatch, name, there, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in there)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in there)
    if " " not in device:
        assert pick_device(name) == torch.device(device)
        return
    with pytest.raises(HnasError) as caught:
        pick_device(name)
    assert str(caught.value) == device

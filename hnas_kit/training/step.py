"""Single-path training: at every step one architecture of the supernet."""

import contextlib
import ctypes
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR

from hnas_kit.data import Batches
from hnas_kit.data.rendering import layout
from hnas_kit.errors import Failure, HnasError, require_one_of
from hnas_kit.names import PRECISIONS
from hnas_kit.processes.distributed import LONE, Team
from hnas_kit.spaces import Arch
from hnas_kit.training.checkpoints import Beginning, Checkpoints


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Convolutions and matrix products in ``precision``, a name of ``PRECISIONS``; weights stay float32.

    ``float16`` is for GPUs: on a CPU it works, but slowly.
    """
    half = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(precision)
    return torch.autocast(device.type, half or torch.bfloat16, enabled=half is not None)


def pick_device(name: str) -> torch.device:
    """``cuda``, ``mps`` (Apple's), ``cpu``, or ``auto``: the first of these that is there.

    Raises:
        HnasError: if it is absent.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name not in ("auto", *there):
        raise HnasError(f"device is {name!r}; allowed: auto, cpu, cuda, mps")
    if name != "auto" and not there[name]:
        raise HnasError(
            f"device is {name}, but PyTorch finds no {name.upper()} device here; use device: cpu or auto"
        )
    return torch.device(next(kind for kind in there if there[kind]) if name == "auto" else name)


def _keep_memory(device: torch.device) -> None:
    """On the CPU have glibc keep what a step frees: the system gives it anew page by page, which is slow.

    Allocators of other systems stay as they are.
    """
    trim_threshold, mmap_threshold = -1, -3  # malloc.h
    if device.type == "cpu":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).mallopt(trim_threshold, -1)  # never given back
            ctypes.CDLL(None).mallopt(mmap_threshold, 2**25)  # nor mapped of its own, up to the most it takes


class Losses:
    """Training loss of every step, kept on the device so that a step need not wait for it."""

    def __init__(self, steps: int, device: torch.device) -> None:
        self.values = torch.full((steps,), math.nan, device=device)
        self.unseen: list[Arch] = []  # trained since the losses were last looked at

    def record(self, step: int, loss: Tensor, arch: Arch) -> None:
        self.values[step] = loss
        self.unseen.append(arch)

    def look(self, done: int, team: Team, lr: float) -> None:
        """Raises :class:`HnasError` if one of the losses since the last look is not finite."""
        first = done - len(self.unseen)
        new = self.values[first:done]
        team.average([new])
        bad = torch.nonzero(~new.isfinite())
        if len(bad):
            raise Failure(
                f"the loss is not finite at step {first + int(bad[0])}, architecture "
                f"{self.unseen[int(bad[0])]}; lower the learning rate (lr is {lr}); "
                "the last good checkpoint is kept"
            )
        self.unseen.clear()

    def state_dict(self) -> dict:
        return {"values": self.values.cpu()}

    def load_state_dict(self, state: dict) -> None:
        self.values.copy_(state["values"])


class Statistics:
    """BatchNorm's running statistics over a step's parts: each starts from the same, the mean is kept.

    The networks of a supernet have none; one that is trained alone has.
    """

    def __init__(self, net: nn.Module, parts: int) -> None:
        self.buffers = list(net.buffers()) if parts > 1 else []  # one part alone may leave what it likes
        self.before = [b.clone() for b in self.buffers]
        self.left: list[list[Tensor]] = []

    def part_done(self) -> None:
        self.left.append([b.clone() for b in self.buffers])
        for buffer, before in zip(self.buffers, self.before, strict=True):
            buffer.copy_(before)

    def step_done(self, team: Team) -> None:
        for buffer, *left in zip(self.buffers, *self.left, strict=True):
            # of counts, too, which are all alike; Apple's GPUs have no double precision
            wide = torch.float32 if buffer.device.type == "mps" else torch.float64
            buffer.copy_(torch.stack(left).to(wide).mean(0))
        team.average(b for b in self.buffers if b.is_floating_point())
        self.before = [b.clone() for b in self.buffers]
        self.left.clear()


def _start(
    team: Team,
    checkpoints: Checkpoints | None,
    states: Mapping[str, Any],
    beginning: Beginning | None = None,
) -> int:
    """Restore the newest checkpoint, or else a beginning, in every process; the step to go on from."""
    with team.main_first():  # it removes what is damaged
        start = checkpoints.restore(states) if checkpoints else 0
    if team.mean(start) != start:
        raise HnasError(
            f"{team.name} does not find the checkpoint that the others do; "
            f"all must see the same folder {checkpoints.folder}"
        )
    if beginning and not start:
        start = beginning.restore(states)
        if checkpoints:
            checkpoints.seconds = beginning.seconds
    return start


def _schedule(optimiser: torch.optim.Optimizer, steps: int, warmup: int) -> LRScheduler:
    """Linear from lr / (warmup + 1), if there is a warm-up, then a cosine from lr to 0."""
    if not 0 <= warmup < max(steps, 1):
        raise HnasError(f"warmup_steps is {warmup}; it must be at least 0 and below steps, {steps}")
    if not warmup:
        return CosineAnnealingLR(optimiser, steps)
    rise = LinearLR(optimiser, 1 / (warmup + 1), total_iters=warmup)
    return SequentialLR(optimiser, [rise, CosineAnnealingLR(optimiser, steps - warmup)], [warmup])


def _gradients(
    net: nn.Module,
    share: list[tuple[Tensor, Tensor]],
    arch: Arch,
    scaled: Callable[[Tensor], Tensor],
    precision: str,
    label_smoothing: float,
    statistics: Statistics,
) -> tuple[Tensor, Tensor]:
    """Of a step's parts, one after the other; their logits and mean loss."""
    logits, mean = [], 0.0
    for x, y in share:
        with autocast(x.device, precision):
            logits.append(net(x, arch))
            loss = F.cross_entropy(logits[-1], y, label_smoothing=label_smoothing)
        scaled(loss / len(share)).backward()
        logits[-1] = logits[-1].detach()
        mean += loss.detach() / len(share)
        statistics.part_done()
    return torch.cat(logits), mean


def _update(scaler: torch.amp.GradScaler, optimiser: torch.optim.Optimizer, schedule: LRScheduler) -> None:
    """The weights by their gradients, then the learning rate."""
    scaler.step(optimiser)
    scaler.update()
    with warnings.catch_warnings():  # the scaler may have left out the first step: an overflow
        warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
        schedule.step()


def train(
    net: nn.Module,
    batches: Batches,
    choose: Callable[[int], Arch],
    steps: int,
    *,
    lr: float,
    weight_decay: float,
    momentum: float = 0.9,
    precision: str = "float32",
    label_smoothing: float = 0.0,
    warmup_steps: int = 0,
    parts: int = 1,
    team: Team = LONE,
    after_step: Callable[[int, Tensor, Tensor], None] | None = None,
    states: Mapping[str, Any] | None = None,
    checkpoints: Checkpoints | None = None,
    beginning: Beginning | None = None,
    progress: Callable[[int], Any] | None = None,
) -> np.ndarray:
    """Train one architecture a step (Eq. 1) with SGD, Nesterov momentum and a cosine schedule to 0.

    Weights that the step's architecture does not use stay untouched: they have no gradient (None, not
    zero), so neither momentum nor weight decay moves them.

    Args:
        net: the network, on the device of the batches; each process of a team has made the same one.
        batches: the training batches.
        choose: step -> architecture to train, the same in every process.
        steps: number of steps in all.
        lr: initial learning rate.
        weight_decay, momentum: of SGD.
        precision: a name of ``PRECISIONS``; ``float16`` with scaled gradients.
        label_smoothing: share of every label that is spread evenly over all classes (Szegedy et al., 2016).
        warmup_steps: the learning rate rises linearly over so many steps, before the cosine.
        parts: of a batch, each with BatchNorm statistics of its own, one after the other (accumulating
            gradients) or shared by the team's processes.
        team: the processes that train together; the main one writes checkpoints, which any number of
            processes resumes from.
        after_step: called after each update of the weights with the step, and the logits (B, C) before it
            and labels (B,) of this process's share of the batch.
        states: what else has a state (sampler, generators, history), for the checkpoints.
        checkpoints: where to resume from and save to; None keeps nothing.
        beginning: first steps that other trainings have alike; None if there are none.
        progress: called with the number of steps done since the last call.

    Returns:
        (steps,) training loss of every step.

    Raises:
        HnasError: for a warm-up as long as the training, for parts that are not equal; at a loss that is
            not finite, and then the last checkpoint before it is kept.
    """
    require_one_of("precision", precision, PRECISIONS)
    device = batches.device
    weights = list(net.to(device, memory_format=layout(device)).parameters())
    _keep_memory(device)
    optimiser = torch.optim.SGD(weights, lr, momentum, weight_decay=weight_decay, nesterov=momentum > 0)
    schedule = _schedule(optimiser, steps, warmup_steps)
    scaler, losses = torch.amp.GradScaler(device.type, enabled=precision == "float16"), Losses(steps, device)
    states = {
        "net": net, "optimiser": optimiser, "schedule": schedule, "batches": batches, "losses": losses,
        **(states or {}), **({"scaler": scaler} if scaler.is_enabled() else {}),
    }  # fmt: skip
    start, progress = _start(team, checkpoints, states, beginning), progress or (lambda steps: None)
    statistics = Statistics(net, parts)  # of what was restored
    draw_at = states["generators"].at_step if "generators" in states else lambda step: None
    progress(start)
    look_every = 1 if device.type == "cpu" else 50  # on a GPU, looking at a loss waits for it
    net.train()
    for step in range(start, steps):
        draw_at(step)
        arch, done = choose(step), step + 1
        optimiser.zero_grad(set_to_none=True)
        share = batches.share(team, parts)
        logits, loss = _gradients(net, share, arch, scaler.scale, precision, label_smoothing, statistics)
        statistics.step_done(team)
        # scaled as they are, so that an overflow in one process is one in all
        team.average(weight.grad for weight in weights if weight.grad is not None)
        _update(scaler, optimiser, schedule)
        losses.record(step, loss, arch)
        if after_step:
            after_step(step, logits, torch.cat([y for _, y in share]))
        save = checkpoints and done % checkpoints.every == 0 and done < steps
        shared = beginning and done == beginning.step
        if save or shared or done % look_every == 0 or done == steps:
            losses.look(done, team, lr)
        if shared:
            beginning.keep(states, checkpoints.seconds if checkpoints else 0.0)
        if save and team.main:
            checkpoints.save(done, states)
        progress(1)
    return losses.values.cpu().numpy()

"""Algorithm 1: train and search jointly in three phases, then choose the final architecture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from hnas_kit import evaluation
from hnas_kit.data import Batches
from hnas_kit.errors import HnasError, require_one_of
from hnas_kit.randomness import Generators
from hnas_kit.samplers import Sampler, Uniform
from hnas_kit.spaces import Arch, SearchSpace
from hnas_kit.supernets import Supernet
from hnas_kit.training import Checkpoints, train

PHASES = ("uniform", "warm-up", "search")
FINAL_CHOICES = ("path", "samples")


@dataclass(frozen=True)
class Schedule:
    """The phases of a search, and the temperature over its third (Appendix B.1).

    Uniform sampling without statistics, then uniform sampling with statistics recorded (warm-up), then
    sampling by the sampler while T falls linearly.

    Attributes:
        steps: number of steps in all.
        uniform, warmup: shares of the first and second phase; the third is what is left.
        temperature_start, temperature_end: T at the first and the last step of the third phase.
    """

    steps: int
    uniform: float = 0.40
    warmup: float = 0.25
    temperature_start: float = 0.02
    temperature_end: float = 0.0025

    @property
    def starts(self) -> tuple[int, int, int]:
        """The first step of each phase."""
        return 0, round(self.uniform * self.steps), round((self.uniform + self.warmup) * self.steps)

    def phase(self, step: int) -> int:
        """0, 1 or 2: position in ``PHASES``."""
        _, warmup, search = self.starts
        return int(step >= warmup) + int(step >= search)

    def temperature(self, step: int) -> float:
        """T at a step; ``temperature_start`` before the third phase."""
        first, last = self.starts[2], self.steps - 1
        share = min(max((step - first) / max(last - first, 1), 0.0), 1.0)
        return self.temperature_start + share * (self.temperature_end - self.temperature_start)


class History:
    """Which architecture each step trained, and the reward it gave."""

    def __init__(self, archs: tuple[Arch, ...], steps: int) -> None:
        self.archs = archs
        self.position = {arch: i for i, arch in enumerate(archs)}
        self.arch_index = np.full(steps, -1, dtype=np.int32)
        self.reward = np.full(steps, np.nan)
        self.loss = np.full(steps, np.nan, dtype=np.float32)

    def record(self, step: int, arch: Arch, reward: float) -> None:
        self.arch_index[step] = self.position[arch]
        self.reward[step] = reward

    def frame(self, space: SearchSpace, schedule: Schedule) -> pd.DataFrame:
        """One row a step: ``phase``, ``architecture`` (text form), ``loss`` (training), ``reward``."""
        text = np.array([space.format(arch) for arch in self.archs])
        phase = np.array(PHASES)[[schedule.phase(step) for step in range(len(self.reward))]]
        return pd.DataFrame(
            {"phase": phase, "architecture": text[self.arch_index], "loss": self.loss, "reward": self.reward}
        ).rename_axis("step")

    def state_dict(self) -> dict:
        return {
            "arch_index": torch.from_numpy(self.arch_index.copy()),
            "reward": torch.from_numpy(self.reward.copy()),
        }

    def load_state_dict(self, state: dict) -> None:
        self.arch_index[:] = state["arch_index"].numpy()
        self.reward[:] = state["reward"].numpy()


@torch.no_grad()
def batch_accuracy(
    net: Supernet, arch: Arch, batch: tuple[torch.Tensor, torch.Tensor], precision: str
) -> float:
    """Acc(f_a(X_val, w)) of Eq. 4 on one mini-batch, a fraction from 0 to 1."""
    x, y = batch
    with torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        return (net(x, arch).argmax(1) == y).double().mean().item()


def run(
    net: Supernet,
    sampler: Sampler,
    train_batches: Batches,
    valid_batches: Batches,
    schedule: Schedule,
    *,
    generators: Generators,
    lr: float,
    weight_decay: float,
    momentum: float = 0.9,
    precision: str = "float32",
    checkpoints: Checkpoints | None = None,
    progress: Callable[[int], Any] | None = None,
) -> History:
    """Train the supernet and the sampler's statistics jointly (Algorithm 1, "main training with MCTS").

    At every step: draw an architecture, update the weights with it on a training mini-batch, measure its
    accuracy on a validation mini-batch, and (from the second phase on) update the sampler with it.

    Args:
        net: a supernet with new weights; trained in place.
        sampler: updated in place.
        train_batches, valid_batches: endless streams of mini-batches, on the same device.
        schedule: phases and temperature.
        generators: the run's; draws architectures from ``"architectures"``. Its state, with all its
            other generators, goes into the checkpoints.
        lr, weight_decay, momentum, precision, checkpoints, progress: see :func:`hnas_kit.training.train`.

    Returns:
        The history of all steps.
    """
    rng = generators.numpy("architectures")
    uniform = Uniform(sampler.archs)
    history = History(tuple(sampler.archs), schedule.steps)

    def choose(step: int) -> Arch:
        if schedule.phase(step) < 2:
            return uniform.sample(rng)
        sampler.anneal(schedule.temperature(step))
        return sampler.sample(rng)

    def learn(step: int, arch: Arch) -> None:
        reward = batch_accuracy(net, arch, next(valid_batches), precision)
        history.record(step, arch, reward)
        if schedule.phase(step) > 0:
            sampler.update(arch, reward)

    history.loss[:] = train(
        net,
        train_batches,
        choose,
        schedule.steps,
        lr=lr,
        weight_decay=weight_decay,
        momentum=momentum,
        precision=precision,
        after_step=learn,
        parts={"sampler": sampler, "validation": valid_batches, "generators": generators, "history": history},
        checkpoints=checkpoints,
        progress=progress,
    )
    return history


def replay(
    history: pd.DataFrame, space: SearchSpace, sampler: Sampler, schedule: Schedule, every: int
) -> Iterator[tuple[int, Sampler]]:
    """Give a fresh sampler the rewards of a finished search again, to look at it on the way.

    Yields:
        (step, sampler) after every ``every`` steps of the second and third phase.
    """
    rewards = zip(map(space.parse, history["architecture"]), history["reward"], strict=True)
    for step, (arch, reward) in enumerate(rewards):
        sampler.anneal(schedule.temperature(step))
        if schedule.phase(step) > 0:
            sampler.update(arch, reward)
            if (step + 1) % every == 0:
                yield step + 1, sampler


def choose_final(
    net: Supernet,
    sampler: Sampler,
    x: torch.Tensor,
    y: torch.Tensor,
    rng: np.random.Generator,
    how: str = "samples",
    samples: int = 50,
) -> tuple[Arch, pd.Series]:
    """The final architecture after the search (Sec. 4; Appendix B.1).

    Args:
        net: the trained supernet.
        sampler: the sampler after the search.
        x, y: (M, C, H, W) and (M,), the validation images on which all candidates are scored.
        rng: draws the candidates.
        how: ``path``, the path of highest probability; or ``samples``, the best on validation of what
            ``samples`` draws at lambda = 0 give.
        samples: number of draws; if it is at least the number of architectures, a sampler that learns
            nothing has all of them scored instead.

    Returns:
        The architecture, and the validation accuracy (fraction) of each candidate, best first.

    Raises:
        HnasError: if ``how`` is unknown, or is ``path`` and the sampler learns nothing.
    """
    require_one_of("final choice", how, FINAL_CHOICES)
    if how == "path":
        candidates = [sampler.greedy()]
    elif isinstance(sampler, Uniform) and samples >= len(sampler.archs):
        candidates = list(sampler.archs)
    else:
        if samples < 1:
            raise HnasError(f"samples is {samples}; it must be at least 1")
        exploit = sampler.exploit()
        candidates = list(dict.fromkeys(exploit.sample(rng) for _ in range(samples)))
    accuracy = pd.Series(
        evaluation.accuracy(net, candidates, x, y), index=pd.Index(candidates, tupleize_cols=False)
    )
    accuracy = accuracy.sort_values(ascending=False, kind="stable")
    return accuracy.index[0], accuracy

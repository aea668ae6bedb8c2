"""Algorithm 1: train and search jointly in three phases, then choose the final architecture."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from hnas_kit import evaluation
from hnas_kit.data import Batches
from hnas_kit.errors import HnasError, require_one_of
from hnas_kit.names import FINAL_CHOICES
from hnas_kit.processes.distributed import LONE, Team
from hnas_kit.randomness import Generators
from hnas_kit.rewards import Brought, Reward, make_reward
from hnas_kit.samplers import MCTS, Mixture, Sampler, Uniform
from hnas_kit.samplers.mcts import TreeSearch
from hnas_kit.samplers.relearning import Planted, Relearning
from hnas_kit.samplers.relearning import steps as relearned_at
from hnas_kit.spaces import Arch, SearchSpace
from hnas_kit.supernets import Supernet, mixture
from hnas_kit.training import PHASES, Schedule, autocast, train
from hnas_kit.training.checkpoints import Beginning, Kept
from hnas_kit.training.problem import Problem


class History:
    """Which architecture each step trained, the reward it gave, and which trees were learned meanwhile."""

    def __init__(self, steps: int) -> None:
        self.position: dict[Arch, int] = {}  # of each architecture that was drawn, in that order
        self.arch_index = np.full(steps, -1, dtype=np.int32)
        self.reward = np.full(steps, np.nan)
        self.loss = np.full(steps, np.nan, dtype=np.float32)
        self.planted: list[Planted] = []

    def record(self, step: int, arch: Arch, reward: float) -> None:
        self.arch_index[step] = self.position.setdefault(arch, len(self.position))
        self.reward[step] = reward

    @property
    def archs(self) -> list[Arch]:
        """The architecture of each step."""
        known = list(self.position)
        return [known[i] for i in self.arch_index]

    def frame(self, space: SearchSpace, schedule: Schedule) -> pd.DataFrame:
        """One row a step: ``phase``, ``architecture`` (text form), ``loss`` (training), ``reward``."""
        text = np.array([space.format(arch) for arch in self.position])
        phase = np.array(PHASES)[[schedule.phase(step) for step in range(len(self.reward))]]
        return pd.DataFrame(
            {"phase": phase, "architecture": text[self.arch_index], "loss": self.loss, "reward": self.reward}
        ).rename_axis("step")

    def state_dict(self) -> dict:
        return {
            "archs": torch.tensor(list(self.position)),
            "arch_index": torch.from_numpy(self.arch_index.copy()),
            "reward": torch.from_numpy(self.reward.copy()),
            "planted": [one.state_dict() for one in self.planted],
        }

    def load_state_dict(self, state: dict) -> None:
        self.position = {tuple(arch): i for i, arch in enumerate(state["archs"].tolist())}
        self.arch_index[:] = state["arch_index"].numpy()
        self.reward[:] = state["reward"].numpy()
        self.planted = [Planted.of(one) for one in state["planted"]]


def _of_two_modes(net: nn.Module) -> list[nn.Module]:
    """The modules that may answer otherwise in evaluation than in training; the kit's own have none.

    ``net.eval()`` and ``net.train()`` go through all modules, thousands in a large supernet, at every step.
    """

    def alike(module: nn.Module) -> bool:
        kind = type(module)
        if kind.__module__.partition(".")[0] not in ("hnas_kit", "torch", "torchvision"):
            return False
        without = getattr(module, "track_running_stats", True) is False  # BatchNorm by each batch
        return without or "training" not in kind.forward.__code__.co_names

    return [module for module in net.modules() if not alike(module)]


def _set_modes(modules: Sequence[nn.Module], training: bool) -> None:
    for module in modules:
        module.training = training


def run(
    net: Supernet,
    sampler: Sampler,
    train_batches: Batches,
    valid_batches: Batches,
    schedule: Schedule,
    *,
    generators: Generators,
    reward: Reward | Brought | None = None,
    relearning: Relearning | None = None,
    precision: str = "float32",
    parts: int = 1,
    team: Team = LONE,
    **training: Any,
) -> History:
    """Train the supernet and the sampler's statistics jointly (Algorithm 1, "main training with MCTS").

    At every step: draw an architecture, update the weights with it on a training mini-batch, measure its
    reward (by default the accuracy on a validation mini-batch), and, from when the schedule says so, update
    the sampler with it.

    Args:
        net: a supernet with new weights; trained in place. It runs ``sampler.path(arch)``.
        sampler: updated in place.
        train_batches, valid_batches: endless streams of mini-batches, on the same device.
        schedule: phases and temperature.
        generators: the run's; draws architectures from ``"architectures"``. Its state, with all its
            other generators, goes into the checkpoints.
        reward: what the sampler learns from (default: absolute validation accuracy).
        relearning: learns the tree of an :class:`hnas_kit.samplers.MCTS` anew; the paper keeps it (None).
        precision, parts, team: see :func:`hnas_kit.training.train`; a reward's batch is computed and shared
            likewise, and every process's sampler learns the same.
        training: ``lr``, ``weight_decay`` and so on, see there.

    Returns:
        The history of all steps.
    """
    rng, reward = generators.numpy("architectures"), reward or Reward()
    history, modes = History(schedule.steps), _of_two_modes(net)
    own, learning = schedule.draws_from(sampler.own_draws), schedule.learns_from
    replants = relearned_at(schedule, relearning.every) if relearning else ()
    states = {"sampler": sampler, "reward": reward, "validation": valid_batches}
    states |= {"generators": generators, "history": history}
    arch: Arch = ()

    def choose(step: int) -> tuple[int, ...]:
        nonlocal arch
        if step in replants:
            history.planted.append(relearning.replant(step, net, sampler, team))
        if step < own:
            arch = sampler.sample_uniform(rng)
        else:
            sampler.anneal(schedule.temperature(step))
            arch = sampler.sample(rng)
        return sampler.path(arch)

    def learn(step: int, logits: torch.Tensor, labels: torch.Tensor) -> None:
        if not reward.on_training:
            share = valid_batches.share(team, parts)
            _set_modes(modes, training=False)
            with torch.no_grad(), autocast(valid_batches.device, precision):
                logits = torch.cat([net(x, sampler.path(arch)) for x, _ in share])
            _set_modes(modes, training=True)
            labels = torch.cat([y for _, y in share])
        value = reward.of(team.mean(reward.measured(logits, labels, arch)))
        history.record(step, arch, value)
        if step >= learning:
            sampler.update(arch, value)

    history.loss[:] = train(
        net,
        train_batches,
        choose,
        schedule.steps,
        precision=precision,
        parts=parts,
        team=team,
        after_step=learn,
        states=states,
        **training,
    )
    return history


def term_spread(
    history: pd.DataFrame,
    space: SearchSpace,
    sampler: MCTS,
    schedule: Schedule,
    looks: int = 100,
    planted: Sequence[Planted] = (),
) -> pd.DataFrame:
    """How much each term of Eq. 3 favoured one sibling over another during a finished search, in units of T.

    Args:
        history: of the search, see :meth:`History.frame`.
        space: that it drew from.
        sampler: with nothing learned; it gets the rewards of the search again.
        schedule: of the search.
        looks: about how many times to look, evenly over the search.
        planted: trees that were learned meanwhile, see :class:`Result`.

    Returns:
        By step, ``C`` and ``exploration``, see :meth:`hnas_kit.samplers.MCTS.sibling_spread`.
    """
    every, spread = max(schedule.steps // looks, 1), {}
    rewards = zip(map(space.parse, history["architecture"]), history["reward"], strict=True)
    later = {one.step: one.tree for one in planted if one.step}
    for step, (arch, reward) in enumerate(rewards):
        if step in later:
            sampler.replant(later[step])
        sampler.anneal(schedule.temperature(step))
        if step >= schedule.learns_from:
            sampler.update(arch, reward)
            if (step + 1) % every == 0:
                spread[step + 1] = sampler.sibling_spread()
    return pd.DataFrame.from_dict(spread, orient="index", columns=["C", "exploration"])


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
            ``samples`` draws at lambda = 0 give. A sampler that prefers no architecture has no such path:
            for it all are scored (a mixture: each in its best supernet) if ``samples`` reaches or ``how``
            is ``path``, else, or if there are too many to list, as many draws.
        samples: number of draws.

    Returns:
        The architecture, and the validation accuracy (fraction) of each candidate, best first.

    Raises:
        HnasError: if ``how`` is unknown.
    """
    require_one_of("final choice", how, FINAL_CHOICES)
    if samples < 1:
        raise HnasError(f"samples is {samples}; it must be at least 1")
    exploit = sampler.exploit()
    if not sampler.weighs and sampler.archs and (how == "path" or samples >= len(sampler.archs)):
        candidates = list(sampler.archs)
    elif how == "path" and sampler.weighs:
        candidates = [sampler.greedy()]
    else:
        candidates = list(dict.fromkeys(exploit.sample(rng) for _ in range(samples)))
    accuracy = pd.Series(
        evaluation.accuracy(net, [exploit.path(arch) for arch in candidates], x, y),
        index=pd.Index(candidates, tupleize_cols=False),
    )
    accuracy = accuracy.sort_values(ascending=False, kind="stable")
    return accuracy.index[0], accuracy


@dataclass(frozen=True)
class Result:
    """A finished search.

    Attributes:
        net, sampler: trained by it.
        history: one row a step, see :meth:`History.frame`.
        arch: the final architecture.
        scores: validation accuracy (fraction) of each candidate for it, best first.
        seconds: wall time of training and final choice; with that of earlier processes, if it was resumed.
        planted: of a tree that was learned anew, all trees: the one it began with first; else empty.
    """

    net: Supernet
    sampler: Sampler
    history: pd.DataFrame
    arch: Arch
    scores: pd.Series
    seconds: float
    planted: tuple[Planted, ...] = ()


def _alike(sampler: Sampler, schedule: Schedule) -> int:
    """How many steps a search begins with whose draws follow from the list of architectures alone."""
    kind = type(sampler)
    by_list = kind.sample_uniform in (Sampler.sample_uniform, TreeSearch.sample_uniform) and sampler.archs
    if not by_list or getattr(sampler, "warmup", "") == "branches" or kind.path is not Sampler.path:
        return 0
    return schedule.starts[2] if kind.sample is Uniform.sample else schedule.draws_from(sampler.own_draws)


def _catch_up(learned: slice, parts: Mapping[str, Any]) -> None:
    """Have a sampler learn from those steps that another search went through for it."""
    archs, rewards = parts["history"].archs[learned], parts["history"].reward[learned].tolist()
    for arch, reward in zip(archs, rewards, strict=True):
        parts["sampler"].update(arch, reward)


def trial(
    problem: Problem,
    sampler: Sampler,
    schedule: Schedule,
    *,
    seed: int,
    batch_size: int,
    reward: str = "absolute validation accuracy",
    relearn: Mapping[str, Any] | None = None,
    final: str = "samples",
    final_samples: int = 50,
    scored: int = 0,
    begun: Kept | None = None,
    **training: Any,
) -> Result:
    """One search from new weights to the final architecture: :func:`run`, then :func:`choose_final`.

    Trials that differ in the sampler alone start from the same weights and see the same batches, so with
    uniform draws they train the same network: of those that are given the same ``begun``, the first goes
    through these steps, and the others take its state and learn from its rewards, to the same bits. A mixture
    of M supernets takes M times the steps, so that each of them is trained as long as a single one.

    Args:
        problem: the space, the images and the width of the supernet.
        sampler, schedule: see :func:`run`.
        seed: of all draws.
        batch_size: images a step, and of a reward.
        reward: a name of ``REWARDS``.
        relearn: what :meth:`hnas_kit.samplers.relearning.Relearning.of` is told, if the tree is learned anew.
        final, final_samples: see :func:`choose_final`.
        scored: validation images for the final choice, from the start; 0 for all.
        begun: what several searches begin with alike, ``{}`` at first; the ``seconds`` of each have it all.
        training: ``lr``, ``weight_decay`` and so on, see :func:`run`.
    """
    start, generators = time.perf_counter(), Generators(seed)
    if isinstance(sampler, Mixture):
        net = mixture([problem.supernet(generators) for _ in range(sampler.models)])
    else:
        net = problem.supernet(generators)
    schedule = replace(schedule, steps=sampler.rounds * schedule.steps)
    relearning = Relearning.of(problem, **relearn) if relearn else None
    first = (Planted(0, sampler.tree),) if relearning else ()
    beginning, alike = None, _alike(sampler, schedule)
    if begun is not None and alike:
        how = [(n, v) for n, v in training.items() if n not in ("checkpoints", "progress", "team")]
        key = problem, alike, seed, batch_size, reward, schedule.steps, *sorted(how), *sampler.archs
        learned = slice(schedule.learns_from, alike)
        beginning = Beginning(begun, key, alike, partial(_catch_up, learned))
    history = run(
        net,
        sampler,
        problem.dataset.batches(problem.train, batch_size, generators),
        problem.dataset.batches(problem.valid, batch_size, generators, "validation", train=False),
        schedule,
        generators=generators,
        reward=make_reward(reward),
        relearning=relearning,
        beginning=beginning,
        **training,
    )
    x, y = problem.dataset.fixed(problem.valid, scored or None)
    rng = generators.numpy("final")
    arch, scores = choose_final(net, sampler, x, y, rng, final, final_samples)
    earlier = training.get("checkpoints") or beginning
    seconds = time.perf_counter() - start + (earlier.seconds if earlier else 0)
    frame, planted = history.frame(problem.space, schedule), (*first, *history.planted)
    return Result(net, sampler, frame, arch, scores, seconds, planted)

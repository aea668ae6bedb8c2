"""Search without a network: rewards are a benchmark's accuracies, seen through mini-batches.

Everything but the weights of a supernet is as in a real search, so what a sampler and a tree contribute can
be told from hundreds of seeds in seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from hnas_kit import compiled, trees
from hnas_kit.errors import HnasError
from hnas_kit.flat_samplers import Independent, Uniform
from hnas_kit.mcts import CODES, MCTS
from hnas_kit.sampler import Sampler
from hnas_kit.schedule import Schedule
from hnas_kit.spaces import Arch, SearchSpace


@dataclass(frozen=True)
class Simulation:
    """Many simulated searches that differ in their seed; S seeds, N architectures.

    Attributes:
        archs: the N architectures.
        accuracy: (N,) their true accuracies, fractions.
        arch_index: (S, steps) int32, the architecture of each step.
        reward: (S, steps) float32, what was seen of its accuracy.
    """

    archs: tuple[Arch, ...]
    accuracy: np.ndarray
    arch_index: np.ndarray
    reward: np.ndarray

    def first(self, best: int) -> np.ndarray:
        """(S,) evaluations until one of the truly ``best`` architectures is drawn; infinite if none was."""
        rank = (-self.accuracy).argsort(kind="stable").argsort()
        hit = rank[self.arch_index] < best
        return np.where(hit.any(axis=1), 1.0 + hit.argmax(axis=1), np.inf)

    def regret(self) -> np.ndarray:
        """(S, steps) simple regret: the best accuracy there is, minus the best that was drawn so far."""
        return self.accuracy.max() - np.maximum.accumulate(self.accuracy[self.arch_index], axis=1)

    def drawn(self) -> np.ndarray:
        """(S, steps) true accuracy of the architecture of each step."""
        return self.accuracy[self.arch_index]


@numba.njit(parallel=True, cache=True)
def _on_tree(
    first_child, num_children, parent, arch_index, leaf, depth, group, member_start, members, communication,
    coefficient, weight, beta, exploration, phases, temperature, accuracy, growth, batch_size, seeds,
    start_value, start_visits, start_table, chosen, rewards,
):  # fmt: skip
    """All seeds of a tree search; fills ``chosen`` and ``rewards`` (S, steps)."""
    for s in numba.prange(len(seeds)):
        np.random.seed(seeds[s])
        value, visits, table = start_value.copy(), start_visits.copy(), start_table.copy()
        draws, scratch = np.empty(depth), np.empty(num_children.max())
        for step in range(len(temperature)):
            if step < phases[1]:
                i = np.random.randint(len(accuracy))
            else:
                for level in range(depth):
                    draws[level] = np.random.random()
                i = arch_index[
                    compiled.descend(
                        0, first_child, num_children, value, visits, table, group, weight, exploration,
                        temperature[step], draws, scratch,
                    )
                ]  # fmt: skip
            reward = np.random.binomial(batch_size, accuracy[i] * growth[step]) / batch_size
            if step >= phases[0]:
                compiled.backup(
                    parent, value, visits, table, group, member_start, members, communication, coefficient,
                    leaf[i], reward, beta,
                )  # fmt: skip
            chosen[s, step], rewards[s, step] = i, reward


@numba.njit(parallel=True, cache=True)
def _by_layer(
    transitions, position, radix, beta, phases, temperature, accuracy, codes, growth, batch_size, seeds,
    start_value, chosen, rewards,
):  # fmt: skip
    """All seeds of a search with independent layers; fills ``chosen`` and ``rewards`` (S, steps)."""
    for s in numba.prange(len(seeds)):
        np.random.seed(seeds[s])
        value, tables = start_value.copy(), np.empty(transitions.shape)
        ops, draws = np.empty(len(value), dtype=np.int64), np.empty(len(value))
        for step in range(len(temperature)):
            if step < phases[1]:
                i = np.random.randint(len(accuracy))
            else:
                compiled.conditionals(value, transitions, temperature[step], tables)
                for layer in range(len(draws)):
                    draws[layer] = np.random.random()
                compiled.draw_layers(tables, transitions, draws, ops)
                i = position[(ops * radix).sum()]
            reward = np.random.binomial(batch_size, accuracy[i] * growth[step]) / batch_size
            if step >= phases[0]:
                for layer in range(len(value)):
                    op = codes[i, layer]
                    value[layer, op] = beta * value[layer, op] + (1 - beta) * reward
            chosen[s, step], rewards[s, step] = i, reward


def simulate(
    space: SearchSpace,
    benchmark: pd.DataFrame,
    sampler: Sampler,
    schedule: Schedule,
    seeds: Sequence[int],
    *,
    batch_size: int = 256,
    learning: float = 0.0,
) -> Simulation:
    """Search with the accuracies of a benchmark as rewards, for all seeds at once.

    The reward of a step is the share of ``batch_size`` images answered correctly, each with the
    probability that is the architecture's true accuracy.

    Args:
        space: the search space.
        benchmark: ground truth of all that the sampler draws from (see :func:`hnas_kit.benchmarks.load`).
        sampler: where each seed's search starts from; it stays as it is.
        schedule: phases and temperature.
        seeds: of the single searches; a search depends on nothing but its own.
        batch_size: images a reward.
        learning: a learning curve: accuracies are lower by the factor 1 - exp(-t / learning), where t is
            the share of the steps that are done, from 0 (no curve) up.

    Returns:
        What every seed drew and saw, step by step.

    Raises:
        HnasError: for a sampler that needs several supernets, one of a kind that is not known here,
            architectures without ground truth, or settings out of range.
    """
    if batch_size < 1 or not 0 <= learning < np.inf:
        raise HnasError(
            f"batch_size is {batch_size}, learning {learning}; allowed: batch_size >= 1, learning >= 0"
        )
    names = [space.format(arch) for arch in sampler.archs]
    if missing := [name for name in names if name not in benchmark.index]:
        raise HnasError(f"the benchmark has no accuracy of {missing[0]} ({len(missing)} are missing)")
    accuracy = benchmark.loc[names, "accuracy"].to_numpy() / 100
    steps = np.arange(schedule.steps)
    temperature = np.array([schedule.temperature(step) for step in steps])
    growth = 1 - np.exp(-(steps + 1) / schedule.steps / learning) if learning else np.ones(schedule.steps)
    shape = len(seeds), schedule.steps
    chosen, rewards = np.empty(shape, dtype=np.int32), np.empty(shape, dtype=np.float32)
    common = batch_size, np.array(seeds, dtype=np.uint32)
    if isinstance(sampler, Uniform):  # a tree search whose first phase does not end
        schedule = Schedule(schedule.steps, uniform=1.0, warmup=0.0)
        sampler = MCTS(trees.flat(sampler.archs))
    phases = np.array(schedule.starts[1:])
    if isinstance(sampler, MCTS):
        tree = sampler.tree
        leaf = np.array([tree.leaf[arch] for arch in tree.archs])
        _on_tree(
            tree.first_child, tree.num_children, tree.parent, tree.arch_index, leaf, tree.depth,
            *sampler.groups, CODES[sampler.communication], sampler.coefficient, sampler.weight,
            sampler.beta, sampler.exploration, phases, temperature, accuracy, growth, *common,
            sampler.value, sampler.visits, sampler.table, chosen, rewards,
        )  # fmt: skip
    elif isinstance(sampler, Independent):
        codes = np.array(sampler.archs)
        radix = np.cumprod([1, *(len(names) for names in space.ops[:-1])])
        position = np.full(radix[-1] * len(space.ops[-1]), -1, dtype=np.int32)
        position[codes @ radix] = np.arange(len(codes))
        _by_layer(
            sampler.transitions, position, radix, sampler.beta, phases, temperature, accuracy, codes, growth,
            *common, sampler.padded, chosen, rewards,
        )  # fmt: skip
    else:
        raise HnasError(
            f"{type(sampler).__name__} cannot be simulated; allowed: uniform, independent, boltzmann, mcts "
            "and mcts_reg (a mixture differs from uniform in its supernets only, and here there are none)"
        )
    return Simulation(tuple(sampler.archs), accuracy, chosen, rewards)


def quantiles(values: ArrayLike, resamples: int = 2000, seed: int = 0) -> tuple[float, float, float]:
    """Median over seeds with a 95 % bootstrap interval; infinite values count as never.

    Args:
        values: (S,) of the seeds.
        resamples: bootstrap resamples.
        seed: of the resampling.

    Returns:
        Median, lower and upper end.
    """
    values, rng = np.asarray(values, dtype=float), np.random.default_rng(seed)
    # of an even number the larger middle one: the mean of the two may be infinity minus infinity
    medians = np.sort(values[rng.integers(len(values), size=(resamples, len(values)))], axis=1)
    medians = np.sort(medians[:, len(values) // 2])
    ends = medians[[int(0.025 * resamples), int(0.975 * resamples)]]
    return float(np.sort(values)[len(values) // 2]), *map(float, ends)

"""Search without a network: rewards are known accuracies, seen through mini-batches.

Everything but the weights of a supernet is as in a real search, so what a sampler and a tree contribute can
be told from hundreds of seeds in seconds.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from hnas_kit import trees
from hnas_kit.errors import HnasError, require_one_of, said
from hnas_kit.samplers import MCTS, Boltzmann, Independent, MCTSReg, Mixture, Sampler, Uniform
from hnas_kit.samplers.relearning import Planted
from hnas_kit.search import FINAL_CHOICES
from hnas_kit.spaces import Arch, SearchSpace
from hnas_kit.studies import compiled_searches
from hnas_kit.studies.compiled_searches import GREEDY, ByLayer, Later, OnTree, Plan, Record
from hnas_kit.training import Schedule


@dataclass(frozen=True)
class RandomSearch:
    """A reference of the field: every draw is uniform, and the rewards alone choose.

    The candidates of its final choice are the architectures whose best reward is highest.
    """

    archs: Sequence[Arch]


@dataclass(frozen=True)
class Evolution:
    """Regularised evolution (Real et al., AAAI 2019), a reference of the field.

    The first ``population`` draws are uniform. From then on the one of the highest reward among
    ``tournament`` draws from the population, with replacement, is mutated, the child joins the population,
    and the oldest dies. A mutation goes to one of the architectures that differ in the fewest layers, all
    alike: in one where there are such, in two in a space like Pooling. Rewards stay as they were seen. The
    candidates of its final choice are its last population.
    """

    archs: Sequence[Arch]
    population: int = 50
    tournament: int = 10


@dataclass(frozen=True)
class Simulation:
    """Many simulated searches that differ in their seed; S seeds, N architectures.

    Ranks are 1 for the best of the N; equal accuracies share the better rank.

    Attributes:
        archs: the N architectures.
        accuracy: (N,) their true accuracies, fractions.
        seen: (N,) the accuracies that rewards and final choices follow: the true ones, or a supernet's.
        arch_index: (S, steps) int32, the architecture of each step.
        reward: (S, steps) float32, what was seen of its accuracy.
        found_index: (S,) the architecture of the final choice.
        third: the first step of the third phase.
    """

    archs: tuple[Arch, ...]
    accuracy: np.ndarray
    seen: np.ndarray
    arch_index: np.ndarray
    reward: np.ndarray
    found_index: np.ndarray
    third: int

    @cached_property
    def rank(self) -> np.ndarray:
        """(N,) true rank."""
        return rankdata(-self.accuracy, "min")

    @property
    def found(self) -> np.ndarray:
        """(S,) true rank of the final choice."""
        return self.rank[self.found_index]

    @property
    def found_seen(self) -> np.ndarray:
        """(S,) rank of the final choice by the accuracies that rewards follow."""
        return rankdata(-self.seen, "min")[self.found_index]

    @property
    def best_quarter(self) -> np.ndarray:
        """(S,) share of the third phase's draws that are truly among the best quarter."""
        return (self.rank[self._last()] <= len(self.archs) / 4).mean(axis=1)

    @property
    def distinct(self) -> np.ndarray:
        """(S,) number of different architectures drawn in the third phase."""
        return np.array([len(np.unique(row)) for row in self._last()])

    def first(self, best: int) -> np.ndarray:
        """(S,) steps of the third phase until one of the truly ``best`` is drawn; infinite if none was."""
        hit = self.rank[self._last()] <= best
        return np.where(hit.any(axis=1), 1.0 + hit.argmax(axis=1), np.inf)

    def _last(self) -> np.ndarray:
        """(S, steps of the third phase) the architectures drawn in it."""
        return self.arch_index[:, self.third :]


def neighbours(archs: Sequence[Arch]) -> list[np.ndarray]:
    """For each architecture the positions of those that differ from it in the fewest layers."""
    codes = np.array(archs)
    layers = ((codes != code).sum(axis=1) for code in codes)
    return [np.flatnonzero(n == n[n > 0].min(initial=codes.shape[1])) for n in layers]


def require_known(sampler: Sampler | RandomSearch | Evolution) -> None:
    """Raise :class:`HnasError` unless searches with this sampler can be simulated."""
    if isinstance(sampler, Mixture) or not isinstance(sampler, Sampler | RandomSearch | Evolution):
        raise HnasError(
            f"{type(sampler).__name__} cannot be simulated; allowed: uniform, independent, boltzmann, mcts, "
            "mcts_reg, and samplers of one's own (a mixture differs from uniform in its supernets only, and "
            "here there are none)"
        )


def simulate(
    space: SearchSpace,
    benchmark: pd.DataFrame,
    sampler: Sampler | RandomSearch | Evolution,
    schedule: Schedule,
    seeds: Sequence[int],
    *,
    estimate: pd.Series | None = None,
    batch_size: int = 256,
    learning: float = 0.0,
    final: str = "samples",
    final_samples: int = 50,
    scored: int = 0,
    later: Sequence[Sequence[Planted]] = (),
) -> Simulation:
    """Search with known accuracies as rewards, for all seeds at once.

    The reward of a step is the share of ``batch_size`` images answered correctly, each with the probability
    that is the architecture's accuracy. Phases and temperature are those of a real search; the final
    choice (Sec. 4; Appendix B.1) is the best of its candidates by accuracy.

    Args:
        space: the search space.
        benchmark: ground truth of all that the sampler draws from (see :func:`hnas_kit.benchmarks.load`).
        sampler: where each seed's search starts from; it stays as it is. Or a reference of the field.
        schedule: phases and temperature; a reference draws its own way from the first step.
        seeds: of the single searches; a search depends on nothing but its own.
        estimate: accuracies (%) by text form that rewards and final choices follow instead of the true ones,
            for instance a supernet's.
        batch_size: images a reward.
        learning: a learning curve: accuracies are lower by the factor 1 - exp(-t / learning), where t is
            the share of the steps that are done, from 0 (no curve) up.
        final: ``samples``: the candidates are ``final_samples`` draws at lambda = 0 and the last T.
            ``path``: the only one is the path of highest probability at lambda = 0. Uniform sampling has no
            such path, its candidates are as many uniform draws; for references see there.
        final_samples: draws, or candidates of a random search.
        scored: images through which the final choice sees a candidate, each candidate its own; 0 for the
            accuracy itself.
        later: trees that an :class:`hnas_kit.samplers.MCTS` goes on with, for each of some supernets, which
            seeds take in turn; see :func:`hnas_kit.studies.imitation.planted`.

    Returns:
        What every seed drew, saw and found.

    Raises:
        HnasError: for a sampler that needs several supernets, one of a kind that is not known here,
            architectures without an accuracy, a schedule without a third phase, or settings out of range.
    """
    require_known(sampler)
    require_one_of("final choice", final, FINAL_CHOICES)
    if batch_size < 1 or final_samples < 1 or scored < 0 or not 0 <= learning < np.inf:
        raise HnasError(
            f"batch_size is {batch_size}, final_samples {final_samples}, scored {scored}, "
            f"learning {learning}; allowed: batch_size >= 1, final_samples >= 1, scored >= 0, "
            "learning >= 0"
        )
    if not len(seeds) or not all(0 <= seed < 2**32 for seed in seeds):
        raise HnasError(f"seeds are {list(seeds)}; allowed: one or more from 0 to {2**32 - 1}")
    if schedule.starts[2] >= schedule.steps:
        raise HnasError(f"of {schedule.steps} steps none is left for the third phase")
    steps, on_path = np.arange(schedule.steps), final == "path"
    temperature = schedule.temperature(steps)
    if not (temperature.min() >= GREEDY and temperature.max() < np.inf):  # the compiled loops divide by it
        raise HnasError(f"T is from {temperature.min()} to {temperature.max()}; allowed: {GREEDY} or more")
    archs = tuple(sampler.archs)
    names = _names(space, archs)
    accuracy = _accuracies(benchmark["accuracy"], names, "benchmark")
    seen = accuracy if estimate is None else _accuracies(estimate, names, "estimate")
    with np.errstate(over="ignore"):  # then nothing is to be learned any more
        growth = 1 - np.exp(-(steps + 1) / schedule.steps / learning) if learning else np.ones(len(steps))
    plan = Plan(
        seeds=np.array(seeds, dtype=np.uint32),
        learns_from=schedule.learns_from,
        draws_from=schedule.draws_from(getattr(sampler, "own_draws", 0)),
        temperature=temperature,
        growth=growth,
        accuracy=seen,
        batch_size=batch_size,
        path=on_path,
    )
    shape = len(seeds), schedule.steps
    record = Record(
        np.empty(shape, dtype=np.int32),
        np.empty(shape, dtype=np.float32),
        np.empty((len(seeds), 1 if on_path else final_samples), dtype=np.int32),
    )
    candidates = _search(space, sampler, plan, record, final_samples, later)
    rngs = [np.random.default_rng([seed, 1]) for seed in seeds]
    found = np.array([_choose(*one, seen, scored) for one in zip(candidates, rngs, strict=True)])
    return Simulation(archs, accuracy, seen, record.chosen, record.rewards, found, schedule.starts[2])


@lru_cache(maxsize=8)  # many searches are over the same architectures
def _names(space: SearchSpace, archs: tuple[Arch, ...]) -> list[str]:
    return [space.format(arch) for arch in archs]


def _accuracies(table: pd.Series, names: Sequence[str], what: str) -> np.ndarray:
    """(N,) fractions."""
    if missing := [name for name in names if name not in table.index]:
        raise HnasError(f"the {what} has no accuracy of {missing[0]} ({len(missing)} are missing)")
    values = table.loc[list(names)].to_numpy(dtype=float)
    for name, value in zip(names, values, strict=True):
        if not 0 <= value <= 100:
            raise HnasError(f"the {what} has the accuracy {value} of {name}; allowed: 0 to 100 %")
    return values / 100


def _search(
    space: SearchSpace,
    sampler: Sampler | RandomSearch | Evolution,
    plan: Plan,
    record: Record,
    final_samples: int,
    later: Sequence[Sequence[Planted]],
) -> Sequence[np.ndarray]:
    """All seeds; the candidates of each for the final choice."""
    if later and type(sampler) is not MCTS:
        raise HnasError("trees are replaced in MCTS alone")
    if type(sampler) not in (Uniform, Independent, Boltzmann, MCTS, MCTSReg, RandomSearch, Evolution):
        return [_step_by_step(sampler, plan, record, final_samples, i) for i in range(len(plan.seeds))]
    if isinstance(sampler, Uniform | RandomSearch):
        for seed, chosen, rewards in zip(plan.seeds, record.chosen, record.rewards, strict=True):
            rng = np.random.default_rng(seed)
            chosen[:] = rng.integers(len(plan.accuracy), size=len(chosen))
            rewards[:] = rng.binomial(plan.batch_size, plan.accuracy[chosen] * plan.growth) / plan.batch_size
        if isinstance(sampler, RandomSearch):  # of each the architectures whose best reward is highest
            rows = zip(record.chosen, record.rewards, strict=True)
            best = [pd.Series(rewards).groupby(chosen).max() for chosen, rewards in rows]
            ranked = [one.sort_values(ascending=False, kind="stable") for one in best]
            return [one.index.to_numpy()[:final_samples] for one in ranked]
        rngs = [np.random.default_rng([seed, 2]) for seed in plan.seeds]
        return [rng.integers(len(plan.accuracy), size=final_samples) for rng in rngs]
    if isinstance(sampler, Evolution):
        if min(sampler.population, sampler.tournament) < 1 or len(sampler.archs) < 2:
            raise HnasError(
                f"{len(sampler.archs)} architectures, population {sampler.population}, tournament "
                f"{sampler.tournament}; allowed: two architectures or more, population and tournament >= 1"
            )
        near = neighbours(sampler.archs)
        starts = np.cumsum([0, *map(len, near)])
        compiled_searches.evolve(
            np.concatenate(near), starts, sampler.population, sampler.tournament, plan, record
        )
        return record.chosen[:, -sampler.population :]
    if isinstance(sampler, Independent):
        compiled_searches.search(None, None, None, _layers(space, sampler), None, plan, record)
    else:
        tree, flat = sampler.tree, isinstance(sampler, Boltzmann)
        depth = max([tree.depth, *(one.tree.depth for row in later for one in row)])
        leaf = np.array([tree.leaf[arch] for arch in tree.archs])
        state = OnTree(
            sampler.nodes, sampler.table, *sampler.members,
            tree.arch_index, leaf, depth, branches=sampler.warmup == "branches", flat=flat,
        )  # fmt: skip
        rules = sampler.rule, sampler.exploit().rule
        compiled_searches.search(state, *rules, None, _later(sampler, later), plan, record)
    return record.candidates


def _later(sampler: MCTS, later: Sequence[Sequence[Planted]]) -> Later | None:
    """The trees that a search goes on with, as the compiled loops take them."""
    if not later:
        return None
    if len({tuple(one.step for one in row) for row in later}) > 1:
        raise HnasError("trees are replaced at the same steps for all supernets")
    shape = len(later), len(later[0])
    nodes = np.empty((*shape, len(sampler.nodes)), sampler.nodes.dtype)
    origin, index = np.empty(nodes.shape, dtype=np.int64), np.empty(nodes.shape, dtype=np.int32)
    leaf = np.empty((*shape, len(sampler.archs)), dtype=np.int64)
    for g, row in enumerate(later):
        fresh = copy.copy(sampler)
        for k, (_, tree, _) in enumerate(row):
            if tree.archs != sampler.archs or tree.num_nodes != len(sampler.nodes):
                raise HnasError("a tree that replaces another has the same architectures, and as many nodes")
            origin[g, k], index[g, k] = _origins(fresh.tree, tree), tree.arch_index
            fresh.begin(tree)
            nodes[g, k] = fresh.nodes
            leaf[g, k] = [tree.leaf[arch] for arch in tree.archs]
    return Later(np.array([one.step for one in later[0]]), nodes, origin, index, leaf)


_origins = lru_cache(maxsize=256)(trees.origins)  # many searches go on with the same trees


def _step_by_step(sampler: Sampler, plan: Plan, record: Record, final_samples: int, i: int) -> np.ndarray:
    """The search of one seed with a sampler of one's own, as :func:`hnas_kit.search.run` does it."""
    rng, walker = np.random.default_rng(plan.seeds[i]), copy.deepcopy(sampler)
    position, arch = {arch: n for n, arch in enumerate(sampler.archs)}, ()
    try:
        for step, temperature in enumerate(plan.temperature):
            if step < plan.draws_from:
                arch = walker.sample_uniform(rng)
            else:
                walker.anneal(float(temperature))
                arch = walker.sample(rng)
            right = rng.binomial(plan.batch_size, plan.accuracy[position[arch]] * plan.growth[step])
            record.chosen[i, step], record.rewards[i, step] = position[arch], right / plan.batch_size
            if step >= plan.learns_from:
                walker.update(arch, right / plan.batch_size)
        if plan.path and walker.weighs:
            return np.array([position[walker.greedy()]])
        exploit = walker.exploit()
        return np.array([position[exploit.sample(rng)] for _ in range(final_samples)])
    except Exception as error:
        raise HnasError(f"{type(sampler).__name__} cannot be simulated: {said(error)}") from error


def _choose(candidates: np.ndarray, rng: np.random.Generator, accuracy: np.ndarray, scored: int) -> int:
    """The best of the candidates, the first of equals."""
    candidates = np.array(list(dict.fromkeys(candidates.tolist())))
    score = accuracy[candidates]
    return candidates[np.argmax(rng.binomial(scored, score) if scored else score)]


def _layers(space: SearchSpace, sampler: Independent) -> ByLayer:
    """The space's automaton, with what it takes to number the architectures that it reads."""
    codes, before = np.array(sampler.archs), np.zeros(sampler.transitions.shape, dtype=np.int64)
    for layer, (table, ways) in enumerate(zip(space.transitions, space.completions[1:], strict=True)):
        counts = np.where(table >= 0, np.array(ways)[table], 0)
        before[layer, : table.shape[0], : table.shape[1]] = np.cumsum(counts, axis=1) - counts
    order = np.lexsort(codes.T[::-1])
    return ByLayer(sampler.padded, sampler.beta, codes, sampler.transitions, before, order)

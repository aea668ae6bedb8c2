"""How the next architecture is drawn, and what is learned from its reward (Sec. 3 and 4, Table 6)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numba
import numpy as np
import torch

from hnas_kit.errors import HnasError, require_one_of
from hnas_kit.spaces import Arch, SearchSpace
from hnas_kit.trees import ArchTree


class Sampler(ABC):
    """What every sampler offers. All draws come from the generator given to :meth:`sample`."""

    archs: Sequence[Arch]

    @abstractmethod
    def sample(self, rng: np.random.Generator) -> Arch:
        """Draw an architecture."""

    def update(self, arch: Arch, reward: float) -> None:  # noqa: B027 - learning nothing is the default
        """Learn from the reward of an architecture that was drawn."""

    @abstractmethod
    def probabilities(self) -> dict[Arch, float]:
        """The exact probability with which :meth:`sample` draws each architecture now."""

    def greedy(self) -> Arch:
        """The architecture that is best by what was learned, nothing explored."""
        raise HnasError(f"{type(self).__name__} learns nothing, so it has no most probable architecture")

    def anneal(self, temperature: float) -> None:  # noqa: B027
        """Set the temperature of the Boltzmann selection, for samplers that have one."""

    def exploit(self) -> Sampler:
        """The same sampler without exploration (lambda = 0), sharing what was learned."""
        return self

    def state_dict(self) -> dict:
        return {}

    def load_state_dict(self, state: dict) -> None:  # noqa: B027
        """Restore what :meth:`state_dict` gave."""


class Uniform(Sampler):
    """All architectures alike (Sec. 3, "Uniform sampling"; Guo et al., 2020)."""

    def __init__(self, archs: Sequence[Arch]) -> None:
        self.archs = tuple(archs)

    def sample(self, rng: np.random.Generator) -> Arch:
        return self.archs[rng.integers(len(self.archs))]

    def probabilities(self) -> dict[Arch, float]:
        return dict.fromkeys(self.archs, 1 / len(self.archs))


@numba.njit(cache=True)
def _reward(value: float, visits: int, parent_visits: int, exploration: float) -> float:
    """R of Eq. 3; a node that was not visited counts as visited once in the exploration term."""
    return value + exploration * math.sqrt(math.log(max(parent_visits, 1)) / max(visits, 1))


@numba.njit(cache=True)
def _descend(first_child, num_children, value, visits, exploration, temperature, draws):
    """Walk from the root to a leaf, choosing among siblings by Eq. 2 with one uniform draw a level."""
    node = 0
    level = 0
    while num_children[node] > 0:
        first, n = first_child[node], num_children[node]
        best = -math.inf
        for child in range(first, first + n):
            best = max(best, _reward(value[child], visits[child], visits[node], exploration))
        total = 0.0
        for child in range(first, first + n):
            total += math.exp(
                (_reward(value[child], visits[child], visits[node], exploration) - best) / temperature
            )
        left = draws[level] * total
        chosen = first
        for child in range(first, first + n):
            chosen = child
            left -= math.exp(
                (_reward(value[child], visits[child], visits[node], exploration) - best) / temperature
            )
            if left < 0:
                break
        node = chosen
        level += 1
    return node


@numba.njit(cache=True)
def _backup(parent, value, visits, node, reward, beta):
    """From a leaf up to the root: one more visit, and C by Eq. 4 (the root has no C)."""
    while node > 0:
        value[node] = beta * value[node] + (1 - beta) * reward
        visits[node] += 1
        node = parent[node]
    visits[0] += 1


class MCTS(Sampler):
    """Tree search with Boltzmann selection over a UCT reward, on any tree (Sec. 4, Eq. 2 to 4).

    The tree is fully expanded from the start, so there is neither expansion nor roll-out. The same tree
    and settings with other arrays ``value`` and ``visits`` is another search.

    Args:
        tree: learned, default or any other tree.
        beta: smoothing of C (Eq. 4), from 0 to below 1.
        exploration: lambda of Eq. 3, at least 0.
        temperature: T of Eq. 2, above 0.

    Attributes:
        value: (V,) C of each node, 1 at the start (Sec. 5).
        visits: (V,) visit count |a| of each node.
    """

    def __init__(
        self, tree: ArchTree, beta: float = 0.95, exploration: float = 0.5, temperature: float = 0.02
    ) -> None:
        if not (0 <= beta < 1 and exploration >= 0 and temperature > 0):
            raise HnasError(
                f"beta is {beta}, exploration {exploration}, temperature {temperature}; "
                "allowed: 0 <= beta < 1, exploration >= 0, temperature > 0"
            )
        self.tree, self.archs = tree, tree.archs
        self.beta, self.exploration, self.temperature = beta, exploration, temperature
        self.value = np.ones(tree.num_nodes)
        self.visits = np.zeros(tree.num_nodes, dtype=np.int64)
        self._depth = tree.depth

    def sample(self, rng: np.random.Generator) -> Arch:
        """Draw an architecture; takes ``tree.depth`` uniform numbers from ``rng``, however long the path."""
        tree = self.tree
        draws = rng.random(self._depth)
        leaf = _descend(
            tree.first_child,
            tree.num_children,
            self.value,
            self.visits,
            self.exploration,
            self.temperature,
            draws,
        )
        return self.archs[tree.arch_index[leaf]]

    def update(self, arch: Arch, reward: float) -> None:
        _backup(self.tree.parent, self.value, self.visits, self.tree.leaf[arch], float(reward), self.beta)

    def terms(self) -> tuple[np.ndarray, np.ndarray]:
        """The two terms of Eq. 3 for each node, both (V,): C and the exploration bonus (0 for the root)."""
        visits = np.maximum(self.visits, 1)
        bonus = self.exploration * np.sqrt(np.log(visits[self.tree.parent]) / visits)
        bonus[0] = 0.0
        return self.value, bonus

    def sibling_spread(self) -> tuple[float, float]:
        """How much each term of Eq. 3 favours one sibling over another, in units of T.

        Returns:
            For C and for the exploration bonus: largest minus smallest value among siblings, over T,
            averaged over the nodes whose children were all visited (nan if there is none).
        """
        inner = np.flatnonzero(self.tree.num_children > 1)
        first = self.tree.first_child[inner]
        last = first + self.tree.num_children[inner]
        seen = np.array([self.visits[a:b].min() > 0 for a, b in zip(first, last, strict=True)])
        if not seen.any():
            return math.nan, math.nan
        ranges = [
            np.mean([np.ptp(term[a:b]) for a, b in zip(first[seen], last[seen], strict=True)])
            for term in self.terms()
        ]
        return float(ranges[0] / self.temperature), float(ranges[1] / self.temperature)

    def conditional(self) -> np.ndarray:
        """(V,) probability of each node given its parent (Eq. 2); 1 for the root."""
        value, bonus = self.terms()
        score = (value + bonus) / self.temperature
        parent = self.tree.parent
        best = np.full(self.tree.num_nodes, -np.inf)
        np.maximum.at(best, parent[1:], score[1:])
        weight = np.ones(self.tree.num_nodes)
        weight[1:] = np.exp(score[1:] - best[parent[1:]])
        total = np.bincount(parent[1:], weights=weight[1:], minlength=self.tree.num_nodes)
        weight[1:] /= total[parent[1:]]
        return weight

    def node_probabilities(self) -> np.ndarray:
        """(V,) probability that a draw passes through each node."""
        probability = self.conditional()
        for v in range(1, self.tree.num_nodes):
            probability[v] *= probability[self.tree.parent[v]]
        return probability

    def probabilities(self) -> dict[Arch, float]:
        probability = self.node_probabilities()
        return {arch: float(probability[leaf]) for arch, leaf in self.tree.leaf.items()}

    def greedy(self) -> Arch:
        """The path of highest probability at lambda = 0: at every node the child of largest C (App. B.1)."""
        node = 0
        while self.tree.num_children[node]:
            first = self.tree.first_child[node]
            node = first + int(np.argmax(self.value[first : first + self.tree.num_children[node]]))
        return self.archs[self.tree.arch_index[node]]

    def anneal(self, temperature: float) -> None:
        self.temperature = temperature

    def exploit(self) -> MCTS:
        other = MCTS(self.tree, self.beta, 0.0, self.temperature)
        other.value, other.visits = self.value, self.visits
        return other

    def state_dict(self) -> dict:
        return {"value": torch.from_numpy(self.value.copy()), "visits": torch.from_numpy(self.visits.copy())}

    def load_state_dict(self, state: dict) -> None:
        self.value[:] = state["value"].numpy()
        self.visits[:] = state["visits"].numpy()


SAMPLERS = ("uniform", "mcts")


def make_sampler(
    name: str, *, space: SearchSpace | None = None, tree: ArchTree | None = None, **settings: float
) -> Sampler:
    """A new sampler.

    Args:
        name: ``uniform`` (over the tree's architectures, or all of the space) or ``mcts`` (on the tree).
        space: the search space.
        tree: a tree over architectures.
        settings: of the sampler's class (``beta``, ``exploration``, ``temperature`` for ``mcts``).

    Raises:
        HnasError: for an unknown sampler, one that lacks its tree, or settings it does not have.
    """
    require_one_of("sampler", name, SAMPLERS)
    if name == "mcts":
        if tree is None:
            raise HnasError("sampler mcts needs a tree: learned, default, random or another")
        for setting in settings:
            require_one_of("setting of sampler mcts", setting, ("beta", "exploration", "temperature"))
        return MCTS(tree, **settings)
    if settings:
        raise HnasError(f"sampler uniform has no settings; {', '.join(settings)} given")
    if tree is None and space is None:
        raise HnasError("sampler uniform needs a space or a tree")
    return Uniform(tree.archs if tree is not None else space.enumerate())

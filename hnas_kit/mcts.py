"""Monte-Carlo tree search on any tree, Boltzmann sampling, and regularised tree search (Sec. 3 and 4)."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import numpy as np
import torch

from hnas_kit import compiled, trees
from hnas_kit.errors import HnasError, require_one_of
from hnas_kit.sampler import Sampler
from hnas_kit.spaces import Arch
from hnas_kit.trees import ArchTree

COMMUNICATIONS = ("shared_table", "equivalent_nodes")
CODES = {
    "": compiled.NONE,
    "shared_table": compiled.SHARED_TABLE,
    "equivalent_nodes": compiled.EQUIVALENT_NODES,
}


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
        table: (groups,) G of each group of equivalent nodes; plain tree search has a single one, unused.
        group: (V,) position of each node in ``table``.
    """

    communication = ""
    coefficient = 0.0

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
        self._group_nodes(np.zeros(tree.num_nodes, dtype=np.int64))
        self._depth = tree.depth
        self._scratch = np.empty(tree.num_children.max())

    def _group_nodes(self, group: np.ndarray) -> None:
        self.group, self.table = group, np.zeros(group.max() + 1)
        self._members = np.argsort(group, kind="stable")  # group by group
        self._member_start = np.concatenate([[0], np.cumsum(np.bincount(group))])

    @property
    def groups(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``group``, and start and members: the nodes of g are ``members[start[g]:start[g + 1]]``."""
        return self.group, self._member_start, self._members

    @property
    def weight(self) -> float:
        """Of G in Eq. 3."""
        return self.coefficient if self.communication == "shared_table" else 0.0

    def sample(self, rng: np.random.Generator) -> Arch:
        """Draw an architecture; takes ``tree.depth`` uniform numbers from ``rng``, however long the path."""
        tree = self.tree
        leaf = compiled.descend(
            0,
            tree.first_child,
            tree.num_children,
            self.value,
            self.visits,
            self.table,
            self.group,
            self.weight,
            self.exploration,
            self.temperature,
            rng.random(self._depth),
            self._scratch,
        )
        return self.archs[tree.arch_index[leaf]]

    def update(self, arch: Arch, reward: float) -> None:
        compiled.backup(
            self.tree.parent,
            self.value,
            self.visits,
            self.table,
            *self.groups,
            CODES[self.communication],
            self.coefficient,
            self.tree.leaf[arch],
            float(reward),
            self.beta,
        )

    def _means(self) -> np.ndarray:
        """(V,) C of each node, with what communication adds to it in Eq. 3."""
        return self.value + self.weight * self.table[self.group]

    def terms(self) -> tuple[np.ndarray, np.ndarray]:
        """The two terms of Eq. 3 for each node, both (V,): C and the exploration bonus (0 for the root)."""
        visits = np.maximum(self.visits, 1)
        bonus = self.exploration * np.sqrt(np.log(visits[self.tree.parent]) / visits)
        bonus[0] = 0.0
        return self._means(), bonus

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
        node, value = 0, self._means()
        while self.tree.num_children[node]:
            first = self.tree.first_child[node]
            node = first + int(np.argmax(value[first : first + self.tree.num_children[node]]))
        return self.archs[self.tree.arch_index[node]]

    def anneal(self, temperature: float) -> None:
        self.temperature = temperature

    def exploit(self) -> MCTS:
        other = copy.copy(self)
        other.exploration = 0.0
        return other

    def state_dict(self) -> dict:
        return {"value": torch.from_numpy(self.value.copy()), "visits": torch.from_numpy(self.visits.copy())}

    def load_state_dict(self, state: dict) -> None:
        self.value[:] = state["value"].numpy()
        self.visits[:] = state["visits"].numpy()


class Boltzmann(MCTS):
    """A Boltzmann distribution over all architectures: p(a) ~ exp(C(a) / T) (Sec. 3, "joint probabilities").

    The same as tree search without exploration on a tree that is flat: nothing is factorised, and a reward
    tells about no other architecture.

    Args:
        archs: the architectures.
        beta: smoothing of C (Eq. 4), from 0 to below 1.
        temperature: T, above 0.
    """

    def __init__(self, archs: Sequence[Arch], beta: float = 0.95, temperature: float = 0.02) -> None:
        super().__init__(trees.flat(archs), beta, 0.0, temperature)


def _equivalent(tree: ArchTree) -> np.ndarray:
    """(V,) for each node of a tree by layers, which level and operation it stands for, as a number.

    Raises:
        HnasError: if a level of the tree does not stand for a layer.
    """
    codes = np.full((tree.num_nodes, tree.depth), -1)
    for v in reversed(range(tree.num_nodes)):  # the operations that all architectures under a node share
        if tree.num_children[v]:
            below = codes[tree.first_child[v] : tree.first_child[v] + tree.num_children[v]]
            codes[v] = np.where((below == below[0]).all(axis=0), below[0], -1)
        elif len(tree.archs[tree.arch_index[v]]) == tree.depth:
            codes[v] = tree.archs[tree.arch_index[v]]
    op = np.array([codes[v, level - 1] if level else -1 for v, level in enumerate(tree.level)])
    if np.any(op[1:] < 0) or np.any(tree.level[tree.arch_index >= 0] < tree.depth):
        raise HnasError(
            "communication needs a tree whose levels are the layers, with nodes that stand for an operation: "
            "the default tree"
        )
    return np.unique(np.column_stack([tree.level, op]), axis=0, return_inverse=True)[1].reshape(-1)


class MCTSReg(MCTS):
    """Tree search whose equivalent nodes, same level and same operation, learn from each other.

    The "MCTS + Reg." baseline (Sec. 3, "Tree Search"; Su et al., 2021a), for the default tree. C and the
    exploration term are those of Eq. 3 and 4, so that it differs from :class:`MCTS` in this alone. Two
    readings of the regularisation:

    - ``shared_table`` (Su et al.): an average G of the rewards of each level and operation, smoothed with
      beta from 0 on, is added to C with the weight ``coefficient`` (C2 there).
    - ``equivalent_nodes`` (the present paper's wording): a node's update also moves C of its equivalents,
      ``coefficient`` times as far; their visits stay as they are.

    Args:
        tree: the default tree.
        communication: ``shared_table`` or ``equivalent_nodes``.
        coefficient: from 0 (plain MCTS) to 1.
        beta, exploration, temperature: see :class:`MCTS`.

    Attributes:
        table: (groups,) G of each level and operation (used by ``shared_table``).

    Raises:
        HnasError: for another tree, or settings out of range.
    """

    def __init__(
        self,
        tree: ArchTree,
        communication: str = "shared_table",
        coefficient: float = 0.2,
        beta: float = 0.95,
        exploration: float = 0.5,
        temperature: float = 0.02,
    ) -> None:
        super().__init__(tree, beta, exploration, temperature)
        require_one_of("communication", communication, COMMUNICATIONS)
        if not 0 <= coefficient <= 1:
            raise HnasError(f"coefficient is {coefficient}; allowed: 0 to 1")
        self.communication, self.coefficient = communication, coefficient
        self._group_nodes(_equivalent(tree))

    def state_dict(self) -> dict:
        return super().state_dict() | {"table": torch.from_numpy(self.table.copy())}

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state)
        self.table[:] = state["table"].numpy()

"""Samplers over a window of MACs in a space that is too large to list (Sec. 5.4).

They walk layer by layer and leave out what cannot be completed inside the window, so no draw is wasted.
"""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from scipy.special import softmax

from hnas_kit.cost import BudgetSampler, Place
from hnas_kit.errors import HnasError, require_one_of
from hnas_kit.samplers import compiled
from hnas_kit.samplers.flat import Uniform
from hnas_kit.samplers.mcts import TreeSearch, with_settings
from hnas_kit.samplers.sampler import Sampler, Smoothed
from hnas_kit.spaces import LISTED, Arch

COMMUNICATIONS = ("", "shared_table")  # equivalent nodes may be millions
NOBODY = (np.zeros(0, np.int64),) * 2  # of the members of groups, which only equivalent nodes need


class InBudget(Sampler):
    """What samplers over a window share: their uniform draws, and how probabilities follow from one layer's.

    Args:
        budget: the window.
    """

    archs = None  # too many to list

    def __init__(self, budget: BudgetSampler) -> None:
        self.budget = budget

    def sample_uniform(self, rng: np.random.Generator) -> Arch:
        return self.budget.sample(rng, 1)[0]

    @abstractmethod
    def _choices(self, layer: int, place: Place, node: int) -> list[tuple[int, Place, int, float]]:
        """Operation, place and node after it, and probability, of all that can be completed."""

    def probabilities(self) -> dict[Arch, float]:
        """As :meth:`Sampler.probabilities`; raises :class:`HnasError` if there are too many to list."""
        if self.budget.count() > LISTED:
            raise HnasError(f"the window has {self.budget.count():.4g} architectures, too many to list")
        return dict(self._walk((), self.budget.start, 0, 1.0))

    def _walk(self, arch: Arch, place: Place, node: int, probability: float) -> Iterator[tuple[Arch, float]]:
        if len(arch) == self.budget.space.num_layers:
            yield arch, probability
            return
        for op, after, below, share in self._choices(len(arch), place, node):
            yield from self._walk((*arch, op), after, below, probability * share)


class UniformInBudget(InBudget, Uniform):
    """All architectures in the window alike."""

    def _choices(self, layer: int, place: Place, node: int) -> list[tuple[int, Place, int, float]]:
        return [(op, after, 0, 1.0) for op, after in self.budget.choices(layer, place)]

    def probabilities(self) -> dict[Arch, float]:
        listed = super().probabilities()
        return dict.fromkeys(listed, 1 / len(listed))


class IndependentInBudget(InBudget, Smoothed):
    """Each layer draws by its own probabilities among what can be completed (Sec. 3, "independent").

    C is that of :class:`hnas_kit.samplers.Independent`; its softmax at temperature T is restricted to the
    operations after which the window can still be reached.

    Args:
        budget: the window.
        beta, temperature: see there.

    Attributes:
        value: (layers, operations) C, 1 at the start.
    """

    def __init__(self, budget: BudgetSampler, beta: float = 0.95, temperature: float = 0.02) -> None:
        super().__init__(budget)
        self.beta = beta
        self.anneal(temperature)
        self.value = np.ones((budget.space.num_layers, max(map(len, budget.space.ops))))

    def _choices(self, layer: int, place: Place, node: int) -> list[tuple[int, Place, int, float]]:
        open_ = self.budget.choices(layer, place)
        shares = softmax(self.value[layer, [op for op, _ in open_]] / self.temperature).tolist()
        return [(op, after, 0, share) for (op, after), share in zip(open_, shares, strict=True)]

    def sample(self, rng: np.random.Generator) -> Arch:
        """Draw an architecture; takes one uniform number a layer."""
        place, arch = self.budget.start, []
        for layer, draw in enumerate(rng.random(len(self.value))):
            open_ = self._choices(layer, place, 0)
            below = np.cumsum([share for *_, share in open_])
            op, place, *_ = open_[int(np.searchsorted(below, draw * below[-1], side="right"))]
            arch.append(op)
        return tuple(arch)

    def update(self, arch: Arch, reward: float) -> None:
        path = np.arange(len(arch)), list(arch)
        self.value[path] = self.beta * self.value[path] + (1 - self.beta) * reward

    def greedy(self) -> Arch:
        """In each layer the operation of largest C among those that can be completed."""
        place, arch = self.budget.start, []
        for layer in range(len(self.value)):
            op, place = max(
                self.budget.choices(layer, place), key=lambda choice: self.value[layer, choice[0]]
            )
            arch.append(op)
        return tuple(arch)


class GrowingTree:
    """The default tree of a space in a window, layer by layer, grown where it is walked; with its statistics.

    Children of a node are neighbours and lie behind it. There is room for more nodes than there are.

    Args:
        budget: the window.
        counted: whether the prior of a node is the number of architectures behind it, see
            :meth:`hnas_kit.cost.BudgetSampler.behind`, or 1.

    Attributes:
        num_nodes: V.
        nodes: (at least V,) of :data:`hnas_kit.samplers.compiled.NODE`, no children yet: 0; the group is the
            number of the layer and operation a node stands for, 0 for the root. Besides: ``layer``, number of
            choices from the root; ``op`` that led to the node; ``state`` and ``total``, the place it stands
            at, see :meth:`hnas_kit.cost.BudgetSampler.choices`; ``cell`` of the grid, if they are counted.
    """

    MORE = (("layer", "i4"), ("op", "i4"), ("state", "i8"), ("total", "i8"), ("cell", "i8"))
    NODE = np.dtype([*((name, compiled.NODE[name]) for name in compiled.NODE.names), *MORE], align=True)

    def __init__(self, budget: BudgetSampler, counted: bool = False) -> None:
        self.budget, self.counted, self.num_nodes = budget, counted, 1
        self.widest = max(map(len, budget.space.ops))
        self.nodes = np.zeros(1024, self.NODE)
        root = self.nodes[0]
        root["parent"], root["value"], root["score"] = -1, 1.0, 1.0
        root["prior"], (root["state"], root["total"]) = 1.0, budget.start

    def place(self, node: int) -> Place:
        return int(self.nodes["state"][node]), int(self.nodes["total"][node])

    def children(self, node: int) -> range:
        """A node's children, grown if they were not there."""
        layer, first = int(self.nodes["layer"][node]), self.num_nodes
        if self.nodes["num_children"][node]:
            first = int(self.nodes["first_child"][node])
            return range(first, first + int(self.nodes["num_children"][node]))
        choices = self.budget.choices(layer, self.place(node))
        self.num_nodes = first + len(choices)
        if self.num_nodes > len(self.nodes):
            self.nodes = np.concatenate([self.nodes, np.zeros_like(self.nodes)])
        new, ops = self.nodes[first : self.num_nodes], np.array([op for op, _ in choices])
        new["parent"], new["layer"], new["op"], new["value"], new["score"] = node, layer + 1, ops, 1.0, 1.0
        new["group"] = 1 + layer * self.widest + ops
        new["state"], new["total"] = zip(*(after for _, after in choices), strict=True)
        new["prior"] = 1.0
        if self.counted:
            above = self.nodes[node]
            new["cell"], new["prior"] = self.budget.behind(layer, above["state"], ops, above["cell"])
        self.nodes["first_child"][node], self.nodes["num_children"][node] = first, len(choices)
        return range(first, self.num_nodes)

    def leaf(self, arch: Arch) -> int:
        """The leaf of an architecture in the window, grown if it was not there."""
        node = 0
        for op in arch:
            node = next(child for child in self.children(node) if self.nodes["op"][child] == op)
        return node

    def arch(self, leaf: int) -> Arch:
        """The architecture of a leaf."""
        ops = []
        while leaf:
            ops.append(int(self.nodes["op"][leaf]))
            leaf = self.nodes["parent"][leaf]
        return tuple(reversed(ops))

    def state_dict(self) -> dict:
        there = self.nodes[: self.num_nodes]
        return {name: torch.from_numpy(there[name].copy()) for name in self.NODE.names}

    def load_state_dict(self, state: dict) -> None:
        self.num_nodes = len(state["parent"])
        self.nodes = np.zeros(max(self.num_nodes, 1024), self.NODE)
        there = self.nodes[: self.num_nodes]
        for name in self.NODE.names:
            there[name] = state[name].numpy()


class MCTSInBudget(TreeSearch, InBudget):
    """Tree search on the default tree of the window, plain or with a shared table (MCTS + Reg., Su et al.).

    It draws as :class:`hnas_kit.samplers.MCTS`, or with ``communication`` :class:`hnas_kit.samplers.MCTSReg`,
    does on the default tree of all architectures in the window; but the tree grows where the search goes.

    Args:
        budget: the window.
        communication: ``shared_table``, or empty for plain tree search.
        coefficient: weight of what is communicated, from 0 to 1.
        beta, exploration, temperature, bonus, start, warmup, refresh: see :class:`hnas_kit.samplers.MCTS`.
        prior: likewise; ``leaves`` are counted on the grid by which the window's uniform draws go, which is
            a little wider than the window where the grid is not exact.

    Attributes:
        tree: the tree so far, with C and visit counts.
        table: (groups,) G of each layer and operation.
    """

    @with_settings
    def __init__(
        self,
        budget: BudgetSampler,
        communication: str = "",
        coefficient: float = 0.2,
        *settings: float | str,
        **named: float | str,
    ) -> None:
        require_one_of("communication", communication, COMMUNICATIONS)
        self._set(communication, coefficient, *settings, **named)
        self.budget, self.tree = budget, GrowingTree(budget, counted=self.prior == "leaves")
        self.table = np.zeros(1 + budget.space.num_layers * self.tree.widest)
        self._scratch = np.empty(self.tree.widest)

    def _draw(self, rng: np.random.Generator, temperature: float) -> Arch:
        tree, node = self.tree, 0
        draws = rng.random(self.budget.space.num_layers)
        while (layer := int(tree.nodes["layer"][node])) < len(draws):
            tree.children(node)
            node = compiled.descend(
                tree.nodes, self.table, tuple(self.rule), node, temperature, draws[layer:], self._scratch
            )
        return tree.arch(node)

    def update(self, arch: Arch, reward: float) -> None:
        leaf = self.tree.leaf(arch)
        compiled.backup(self.tree.nodes, self.table, NOBODY, tuple(self.rule), leaf, float(reward))

    def _choices(self, layer: int, place: Place, node: int) -> list[tuple[int, Place, int, float]]:
        tree, children = self.tree, self.tree.children(node)
        first, last = children.start, children.stop
        scores = compiled.scores(tree.nodes, self.table, tuple(self.rule), first, last) / self.temperature
        shares = softmax(scores + np.log(tree.nodes["prior"][first:last])).tolist()
        ops = tree.nodes["op"][first:last].tolist()
        return list(zip(ops, map(tree.place, children), children, shares, strict=True))

    def greedy(self) -> Arch:
        """At every node the child of largest C, with what communication adds to it."""
        node = 0
        while self.tree.nodes["layer"][node] < self.budget.space.num_layers:
            own = self.tree.children(node)  # may grow the tree, whose nodes are others then
            known = self.tree.nodes[own]
            node = own[int(np.argmax(known["value"] + self.rule.weight * self.table[known["group"]]))]
        return self.tree.arch(node)

    def state_dict(self) -> dict[str, Any]:
        return {"tree": self.tree.state_dict(), "table": torch.from_numpy(self.table.copy())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.tree.load_state_dict(state["tree"])
        self.table[:] = state["table"].numpy()

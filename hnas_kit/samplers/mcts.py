"""Monte-Carlo tree search on any tree, Boltzmann sampling, and regularised tree search (Sec. 3 and 4)."""

import copy
import inspect
import math
from abc import abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
import torch

from hnas_kit import trees
from hnas_kit.errors import HnasError, require_one_of
from hnas_kit.names import COMMUNICATIONS, PRIORS, READINGS
from hnas_kit.samplers import compiled
from hnas_kit.samplers.sampler import Sampler
from hnas_kit.spaces import Arch
from hnas_kit.trees import ArchTree

CODES = {
    "": compiled.NONE,
    "shared_table": compiled.SHARED_TABLE,
    "equivalent_nodes": compiled.EQUIVALENT_NODES,
}
LEARNED = ("value", "visits", "score")  # of a node


class TreeSearch(Sampler):
    """What tree search is over any tree: how its settings are checked, how it draws, anneals and exploits.

    Attributes:
        rule: lambda, beta and the readings, as the compiled loops take them.
        temperature: T of Eq. 2.
        warmup: what the uniform phases draw alike.
        prior: ``branches``, or ``leaves``: a branch is worth the architectures behind it, see :data:`PRIORS`.
    """

    phased = True
    rule: compiled.Rule

    def _set(
        self,
        communication: str,
        coefficient: float,
        beta: float = 0.95,
        exploration: float = 0.5,
        temperature: float = 0.02,
        bonus: str = "sqrt",
        start: str = "one",
        warmup: str = "architectures",
        refresh: str = "draw",
        prior: str = "branches",
    ) -> None:
        if not (0 <= beta < 1 and 0 <= exploration < math.inf and 0 <= coefficient <= 1):
            raise HnasError(
                f"beta is {beta}, exploration {exploration}, coefficient {coefficient}; "
                "allowed: 0 <= beta < 1, 0 <= exploration < inf, 0 <= coefficient <= 1"
            )
        readings = {"bonus": bonus, "start": start, "refresh": refresh, "warmup": warmup, "prior": prior}
        for name, value in readings.items():
            require_one_of(name, value, (READINGS | {"prior": PRIORS})[name])
        self.rule = compiled.Rule(
            exploration=float(exploration),
            linear=bonus == "linear",
            stored=refresh == "path",
            first=start == "first",
            beta=float(beta),
            weight=float(coefficient) if communication == "shared_table" else 0.0,
            communication=CODES[communication],
            coefficient=float(coefficient),
        )
        self.warmup, self.prior = warmup, prior
        self.anneal(temperature)

    @abstractmethod
    def _draw(self, rng: np.random.Generator, temperature: float) -> Arch:
        """Walk down the tree at this T; takes as many uniform numbers as the tree has levels."""

    def sample(self, rng: np.random.Generator) -> Arch:
        return self._draw(rng, self.temperature)

    def sample_uniform(self, rng: np.random.Generator) -> Arch:
        return self._draw(rng, math.inf) if self.warmup == "branches" else super().sample_uniform(rng)

    def anneal(self, temperature: float) -> None:
        if not temperature > 0:
            raise HnasError(f"temperature is {temperature}; allowed: temperature > 0")
        self.temperature = float(temperature)

    def exploit(self) -> "TreeSearch":
        """Draws by C at lambda = 0; a stored R holds a bonus, so it is not used."""
        other = copy.copy(self)
        other.rule = self.rule._replace(exploration=0.0, stored=False)
        return other


def with_settings(init: Callable) -> Callable:
    """Have the signature of ``init`` name the settings of tree search that it hands on."""
    own = list(inspect.signature(init).parameters.values())[:-2]
    _, _, _, *shared = inspect.signature(TreeSearch._set).parameters.values()
    init.__signature__ = inspect.Signature([*own, *shared])
    return init


class MCTS(TreeSearch):
    """Tree search with Boltzmann selection over a UCT reward, on any tree (Sec. 4, Eq. 2 to 4).

    The tree is fully expanded from the start, so there is neither expansion nor roll-out. An unvisited node
    counts as visited once in the exploration bonus.

    Args:
        tree: learned, default or any other tree.
        beta: smoothing of C (Eq. 4), from 0 to below 1.
        exploration: lambda, at least 0.
        temperature: T of Eq. 2, above 0.
        bonus, start, warmup, refresh: readings of the paper, see :data:`READINGS`.
        prior: ``branches``; or, beyond the paper, ``leaves``: R / T of a branch gets the logarithm of its
            number of leaves at every draw, so that where nothing is known all architectures are equally
            likely. The path of highest probability goes by C alone.

    Attributes:
        value: (V,) C of each node, 1 at the start.
        visits: (V,) visit count ``|a|`` of each node.
        nodes: (V,) of :data:`hnas_kit.samplers.compiled.NODE`: the tree, C, visits and a stored R.
        table: (groups,) G of each group of equivalent nodes; plain tree search has a single one, unused.

    Raises:
        HnasError: for settings out of range.
    """

    @with_settings
    def __init__(self, tree: ArchTree, *settings: float | str, **named: float | str) -> None:
        self._set("", 0.0, *settings, **named)
        self.begin(tree)

    def _groups(self, tree: ArchTree) -> np.ndarray:
        """(V,) the group of equivalent nodes that each is in."""
        return np.zeros(tree.num_nodes, dtype=np.int64)

    def begin(self, tree: ArchTree) -> None:
        """Start on a tree with nothing learned."""
        group, self._replanted = self._groups(tree), False
        self.tree, self.archs, self._depth = tree, tree.archs, tree.depth
        self._scratch = np.empty(tree.num_children.max())
        self.nodes = np.zeros(len(group), compiled.NODE)
        for name in ("parent", "first_child", "num_children"):
            self.nodes[name] = getattr(tree, name)
        self.nodes["group"], self.nodes["value"], self.nodes["score"] = group, 1.0, 1.0
        self.nodes["prior"] = tree.sizes if self.prior == "leaves" else 1.0
        self.table = np.zeros(group.max() + 1)
        starts = np.concatenate([[0], np.cumsum(np.bincount(group))])
        self.members = starts, np.argsort(group, kind="stable")

    def replant(self, tree: ArchTree) -> None:
        """Go on with another tree over the same architectures, with what is known of the present one.

        See :func:`hnas_kit.samplers.compiled.carried`. Beyond the paper, whose search keeps its tree.

        Raises:
            HnasError: if its architectures are not the same, or the sampler needs another kind of tree.
        """
        origin, nodes, table = trees.origins(self.tree, tree), self.nodes, self.table
        self.begin(tree)
        self._replanted, self.table = True, table
        self.nodes = compiled.carried(nodes, self.nodes, origin, table, tuple(self.rule))

    @property
    def value(self) -> np.ndarray:
        return self.nodes["value"]

    @property
    def visits(self) -> np.ndarray:
        return self.nodes["visits"]

    def _draw(self, rng: np.random.Generator, temperature: float) -> Arch:
        rule, draws = tuple(self.rule), rng.random(self._depth)
        leaf = compiled.descend(self.nodes, self.table, rule, 0, temperature, draws, self._scratch)
        return self.archs[self.tree.arch_index[leaf]]

    def update(self, arch: Arch, reward: float) -> None:
        leaf = self.tree.leaf[arch]
        compiled.backup(self.nodes, self.table, self.members, tuple(self.rule), leaf, float(reward))

    def _means(self) -> np.ndarray:
        """(V,) C of each node, with what communication adds to it."""
        return self.value + self.rule.weight * self.table[self.nodes["group"]]

    def terms(self) -> tuple[np.ndarray, np.ndarray]:
        """The two terms of R for each node, both (V,): C, and what exploration adds to it (0 for the root).

        A stored R is of the counts when it was stored, so then the second term is what R has beyond C now.
        """
        means = self._means()
        bonus = compiled.scores(self.nodes, self.table, tuple(self.rule), 0, len(means)) - means
        bonus[0] = 0.0
        return means, bonus

    def sibling_spread(self) -> tuple[float, float]:
        """How much each term of Eq. 3 favours one sibling over another, in units of T.

        Returns:
            For C and for the exploration bonus: largest minus smallest value among siblings, over T,
            averaged over the nodes whose children were all visited (nan if there is none).
        """
        inner = np.flatnonzero(self.tree.num_children)
        first = self.tree.first_child[inner] - 1  # siblings are neighbours, and all but the root are some
        seen = (self.tree.num_children[inner] > 1) & (np.minimum.reduceat(self.visits[1:], first) > 0)
        if not seen.any():
            return math.nan, math.nan
        ranges = [
            np.mean((np.maximum.reduceat(term[1:], first) - np.minimum.reduceat(term[1:], first))[seen])
            for term in self.terms()
        ]
        return float(ranges[0] / self.temperature), float(ranges[1] / self.temperature)

    def conditional(self) -> np.ndarray:
        """(V,) probability of each node given its parent (Eq. 2, and the prior); 1 for the root."""
        value, bonus = self.terms()
        score = (value + bonus) / self.temperature
        parent = self.tree.parent
        best = np.full(self.tree.num_nodes, -np.inf)
        np.maximum.at(best, parent[1:], score[1:])
        weight = np.ones(self.tree.num_nodes)
        weight[1:] = np.exp(score[1:] - best[parent[1:]]) * self.nodes["prior"][1:]
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

    def state_dict(self) -> dict:
        learned = {name: self.nodes[name] for name in LEARNED} | {"table": self.table}
        if self._replanted:
            learned["tree"] = np.frombuffer(self.tree.to_bytes(), np.uint8)
        return {name: torch.from_numpy(array.copy()) for name, array in learned.items()}

    def load_state_dict(self, state: dict) -> None:
        if "tree" in state:
            self.begin(trees.load(state["tree"].numpy().tobytes()))
            self._replanted = True
        for name in LEARNED:
            self.nodes[name] = state[name].numpy()
        self.table[:] = state["table"].numpy()


class Boltzmann(MCTS):
    """A Boltzmann distribution over all architectures: p(a) ~ exp(C(a) / T) (Sec. 3, "joint probabilities").

    The same as tree search without exploration on a tree that is flat: nothing is factorised, and a reward
    tells about no other architecture.

    Args:
        archs: the architectures.
        beta: smoothing of C (Eq. 4), from 0 to below 1.
        temperature: T, above 0.
        start: see :class:`MCTS`.
    """

    phased = False

    def __init__(
        self, archs: Sequence[Arch], beta: float = 0.95, temperature: float = 0.02, start: str = "one"
    ) -> None:
        super().__init__(trees.flat(archs), beta, 0.0, temperature, start=start)


class MCTSReg(MCTS):
    """Tree search whose equivalent nodes, same level and same operation, learn from each other.

    The "MCTS + Reg." baseline (Sec. 3, "Tree Search"; Su et al., 2021a), for the default tree. C and the
    exploration term are those of :class:`MCTS`, from which it differs in this alone. Two readings of the
    regularisation:

    - ``shared_table`` (Su et al.): an average G of the rewards of each level and operation, smoothed with
      beta from 0 on, is added to C with the weight ``coefficient`` (C2 there).
    - ``equivalent_nodes`` (the present paper's wording): a node's update also moves C of its equivalents,
      ``coefficient`` times as far; their visits and a stored R stay as they are.

    Args:
        tree: the default tree.
        communication: ``shared_table`` or ``equivalent_nodes``.
        coefficient: from 0 (plain MCTS) to 1.
        beta, exploration, temperature, bonus, start, warmup, refresh, prior: see :class:`MCTS`.

    Attributes:
        table: (groups,) G of each level and operation (used by ``shared_table``).

    Raises:
        HnasError: for another tree, or settings out of range.
    """

    @with_settings
    def __init__(
        self,
        tree: ArchTree,
        communication: str = "shared_table",
        coefficient: float = 0.2,
        *settings: float | str,
        **named: float | str,
    ) -> None:
        require_one_of("communication", communication, COMMUNICATIONS)
        self._set(communication, coefficient, *settings, **named)
        self.begin(tree)

    def _groups(self, tree: ArchTree) -> np.ndarray:
        """(V,) which level and operation each node of a tree by layers stands for, as a number."""
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
                "communication needs a tree whose levels are the layers, with nodes that stand for an "
                "operation: the default tree"
            )
        return np.unique(np.column_stack([tree.level, op]), axis=0, return_inverse=True)[1].reshape(-1)

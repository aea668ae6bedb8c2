"""Tree search: Eq. 2 to 4 by hand, against a plain one, flat (Boltzmann), and regularised."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from common import ARCHS, SPACE
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.cluster import hierarchy

from hnas_kit import trees
from hnas_kit.errors import HnasError
from hnas_kit.files import torch_bytes, torch_value
from hnas_kit.samplers import COMMUNICATIONS, MCTS, PRIORS, READINGS, Boltzmann, MCTSReg, compiled
from hnas_kit.spaces import Arch, SearchSpace

A, B, C = (0,), (1,), (2,)


def learned_tree(n: int = 36, seed: int = 0) -> trees.ArchTree:
    points = np.random.default_rng(seed).standard_normal((n, 3))
    return trees.learned(np.linalg.norm(points[:, None] - points, axis=2), ARCHS[:n])


TREES = {
    "learned": learned_tree(),
    "default": trees.default(SPACE),
    "random": trees.random(ARCHS, seed=1),
}


def three_leaves(**settings: float) -> MCTS:
    """The tree root -> (c, (a, b)): nodes 0 root, 1 leaf c, 2 inner node, 3 leaf a, 4 leaf b."""
    return MCTS(trees.learned([1.0, 4.0, 4.0], [A, B, C], linkage="average"), **settings)


def trained(tree: trees.ArchTree, updates: int, seed: int, **settings: float) -> MCTS:
    """MCTS after rewards that differ by architecture and vary, for architectures drawn uniformly."""
    rng = np.random.default_rng(seed)
    sampler = MCTS(tree, **settings)
    good = rng.random(tree.num_leaves)
    for i in rng.integers(tree.num_leaves, size=updates):
        sampler.update(tree.archs[i], 0.5 + 0.1 * good[i] + 0.02 * rng.standard_normal())
    return sampler


# the equations, worked out by hand


def test_equation_4_smooths_the_accuracy_from_the_leaf_up():
    s = three_leaves(beta=0.5)
    assert s.value[1:].tolist() == [1, 1, 1, 1]
    s.update(A, 0.6)  # a and (a, b): 0.5 x 1 + 0.5 x 0.6 = 0.8
    np.testing.assert_allclose(s.value[1:], [1, 0.8, 0.8, 1], rtol=1e-15)
    s.update(B, 0.2)  # b: 0.5 x 1 + 0.5 x 0.2 = 0.6; (a, b): 0.5 x 0.8 + 0.5 x 0.2 = 0.5
    np.testing.assert_allclose(s.value[1:], [1, 0.5, 0.8, 0.6], rtol=1e-15)
    assert s.visits.tolist() == [2, 0, 2, 1, 1]


def test_equation_3_adds_the_exploration_bonus():
    s = three_leaves(beta=0.5, exploration=0.5)
    s.update(A, 0.6)
    s.update(B, 0.2)
    value, bonus = s.terms()
    np.testing.assert_array_equal(value, s.value)
    # sqrt(ln 2) = 0.8325546, sqrt(ln(2) / 2) = 0.5887050; half of it each, lambda being 0.5
    # c was never visited and counts as visited once, as a and b were: 0.5 x 0.8325546 = 0.4162773
    # (a, b) was visited twice: 0.5 x 0.5887050 = 0.2943525
    np.testing.assert_allclose(bonus, [0, 0.4162773, 0.2943525, 0.4162773, 0.4162773], atol=1e-7)


def test_equation_2_is_a_softmax_over_siblings():
    s = three_leaves(beta=0.5, exploration=0.5, temperature=0.5)
    s.update(A, 0.6)
    s.update(B, 0.2)
    # root: R(c) = 1 + 0.4162773, R((a, b)) = 0.5 + 0.2943525, difference 0.6219248, over T 1.2438496:
    #   p(c) = 1 / (1 + exp(-1.2438496)) = 0.7762334
    # (a, b): the bonus is the same, C differs by 0.2, over T 0.4: p(a) = 1 / (1 + exp(-0.4)) = 0.5986877
    np.testing.assert_allclose(s.conditional(), [1, 0.7762334, 0.2237666, 0.5986877, 0.4013123], atol=1e-6)
    p = s.probabilities()
    assert p[C] == pytest.approx(0.7762334, abs=1e-6)
    assert p[A] == pytest.approx(0.2237666 * 0.5986877, abs=1e-6)
    assert p[B] == pytest.approx(0.2237666 * 0.4013123, abs=1e-6)


def test_a_fresh_search_takes_every_turn_alike():
    p = three_leaves().probabilities()
    assert (p[A], p[B], p[C]) == pytest.approx((0.25, 0.25, 0.5))


def test_siblings_spread_by_hand():
    s = three_leaves(beta=0.5, exploration=0.5, temperature=0.5)
    assert all(map(math.isnan, s.sibling_spread()))  # no node has seen all of its children
    s.update(A, 0.6)
    s.update(B, 0.2)
    # only (a, b) has: C 0.8 and 0.6, over T 0.4; the bonus is the same
    assert s.sibling_spread() == pytest.approx((0.4, 0))
    s.update(C, 0.2)
    # root too: C 0.6 and 0.5 give 0.2, mean 0.3; ln 3 = 1.0986123, 0.5 sqrt(ln 3) = 0.5240735 for c,
    # 0.5 sqrt(ln(3) / 2) = 0.3705759 for (a, b), 0.1534976 apart, over T 0.3069951, mean 0.1534976
    assert s.sibling_spread() == pytest.approx((0.3, 0.1534976), abs=1e-6)


# exact probabilities


@st.composite
def states(draw) -> MCTS:
    """MCTS on a random tree with visits that add up and any values."""
    n = draw(st.integers(2, 20))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    tree = draw(st.sampled_from([trees.random(ARCHS[:n], 5), trees.default(SPACE, ARCHS[-n:])]))
    sampler = MCTS(
        tree,
        exploration=draw(st.sampled_from([0.0, 0.1, 0.5, 5.0])),
        temperature=10.0 ** draw(st.integers(-6, 3)),
    )
    sampler.value[:] = rng.random(tree.num_nodes)
    for v in range(tree.num_nodes - 1, 0, -1):
        if tree.num_children[v] == 0:
            sampler.visits[v] = rng.integers(draw(st.sampled_from([1, 3, 1000])))
        sampler.visits[tree.parent[v]] += sampler.visits[v]
    return sampler


@given(states())
@settings(deadline=None)
def test_probabilities_add_up(sampler):
    p = sampler.probabilities()
    assert set(p) == set(sampler.archs)
    assert min(p.values()) >= 0
    assert sum(p.values()) == pytest.approx(1, abs=1e-12)
    assert sampler.sample(np.random.default_rng(0)) in p


@given(states())
@settings(deadline=None)
def test_a_node_is_as_probable_as_its_leaves_together(sampler):
    tree = sampler.tree
    through = np.zeros(tree.num_nodes)
    for arch, p in sampler.probabilities().items():
        v = tree.leaf[arch]
        while v >= 0:
            through[v] += p
            v = tree.parent[v]
    np.testing.assert_allclose(sampler.node_probabilities(), through, atol=1e-12)
    siblings = np.bincount(tree.parent[1:], weights=sampler.conditional()[1:], minlength=tree.num_nodes)
    np.testing.assert_allclose(siblings[tree.num_children > 0], 1, atol=1e-12)


# the same search, plain


class Node:
    """A node object of a plain tree search."""

    def __init__(self, nested: object, parent: Node | None = None) -> None:
        self.parent, self.c, self.n = parent, 1.0, 0
        self.arch = nested if isinstance(nested, tuple) else None
        self.children = [] if self.arch else [Node(child, self) for child in nested]

    def uct(self, exploration: float) -> float:
        return self.c + exploration * math.sqrt(math.log(max(self.parent.n, 1)) / max(self.n, 1))

    def choose(self, exploration: float, temperature: float, draw: float) -> Node:
        rewards = [child.uct(exploration) for child in self.children]
        weights = [math.exp((r - max(rewards)) / temperature) for r in rewards]
        up_to = [p / sum(weights) for p in itertools.accumulate(weights)]
        return next((c for c, p in zip(self.children, up_to, strict=True) if draw < p), self.children[-1])

    def leaves(self) -> list[Node]:
        return [self] if self.arch else [leaf for child in self.children for leaf in child.leaves()]


def nested_by_clustering(n: int, seed: int) -> list:
    """The learned tree of :func:`learned_tree` as nested lists, straight from scipy."""
    points = np.random.default_rng(seed).standard_normal((n, 3))
    matrix = np.linalg.norm(points[:, None] - points, axis=2)

    def nested(node: hierarchy.ClusterNode) -> object:
        return ARCHS[node.id] if node.is_leaf() else [nested(node.left), nested(node.right)]

    upper = matrix[np.triu_indices(n, 1)]
    return nested(hierarchy.to_tree(hierarchy.linkage(upper, "ward")))


def nested_by_layers(beginning: tuple[int, ...] = ()) -> object:
    """The default tree as nested lists, by trying every operation."""
    if len(beginning) == 9:
        return beginning
    longer = [(*beginning, op) for op in (0, 1)]
    return [nested_by_layers(b) for b in longer if any(arch[: len(b)] == b for arch in ARCHS)]


@pytest.mark.parametrize(
    ("tree", "nested"),
    [(TREES["learned"], nested_by_clustering(36, 0)), (TREES["default"], nested_by_layers())],
    ids=["learned", "default"],
)
@pytest.mark.parametrize("exploration", [0.05, 0.5])
def test_mcts_is_the_plain_search(tree, nested, exploration):
    steps, beta, ends = 3000, 0.95, (0.1, 0.005)
    rng = np.random.default_rng(7)
    good = dict(zip(ARCHS, rng.random(36), strict=True))
    noise = rng.standard_normal(steps)
    rewards = [{arch: 0.6 + 0.2 * good[arch] + 0.05 * noise[t] for arch in ARCHS} for t in range(steps)]
    temperatures = np.linspace(*ends, steps).tolist()

    root, plain, plain_rng = Node(nested), [], np.random.default_rng(11)
    for t in range(steps):
        node = root
        for draw in plain_rng.random(tree.depth):
            if node.children:
                node = node.choose(exploration, temperatures[t], draw)
        plain.append(node.arch)
        reward = rewards[t][node.arch]
        while node:
            node.c = beta * node.c + (1 - beta) * reward
            node.n += 1
            node = node.parent

    sampler, kit, kit_rng = MCTS(tree, beta, exploration), [], np.random.default_rng(11)
    for t in range(steps):
        sampler.anneal(temperatures[t])
        kit.append(sampler.sample(kit_rng))
        sampler.update(kit[-1], rewards[t][kit[-1]])

    assert kit == plain
    assert len(set(kit)) > 20  # it explored
    queue = [root]  # breadth first, as the arrays are numbered
    for node in queue:
        queue += node.children
    assert sampler.visits.tolist() == [node.n for node in queue]
    np.testing.assert_allclose(sampler.value[1:], [node.c for node in queue[1:]], rtol=1e-12)
    greedy = root
    while greedy.children:
        greedy = max(greedy.children, key=lambda child: child.c)
    assert sampler.greedy() == greedy.arch


# readings of the paper (READINGS)


def test_the_bonus_of_algorithm_1_divides_by_the_visits_themselves():
    s = three_leaves(beta=0.5, exploration=0.5, bonus="linear")
    for arch in (A, A, B, C):
        s.update(arch, 0.5)
    # root 4 visits, c 1, (a, b) 3, a 2, b 1: 0.5 sqrt(ln 4) = 0.5887050 and 0.5 sqrt(ln 3) = 0.5240735
    np.testing.assert_allclose(s.terms()[1], [0, 0.5887050, 0.1962350, 0.2620368, 0.5240735], atol=1e-7)
    s = three_leaves(beta=0.5, exploration=0.5)
    for arch in (A, A, B, C):
        s.update(arch, 0.5)
    np.testing.assert_allclose(s.terms()[1], [0, 0.5887050, 0.3398890, 0.3705760, 0.5240735], atol=1e-7)


def test_the_bonuses_at_a_hundred_visits_under_a_thousand():
    for bonus, expected in (("sqrt", 0.1314130), ("linear", 0.0131413)):  # 0.5 sqrt(ln 1000 / 100), and / 10
        s = three_leaves(exploration=0.5, bonus=bonus)
        s.visits[:] = [1000, 900, 100, 50, 50]
        assert s.terms()[1][2] == pytest.approx(expected, abs=1e-7)


def test_a_first_reward_replaces_c():
    s = three_leaves(beta=0.5, start="first")
    s.update(A, 0.6)
    np.testing.assert_allclose(s.value[1:], [1, 0.6, 0.6, 1], rtol=1e-15)
    s.update(B, 0.2)  # b: 0.2; (a, b): 0.5 x 0.6 + 0.5 x 0.2
    np.testing.assert_allclose(s.value[1:], [1, 0.4, 0.6, 0.2], rtol=1e-15)


def test_a_stored_reward_is_renewed_on_the_path_alone_when_all_of_it_is_counted():
    s = three_leaves(beta=0.5, exploration=0.5, refresh="path")
    np.testing.assert_array_equal(s.nodes["score"][1:], [1, 1, 1, 1])  # at first C, without a bonus
    s.update(A, 0.6)  # the root has 1 visit: ln 1 = 0; a and (a, b) have 0.8
    np.testing.assert_allclose(s.nodes["score"][1:], [1, 0.8, 0.8, 1], rtol=1e-15)
    s.update(A, 0.6)  # C is 0.7; root 2 visits, (a, b) 2, a 2: 0.7 + 0.5 sqrt(ln 2 / 2) = 0.9943525
    np.testing.assert_allclose(s.nodes["score"][1:], [1, 0.9943525, 0.9943525, 1], atol=1e-7)
    s.update(C, 0.2)  # c: 0.6 + 0.5 sqrt(ln 3) = 1.1240735; what was not walked keeps its R
    np.testing.assert_allclose(s.nodes["score"][1:], [1.1240735, 0.9943525, 0.9943525, 1], atol=1e-7)
    np.testing.assert_allclose(s.terms()[1][1:], [0.5240735, 0.2943525, 0.2943525, 0], atol=1e-7)
    s.anneal(0.5)
    up = math.exp(1.1240735 / 0.5), math.exp(0.9943525 / 0.5)
    assert s.probabilities()[C] == pytest.approx(up[0] / sum(up), abs=1e-6)
    assert s.exploit().probabilities()[C] == pytest.approx(1 / (1 + math.exp(0.1 / 0.5)))  # by C: 0.6 and 0.7


def test_uniform_phases_over_branches_halve_at_every_node():
    rng = np.random.default_rng(0)
    for warmup, expected in (("architectures", 1 / 3), ("branches", 1 / 2)):
        s = three_leaves(warmup=warmup)
        for arch in (A, A, A, B):
            s.update(arch, 0.2)  # what was learned plays no part
        drawn = [s.sample_uniform(rng) for _ in range(4000)]
        assert drawn.count(C) / 4000 == pytest.approx(expected, abs=0.03)
        assert drawn.count(A) / 4000 == pytest.approx((1 - expected) / 2, abs=0.03)


def scalar_probabilities(
    readings: dict[str, str], rewards: list[tuple[Arch, float]], lam: float, temperature: float, beta: float
) -> dict[Arch, float]:
    """The tree root -> (c, (a, b)) searched with plain numbers, every reading written out."""
    parent = {"ab": "root", C: "root", A: "ab", B: "ab"}
    c, n, stored = dict.fromkeys(parent, 1.0), dict.fromkeys([*parent, "root"], 0), dict.fromkeys(parent, 1.0)

    def reward_of(node):
        bonus = math.sqrt(math.log(max(n[parent[node]], 1)))
        bonus /= max(n[node], 1) if readings["bonus"] == "linear" else math.sqrt(max(n[node], 1))
        return c[node] + lam * bonus

    for arch, reward in rewards:
        path = [arch] if arch == C else [arch, "ab"]
        for node in path:
            keep = 0 if readings["start"] == "first" and n[node] == 0 else beta
            c[node] = keep * c[node] + (1 - keep) * reward
        for node in [*path, "root"]:
            n[node] += 1
        for node in path:
            stored[node] = reward_of(node)
    r = stored if readings["refresh"] == "path" else {node: reward_of(node) for node in parent}
    e = {node: math.exp(value / temperature) for node, value in r.items()}
    at_root, below = e["ab"] / (e["ab"] + e[C]), e[A] / (e[A] + e[B])
    return {A: at_root * below, B: at_root * (1 - below), C: 1 - at_root}


EVERY_READING = [
    dict(zip(READINGS, values, strict=True)) for values in itertools.product(*map(list, READINGS.values()))
]


@pytest.mark.parametrize("readings", EVERY_READING, ids=lambda r: "-".join(r.values()))
def test_probabilities_follow_every_combination_of_readings(readings):
    rng = np.random.default_rng(12)
    s = three_leaves(beta=0.9, exploration=0.3, temperature=0.2, **readings)
    assert set(s.probabilities().values()) == {0.25, 0.5}  # nothing is known
    rewards = []
    for _ in range(30):
        rewards.append((s.sample(rng), float(rng.random())))
        s.update(*rewards[-1])
        expected = scalar_probabilities(readings, rewards, 0.3, 0.2, 0.9)
        assert s.probabilities() == pytest.approx(expected, abs=1e-12)


@given(
    seed=st.integers(0, 10_000), leaves=st.integers(2, 9), readings=st.sampled_from(EVERY_READING),
    updates=st.integers(0, 25), prior=st.sampled_from(list(PRIORS)),
)  # fmt: skip
def test_leaves_are_drawn_as_walking_down_says_under_any_reading(seed, leaves, readings, updates, prior):
    tree, rng = trees.random(ARCHS[:leaves], seed), np.random.default_rng(seed)
    s = MCTS(tree, exploration=0.4, temperature=0.3, prior=prior, **readings)
    for _ in range(updates):
        s.update(s.sample(rng), float(rng.random()))

    def walk(node: int, probability: float) -> dict[Arch, float]:
        if not tree.num_children[node]:
            return {tree.archs[tree.arch_index[node]]: probability}
        children = range(tree.first_child[node], tree.first_child[node] + tree.num_children[node])
        scores = [sum(term[child] for term in s.terms()) for child in children]
        weights = [math.exp(score / 0.3) for score in scores]
        if prior == "leaves":
            weights = [w * len(tree.members[child]) for w, child in zip(weights, children, strict=True)]
        found = {}
        for child, weight in zip(children, weights, strict=True):
            found |= walk(child, probability * weight / sum(weights))
        return found

    assert s.probabilities() == pytest.approx(walk(0, 1.0), abs=1e-9)


@pytest.mark.parametrize("name", READINGS)
def test_an_unknown_reading_is_refused_by_name(name):
    with pytest.raises(
        HnasError, match=rf"\Aunknown {name} 'squared'.*allowed: {', '.join(READINGS[name])}\Z"
    ):
        three_leaves(**{name: "squared"})


# a prior that knows how many architectures are behind a branch


def test_the_prior_by_hand():
    s = three_leaves(beta=0.5, exploration=0.5, temperature=0.5, prior="leaves")
    assert s.probabilities() == pytest.approx({A: 1 / 3, B: 1 / 3, C: 1 / 3})
    s.update(A, 0.6)
    s.update(B, 0.2)
    # as in test_equation_2, but (a, b) counts twice: p(c) = 1 / (1 + 2 exp(-1.2438496)) = 0.6342985; within
    # (a, b) nothing changes
    np.testing.assert_allclose(s.conditional(), [1, 0.6342985, 0.3657015, 0.5986877, 0.4013123], atol=1e-6)
    np.testing.assert_array_equal(s.terms()[0], s.value)  # neither C nor the bonus has it
    # at lambda = 0: C 1 and 0.5, over T 1: p(c) = 1 / (1 + 2 exp(-1)) = 0.5761169; the path goes by C alone
    assert s.exploit().probabilities()[C] == pytest.approx(0.5761169, abs=1e-6)
    s.value[:] = [1, 0.50, 0.49, 0.1, 0.2]
    assert s.greedy() == s.exploit().greedy() == C
    assert max(s.exploit().probabilities().values()) > s.exploit().probabilities()[C]


@st.composite
def any_trees(draw) -> trees.ArchTree:
    """Even and uneven trees, of two to many children a node."""
    archs = draw(st.lists(st.sampled_from(ARCHS), min_size=2, max_size=36, unique=True))
    seed = draw(st.integers(0, 1000))
    points = 1.5 ** np.arange(len(archs))  # merged one by one
    uneven = trees.learned(np.abs(points[:, None] - points), archs, "average")
    even = trees.accuracy(points, archs)
    return draw(
        st.sampled_from(
            [trees.random(archs, seed), uneven, even, trees.default(SPACE, archs), trees.flat(archs)]
        )
    )


@given(
    tree=any_trees(), c=st.floats(0, 1), temperature=st.sampled_from([1e-4, 0.02, 1.0, 1e6]),
    readings=st.sampled_from(EVERY_READING),
)  # fmt: skip
def test_where_nothing_is_known_all_architectures_are_equally_likely(tree, c, temperature, readings):
    s = MCTS(tree, exploration=0.0, temperature=temperature, prior="leaves", **readings)
    s.value[:] = s.nodes["score"][:] = c
    s.visits[:] = np.random.default_rng(0).integers(1, 100, tree.num_nodes)  # play no part
    for sampler in (s, s.exploit()):
        p = sampler.probabilities()
        assert p == pytest.approx(dict.fromkeys(tree.archs, 1 / tree.num_leaves), rel=1e-9)


def drawn_by_enumeration(sampler: MCTS, temperature: float, grid: int) -> dict[Arch, float]:
    """The share of all combinations of uniform numbers, on an even grid a level, that lead to each leaf.

    Draws of a level that is not reached are not used, so each branch is followed once.
    """
    tree, found = sampler.tree, {}

    def walk(node: int, share: float) -> None:
        n = tree.num_children[node]
        if not n:
            found[tree.archs[tree.arch_index[node]]] = share
            return
        counts = dict.fromkeys(range(tree.first_child[node], tree.first_child[node] + n), 0)
        alone = sampler.nodes.copy()
        alone["num_children"][list(counts)] = 0  # a walk of one level
        for k in range(grid):
            draws = np.array([(k + 0.5) / grid])
            rule = tuple(sampler.rule)
            child = compiled.descend(alone, sampler.table, rule, node, temperature, draws, np.empty(n))
            counts[child] += 1
        for child, count in counts.items():
            walk(child, share * count / grid)

    walk(0, 1.0)
    return found


@pytest.mark.parametrize("seed", range(5))
def test_the_compiled_walk_draws_all_alike_too_and_so_does_a_warm_up_by_branches(seed):
    tree = trees.random(ARCHS[: 7 + 5 * seed], seed)
    s = MCTS(tree, exploration=0.0, prior="leaves", warmup="branches")
    for temperature in (s.temperature, math.inf):
        found = drawn_by_enumeration(s, temperature, 5040)
        assert found == pytest.approx(dict.fromkeys(tree.archs, 1 / tree.num_leaves), rel=0.02)
    s.update(tree.archs[0], 0.0)  # a warm-up stays uniform
    drawn = [s.sample_uniform(rng) for rng in [np.random.default_rng(seed)] for _ in range(6000)]
    counts = [drawn.count(arch) for arch in tree.archs]
    assert stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("communication", COMMUNICATIONS)
def test_regularised_search_has_the_prior_too(communication):
    s = MCTSReg(TREES["default"], communication, exploration=0.0, prior="leaves")
    assert s.probabilities() == pytest.approx(dict.fromkeys(ARCHS, 1 / 36))
    assert len(set(MCTSReg(TREES["default"], communication).probabilities().values())) > 1


def test_a_state_from_before_there_was_a_prior_is_a_state_of_either():
    before = trained(TREES["learned"], 50, 0).state_dict()
    assert before.keys() == {"value", "visits", "score", "table"}
    for prior in PRIORS:
        s = MCTS(TREES["learned"], prior=prior)
        s.load_state_dict(before)
        np.testing.assert_array_equal(s.value, before["value"])
        assert s.nodes["prior"][0] == (36 if prior == "leaves" else 1)


def test_an_unknown_prior_is_refused_by_name():
    with pytest.raises(HnasError, match=r"\Aunknown prior 'nodes'.*allowed: branches, leaves\Z"):
        three_leaves(prior="nodes")


# a tree that is replaced while it is searched


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
@pytest.mark.parametrize("settings", [{}, {"refresh": "path"}, {"start": "first"}, {"prior": "leaves"}])
def test_an_unchanged_tree_changes_no_bit(tree, settings):
    kept, replaced = (trained(tree, 60, 3, **settings) for _ in range(2))
    rngs = [np.random.default_rng(4) for _ in range(2)]
    for step in range(40):
        if step % 10 == 0:
            replaced.replant(trees.load(replaced.tree.to_bytes()))
        arch = kept.sample(rngs[0])
        assert replaced.sample(rngs[1]) == arch
        for s in (kept, replaced):
            s.update(arch, step / 40)
            s.anneal(0.02 + step / 100)
    assert kept.nodes.tobytes() == replaced.nodes.tobytes()
    assert kept.table.tobytes() == replaced.table.tobytes()
    assert replaced.greedy() == kept.greedy()


def test_what_is_carried_over_by_hand():
    s = three_leaves(beta=0.5, exploration=0.5, refresh="path")  # c, (a, b)
    for arch, reward in ((A, 0.6), (A, 0.4), (B, 0.2), (C, 0.8)):
        s.update(arch, reward)
    # C: a (1 + 0.6) / 2 = 0.8, then 0.6; b 0.6; c 0.9
    known = {arch: s.nodes[s.tree.leaf[arch]] for arch in (A, B, C)}
    assert [known[arch]["value"] for arch in (A, B, C)] == pytest.approx([0.6, 0.6, 0.9])
    s.replant(trees.learned([4.0, 1.0, 4.0], [A, B, C], linkage="average"))  # b, (a, c)
    assert s.archs[s.tree.arch_index[1]] == B
    for arch, before in known.items():
        assert (
            s.nodes[s.tree.leaf[arch]][["value", "visits", "score"]] == before[["value", "visits", "score"]]
        )
    assert s.visits.tolist()[:3] == [4, 1, 3]
    # (a, c): 2 visits of 0.6 and one of 0.9: 2.1 / 3; R = 0.7 + 0.5 sqrt(ln 4 / 3)
    assert s.value[2] == pytest.approx(0.7)
    assert s.nodes["score"][2] == pytest.approx(0.7 + 0.5 * math.sqrt(math.log(4) / 3))


def test_a_new_node_without_visits_starts_as_any_other():
    s = three_leaves(refresh="path")
    s.update(B, 0.5)
    s.replant(trees.learned([4.0, 1.0, 4.0], [A, B, C], linkage="average"))
    assert s.nodes[2][["value", "visits", "score"]].item() == (1.0, 0, 1.0)


def test_visits_add_up_on_the_new_tree_and_the_prior_is_of_the_new_tree():
    s = trained(TREES["learned"], 500, 5, prior="leaves")
    s.replant(TREES["default"])
    tree = s.tree
    below = np.bincount(tree.parent[1:], weights=s.visits[1:], minlength=tree.num_nodes)
    np.testing.assert_array_equal(below[tree.num_children > 0], s.visits[tree.num_children > 0])
    np.testing.assert_array_equal(s.nodes["prior"], tree.sizes)


def test_a_replaced_tree_goes_through_a_file():
    s = trained(TREES["learned"], 100, 6, refresh="path")
    assert "tree" not in s.state_dict()
    s.replant(TREES["random"])
    s.update(ARCHS[3], 0.4)
    again = MCTS(TREES["learned"], refresh="path")
    again.load_state_dict(torch_value(torch_bytes(s.state_dict())))
    assert again.nodes.tobytes() == s.nodes.tobytes()
    assert torch_bytes(again.state_dict()) == torch_bytes(s.state_dict())
    rngs = [np.random.default_rng(7) for _ in range(2)]
    assert [s.sample(rngs[0]) for _ in range(20)] == [again.sample(rngs[1]) for _ in range(20)]


def test_a_regularised_search_keeps_to_trees_by_layers():
    s = MCTSReg(TREES["default"])
    s.update(ARCHS[0], 0.5)
    before = s.nodes.tobytes(), s.table.tobytes()
    s.replant(trees.load(TREES["default"].to_bytes()))
    assert (s.nodes.tobytes(), s.table.tobytes()) == before
    with pytest.raises(HnasError, match="communication needs a tree whose levels are the layers"):
        s.replant(TREES["random"])
    assert (s.tree.num_nodes, s.nodes.tobytes(), s.table.tobytes()) == (len(s.nodes), *before)  # it goes on


# what else a sampler offers


def test_greedy_follows_the_largest_c_and_not_the_best_leaf():
    s = three_leaves()
    s.value[:] = [1, 0.6, 0.7, 0.2, 0.3]  # the turn to (a, b) is better than c, though c is the best leaf
    assert s.greedy() == B
    s.visits[:] = [100, 1, 99, 1, 98]  # nothing is explored
    assert s.greedy() == B


def test_exploit_shares_what_was_learned_and_explores_nothing():
    s = trained(TREES["learned"], updates=300, seed=4, beta=0.9, exploration=0.5, temperature=0.03)
    greedy = s.exploit()
    assert (greedy.rule.exploration, greedy.temperature, greedy.rule.beta) == (0, 0.03, 0.9)
    assert s.rule.exploration == 0.5
    assert not np.allclose(greedy.node_probabilities(), s.node_probabilities())
    s.update(ARCHS[0], 0.1)
    assert np.shares_memory(greedy.value, s.value)
    assert np.shares_memory(greedy.visits, s.visits)
    np.testing.assert_array_equal(greedy.terms()[1], 0)
    best = max(greedy.probabilities().values())
    greedy.anneal(1e-6)
    assert best < 0.9
    assert greedy.probabilities()[s.greedy()] == pytest.approx(1)


def test_a_draw_takes_the_same_numbers_however_long_its_path():
    sampler = trained(TREES["learned"], updates=200, seed=8)
    lengths = {int(sampler.tree.level[v]) for v in sampler.tree.leaf.values()}
    assert len(lengths) > 1
    used, counted = np.random.default_rng(9), np.random.default_rng(9)
    for _ in range(20):
        sampler.sample(used)
        counted.random(sampler.tree.depth)
        assert used.bit_generator.state == counted.bit_generator.state


@pytest.mark.parametrize("tree", TREES)
def test_extreme_temperatures_are_stable(tree):
    sampler = trained(TREES[tree], updates=300, seed=10)
    rng = np.random.default_rng(0)
    for temperature in (1e-6, 1e-12, 1e12):
        sampler.anneal(temperature)
        p = sampler.node_probabilities()
        assert np.all(np.isfinite(p))
        drawn = {sampler.sample(rng) for _ in range(200)}
        assert len(drawn) == 1 if temperature < 1 else len(drawn) > 10
        assert all(sampler.probabilities()[arch] > 0 for arch in drawn)
    fresh_p = MCTS(TREES[tree]).node_probabilities()
    np.testing.assert_allclose(p, fresh_p, rtol=1e-9)  # T = 1e12: every turn alike


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"beta": 1.0}, "beta is 1.0.*0 <= beta < 1"),
        ({"beta": -0.1}, "beta is -0.1"),
        ({"exploration": -0.1}, "exploration -0.1"),
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"temperature": math.nan}, "temperature is nan"),
    ],
)
def test_settings_out_of_range_are_refused_in_one_line(settings, complaint):
    with pytest.raises(HnasError, match=rf"\A.*{complaint}.*\Z"):
        MCTS(TREES["learned"], **settings)


# Boltzmann: nothing is factorised


def test_boltzmann_is_a_softmax_over_architectures_by_hand():
    s = Boltzmann([A, B, C], beta=0.5, temperature=0.5)
    assert s.probabilities() == pytest.approx({A: 1 / 3, B: 1 / 3, C: 1 / 3})
    s.update(A, 0.6)  # 0.5 x 1 + 0.5 x 0.6 = 0.8
    s.update(B, 0.2)  # 0.6
    s.update(B, 0.2)  # 0.4
    # C / T is 1.6, 0.8 and 2; less 2 its exponentials are 0.6703200, 0.3011942 and 1, sum 1.9715142
    by_hand = {A: 0.3400026, B: 0.1527730, C: 0.5072243}
    assert s.probabilities() == pytest.approx(by_hand, abs=1e-7)
    assert s.greedy() == C


@given(st.integers(0, 2**32), st.sampled_from([0.0025, 0.02, 0.5, 100.0]))
@settings(deadline=None)
def test_boltzmann_is_the_softmax_of_c_over_t_and_visits_do_not_count(seed, temperature):
    rng = np.random.default_rng(seed)
    s = Boltzmann(ARCHS, temperature=temperature)
    c = rng.random(36)
    for arch, value in zip(ARCHS, c, strict=True):
        s.value[s.tree.leaf[arch]] = value
    s.visits[:] = rng.integers(100, size=37)
    weights = np.exp((c - c.max()) / temperature)
    np.testing.assert_allclose([s.probabilities()[arch] for arch in ARCHS], weights / weights.sum())


def test_boltzmann_learns_of_the_drawn_architecture_alone():
    s, rng = Boltzmann(ARCHS, beta=0.8, temperature=0.1), np.random.default_rng(3)
    c = dict.fromkeys(ARCHS, 1.0)
    for _ in range(300):
        arch, reward = s.sample(rng), rng.random()
        s.update(arch, reward)
        c[arch] = 0.8 * c[arch] + 0.2 * reward
        assert {a: s.value[s.tree.leaf[a]] for a in ARCHS} == pytest.approx(c, rel=1e-14)
    assert s.greedy() == max(c, key=c.get)
    assert s.exploit().probabilities() == s.probabilities()  # it never explores


# regularised tree search


class Grid(SearchSpace):
    """Some layers of some operations each, all allowed."""

    def __init__(self, layers: int, ops: int) -> None:
        self.name, self.ops = "grid", (tuple("abcdef"[:ops]),) * layers


FOUR = trees.default(Grid(2, 2))  # nodes: 0 root, 1 (0), 2 (1), 3 (0, 0), 4 (0, 1), 5 (1, 0), 6 (1, 1)


def test_a_shared_table_by_hand():
    s = MCTSReg(FOUR, "shared_table", coefficient=0.5, beta=0.5, exploration=0.0, temperature=0.5)
    s.update((0, 1), 0.6)
    # C of (0) and (0, 1): 0.5 x 1 + 0.5 x 0.6 = 0.8; G of layer 1 operation 0 and of layer 2 operation 1:
    # 0.5 x 0 + 0.5 x 0.6 = 0.3, of which half is added wherever that operation stands
    np.testing.assert_allclose(s.value[1:], [0.8, 1, 1, 0.8, 1, 1], rtol=1e-15)
    np.testing.assert_allclose(s.terms()[0][1:], [0.95, 1, 1, 0.95, 1, 1.15], rtol=1e-15)
    assert s.visits.tolist() == [1, 1, 0, 0, 1, 0, 0]
    # p((1)) = 1 / (1 + exp(-0.05 / 0.5)), p((1, 1)) given (1) = 1 / (1 + exp(-0.15 / 0.5))
    assert s.conditional()[[2, 6]] == pytest.approx([0.5249792, 0.5744425], abs=1e-7)
    s.update((1, 1), 0.2)
    # C: (1) 0.6, (1, 1) 0.6; G of layer 1 operation 1: 0.1, of layer 2 operation 1: 0.15 + 0.1 = 0.25
    np.testing.assert_allclose(s.value[1:], [0.8, 0.6, 1, 0.8, 1, 0.6], rtol=1e-15)
    np.testing.assert_allclose(s.terms()[0][1:], [0.95, 0.65, 1, 0.925, 1, 0.725], rtol=1e-15)
    assert s.greedy() == (0, 0)


def test_equivalent_nodes_by_hand():
    s = MCTSReg(FOUR, "equivalent_nodes", coefficient=0.5, beta=0.5, exploration=0.0, temperature=0.5)
    s.update((0, 1), 0.6)
    # (0) and (0, 1): 0.8; (1, 1) is equivalent to the latter and goes half as far, a quarter of the way: 0.9;
    # (0) has no equivalent
    np.testing.assert_allclose(s.terms()[0][1:], [0.8, 1, 1, 0.8, 1, 0.9], rtol=1e-15)
    assert s.visits.tolist() == [1, 1, 0, 0, 1, 0, 0]
    assert s.conditional()[[1, 5]] == pytest.approx([0.4013123, 0.5498340], abs=1e-7)  # 0.2 and 0.1 over T
    s.update((1, 1), 0.2)
    # (1): 0.6; (1, 1): 0.45 + 0.1 = 0.55; (0, 1): 0.8 - 0.6 / 4 = 0.65
    np.testing.assert_allclose(s.terms()[0][1:], [0.8, 0.6, 1, 0.65, 1, 0.55], rtol=1e-15)
    assert s.visits.tolist() == [2, 1, 1, 0, 1, 0, 1]
    assert s.greedy() == (0, 0)


@pytest.mark.parametrize("communication", COMMUNICATIONS)
def test_without_communication_it_is_plain_tree_search_step_by_step(communication):
    tree = TREES["default"]
    regularised, plain = MCTSReg(tree, communication, coefficient=0.0), MCTS(tree)
    rngs, noise = [np.random.default_rng(4), np.random.default_rng(4)], np.random.default_rng(5).random(2000)
    for step in range(2000):
        drawn = []
        for s, rng in zip((regularised, plain), rngs, strict=True):
            s.anneal(0.1 - 0.09 * step / 2000)
            drawn.append(s.sample(rng))
            s.update(
                drawn[-1], 0.3 + 0.01 * sum(i * op for i, op in enumerate(drawn[-1])) + 0.1 * noise[step]
            )
        assert drawn[0] == drawn[1]
    np.testing.assert_array_equal(regularised.value, plain.value)
    np.testing.assert_array_equal(regularised.visits, plain.visits)
    assert regularised.probabilities() == plain.probabilities()
    assert np.count_nonzero(plain.visits) > 100


def test_at_full_strength_all_equivalent_nodes_have_the_same_value():
    tree = trees.default(Grid(4, 3))
    s, rng = MCTSReg(tree, "equivalent_nodes", coefficient=1.0), np.random.default_rng(6)
    for _ in range(200):
        s.update(s.sample(rng), rng.random())
    seen = {}
    for arch, v in tree.leaf.items():
        while v > 0:
            seen.setdefault((tree.level[v], arch[tree.level[v] - 1]), set()).add(round(s.value[v], 12))
            v = tree.parent[v]
    assert len(seen) == 12
    assert all(len(values) == 1 for values in seen.values())
    assert len(set().union(*seen.values())) == 12


class PlainReg:
    """Regularised tree search on beginnings of architectures, with dictionaries and no arrays."""

    def __init__(self, archs: list[Arch], communication: str, coefficient: float, settings: dict) -> None:
        beginnings = {arch[:n] for arch in archs for n in range(len(archs[0]) + 1)}
        self.children = {b: sorted(c for c in beginnings if c[:-1] == b and c) for b in beginnings}
        self.c, self.n = dict.fromkeys(beginnings, 1.0), dict.fromkeys(beginnings, 0)
        self.table: dict[tuple[int, int], float] = {}
        self.communication, self.coefficient = communication, coefficient
        self.beta, self.exploration, self.temperature = settings.values()

    def score(self, node: Arch) -> float:
        bonus = math.sqrt(math.log(max(self.n[node[:-1]], 1)) / max(self.n[node], 1))
        shared = self.table.get((len(node), node[-1]), 0.0) if self.communication == "shared_table" else 0.0
        return self.c[node] + self.coefficient * shared + self.exploration * bonus

    def sample(self, rng: np.random.Generator) -> Arch:
        node: Arch = ()
        for draw in rng.random(max(map(len, self.c))):
            scores = [self.score(child) for child in self.children[node]]
            weights = [math.exp((score - max(scores)) / self.temperature) for score in scores]
            passed = [up_to <= draw * sum(weights) for up_to in itertools.accumulate(weights)]
            node = self.children[node][min(sum(passed), len(weights) - 1)]
        return node

    def update(self, arch: Arch, reward: float) -> None:
        self.n[()] += 1
        for length in range(1, len(arch) + 1):
            node = arch[:length]
            self.n[node] += 1
            for other in self.c:
                if other == node:
                    self.c[other] = self.beta * self.c[other] + (1 - self.beta) * reward
                elif len(other) == length and other[-1] == node[-1] and self.communication != "shared_table":
                    step = self.coefficient * (1 - self.beta)
                    self.c[other] = (1 - step) * self.c[other] + step * reward
            place = length, node[-1]
            self.table[place] = self.beta * self.table.get(place, 0.0) + (1 - self.beta) * reward


@pytest.mark.parametrize("communication", COMMUNICATIONS)
@pytest.mark.parametrize("coefficient", [0.2, 1.0])
@pytest.mark.parametrize("space", [SPACE, Grid(3, 4)], ids=["pooling", "grid"])
def test_regularised_search_is_the_plain_one_with_dictionaries(space, communication, coefficient):
    settings = {"beta": 0.9, "exploration": 0.2, "temperature": 0.05}
    tree = trees.default(space)
    plain = PlainReg(space.enumerate(), communication, coefficient, settings)
    kit = MCTSReg(tree, communication, coefficient, **settings)
    rngs = np.random.default_rng(7), np.random.default_rng(7)
    rewards = np.random.default_rng(8).random(1000) * 0.2
    for reward in rewards.tolist():
        drawn = plain.sample(rngs[0])
        assert kit.sample(rngs[1]) == drawn
        reward += 0.5 + 0.05 * drawn[0] - 0.03 * drawn[-1]
        plain.update(drawn, reward)
        kit.update(drawn, reward)
    for arch, v in tree.leaf.items():
        for length in range(len(arch), 0, -1):
            assert kit.visits[v] == plain.n[arch[:length]]
            assert kit.value[v] == pytest.approx(plain.c[arch[:length]], rel=1e-12)
            assert sum(term[v] for term in kit.terms()) == pytest.approx(
                plain.score(arch[:length]), rel=1e-12
            )
            v = tree.parent[v]
        assert v == 0
    greedy: Arch = ()
    plain.exploration = 0.0
    while plain.children[greedy]:
        greedy = max(plain.children[greedy], key=plain.score)
    assert kit.greedy() == kit.exploit().greedy() == greedy


@pytest.mark.parametrize(
    ("tree", "settings", "complaint"),
    [
        ("learned", {}, "needs a tree whose levels are the layers.*the default tree"),
        ("random", {}, "needs a tree whose levels are the layers"),
        ("flat", {}, "needs a tree whose levels are the layers"),
        (
            "default",
            {"communication": "shared_tables"},
            r"unknown communication.*did you mean 'shared_table'",
        ),
        ("default", {"communication": ""}, "unknown communication ''.*shared_table, equivalent_nodes"),
        ("default", {"coefficient": 1.1}, "coefficient 1.1; allowed: .*0 <= coefficient <= 1"),
        ("default", {"coefficient": -0.1}, "coefficient -0.1; allowed: .*0 <= coefficient <= 1"),
        ("default", {"coefficient": math.nan}, "coefficient nan; allowed: .*0 <= coefficient <= 1"),
        ("default", {"beta": 1.0}, "beta is 1.0"),
    ],
)
def test_what_makes_no_regularised_search_is_refused_in_one_line(tree, settings, complaint):
    tree = trees.flat(ARCHS) if tree == "flat" else TREES[tree]
    with pytest.raises(HnasError, match=rf"\A.*{complaint}.*\Z"):
        MCTSReg(tree, **settings)

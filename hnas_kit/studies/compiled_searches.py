"""Whole simulated searches, compiled: many seeds of each kind of sampler at once."""

from typing import NamedTuple

import numba
import numpy as np

from hnas_kit.samplers import compiled

GREEDY = 1e-300  # a temperature at which siblings that are not the best have no weight


class Plan(NamedTuple):
    """What all kinds of search follow."""

    seeds: np.ndarray  # (S,) uint32
    learns_from: int  # the first step whose reward is learned from
    draws_from: int  # the first step drawn by the sampler
    temperature: np.ndarray  # (steps,) T
    growth: np.ndarray  # (steps,) what the learning curve makes of an accuracy
    accuracy: np.ndarray  # (N,) that rewards follow
    batch_size: int
    path: bool  # the final choice is the path of highest probability


class Record(NamedTuple):
    """What the searches write."""

    chosen: np.ndarray  # (S, steps)
    rewards: np.ndarray  # (S, steps)
    candidates: np.ndarray  # (S, k) for the final choice


class OnTree(NamedTuple):
    """A sampler on a tree: where each search starts, and how it draws."""

    nodes: np.ndarray  # (V,), see hnas_kit.samplers.compiled.NODE
    table: np.ndarray  # (groups,) G
    member_starts: np.ndarray  # (groups + 1,), see hnas_kit.samplers.compiled.backup
    members: np.ndarray  # (V,)
    arch_index: np.ndarray  # (V,)
    leaf: np.ndarray  # (N,)
    depth: int  # of the deepest tree that it walks
    branches: bool  # the uniform phases draw the children of a node alike, not architectures
    flat: bool  # all architectures are children of the root: a Boltzmann distribution


class Later(NamedTuple):
    """Trees that a search on a tree goes on with, for G supernets K each; see :class:`OnTree`.

    All trees have as many nodes as the first one. Search s takes those of supernet s modulo G.
    """

    starts: np.ndarray  # (K,) steps, ascending
    nodes: np.ndarray  # (G, K, V) with nothing learned
    origin: np.ndarray  # (G, K, V) nodes of the tree before, see hnas_kit.trees.origins
    arch_index: np.ndarray  # (G, K, V)
    leaf: np.ndarray  # (G, K, N)


class ByLayer(NamedTuple):
    """A sampler with independent layers."""

    value: np.ndarray  # (L, O) C
    beta: float
    codes: np.ndarray  # (N, L)
    transitions: np.ndarray  # (L, S, O) of the automaton, -1 where there is none
    before: np.ndarray  # (L, S, O) architectures that come before those with this operation, in code order
    order: np.ndarray  # (N,) the architectures in code order


@compiled.kept
def _reward(plan, i, step):
    """The share of a mini-batch that is answered correctly."""
    return np.random.binomial(plan.batch_size, plan.accuracy[i] * plan.growth[step]) / plan.batch_size


@compiled.kept
def boltzmann_draw(value, sums, known, temperature):
    """A draw of i with probability ~ exp(value[i] / T), without n exponentials each time.

    ``sums`` is a binary tree of sums of the weights at a temperature T0 of a while ago: its n leaves lie
    from the middle on, and a parent is the sum of its two children. A draw from it is kept with the ratio
    of the weights at T and T0 over the largest that this ratio can be, else another is made, so that what
    is drawn has exactly the probabilities at T. Weights are made anew before that is likely to fail.

    Args:
        value: (n,) C.
        sums: (2 m,) with m >= n a power of two.
        known: (4,) 1 / T0, the value of weight 1, and bounds of all values.
        temperature: T.
    """
    m = len(sums) // 2
    change = 1 / temperature - known[0]
    if abs(change) * (known[3] - known[2]) > 1 or not 1e-100 < sums[1] < 1e100:
        known[0], known[1], known[2], known[3] = 1 / temperature, value.max(), value.min(), value.max()
        change = 0.0
        for i in range(len(value)):
            sums[m + i] = np.exp((value[i] - known[1]) * known[0])
        for j in range(m - 1, 0, -1):
            sums[j] = sums[2 * j] + sums[2 * j + 1]
    bound = known[3] if change > 0 else known[2]
    while True:
        left, j = np.random.random() * sums[1], 1
        while j < m:
            j *= 2
            if left >= sums[j] and sums[j + 1] > 0:
                left -= sums[j]
                j += 1
        i = j - m
        if np.random.random() < np.exp(change * (value[i] - bound)):
            return i


@compiled.kept
def boltzmann_set(value, sums, known, i):
    """Tell the sums that a value has changed."""
    known[2], known[3] = min(known[2], value[i]), max(known[3], value[i])
    j = len(sums) // 2 + i
    sums[j] = np.exp((value[i] - known[1]) * known[0])
    while j > 1:
        j //= 2
        sums[j] = sums[2 * j] + sums[2 * j + 1]


@compiled.kept
def _tree_draw(tree, learned, rule, temperature, at_random):
    nodes, table, scratch, sums, known = learned
    if tree.flat and at_random:
        return boltzmann_draw(nodes["value"][-len(tree.leaf) :], sums, known, temperature)
    draws = np.zeros(tree.depth)
    if at_random:
        for level in range(tree.depth):
            draws[level] = np.random.random()
    return tree.arch_index[compiled.descend(nodes, table, rule, 0, temperature, draws, scratch)]


@compiled.kept
def _layers_draw(layers, value, tables, temperature, at_random):
    ops, draws = np.empty(len(value), dtype=np.int64), np.zeros(len(value))
    compiled.conditionals(value, layers.transitions, temperature, tables)
    if at_random:
        for layer in range(len(draws)):
            draws[layer] = np.random.random()
    compiled.draw_layers(tables, layers.transitions, draws, ops)
    state = place = 0
    for layer in range(len(ops)):
        place += layers.before[layer, state, ops[layer]]
        state = layers.transitions[layer, state, ops[layer]]
    return layers.order[place]


@compiled.kept
def _replant(tree, learned, rule, later, g, k):
    """Have a search go on with the k-th tree of supernet g: what is learned and its own tree are changed."""
    nodes = compiled.carried(learned[0], later.nodes[g, k], later.origin[g, k], learned[1], rule)
    for node in range(len(nodes)):
        learned[0][node] = nodes[node]
    tree.arch_index[:] = later.arch_index[g, k]
    tree.leaf[:] = later.leaf[g, k]


@compiled.kept
def _search(tree, rule, exploit, layers, later, plan, rows, s):
    """Search s; fills ``rows``, the rows of a :class:`Record`. Numba leaves out what is for None."""
    if tree is not None:
        size = 1
        while size < len(tree.leaf):
            size *= 2
        scratch = np.empty(tree.nodes["num_children"].max())
        learned = tree.nodes.copy(), tree.table.copy(), scratch, np.zeros(2 * size), np.zeros(4)
        own = OnTree(
            tree.nodes, tree.table, tree.member_starts, tree.members,
            tree.arch_index.copy(), tree.leaf.copy(), tree.depth, branches=tree.branches, flat=tree.flat,
        )  # fmt: skip
    if layers is not None:
        value, tables = layers.value.copy(), np.empty(layers.transitions.shape)
    for step in range(len(plan.temperature)):
        if later is not None:
            k = np.searchsorted(later.starts, step)
            if k < len(later.starts) and later.starts[k] == step:
                _replant(own, learned, rule, later, plan.seeds[s] % len(later.nodes), k)
        by_sampler, i = step >= plan.draws_from, -1
        if tree is not None and (by_sampler or tree.branches):
            i = _tree_draw(own, learned, rule, plan.temperature[step] if by_sampler else np.inf, True)
        if layers is not None and by_sampler:
            i = _layers_draw(layers, value, tables, plan.temperature[step], True)
        if i < 0:
            i = np.random.randint(len(plan.accuracy))
        reward = _reward(plan, i, step)
        if step >= plan.learns_from:
            if tree is not None:
                members = tree.member_starts, tree.members
                compiled.backup(learned[0], learned[1], members, rule, own.leaf[i], reward)
                if tree.flat and by_sampler:
                    boltzmann_set(learned[0]["value"][-len(tree.leaf) :], learned[3], learned[4], i)
            if layers is not None:
                for layer in range(len(value)):
                    op = layers.codes[i, layer]
                    value[layer, op] = layers.beta * value[layer, op] + (1 - layers.beta) * reward
        rows.chosen[step], rows.rewards[step] = i, reward
    temperature = GREEDY if plan.path else plan.temperature[-1]
    for k in range(len(rows.candidates)):
        if tree is not None:
            rows.candidates[k] = _tree_draw(own, learned, exploit, temperature, not plan.path)
        if layers is not None:
            rows.candidates[k] = _layers_draw(layers, value, tables, temperature, not plan.path)


@compiled.kept(parallel=True)
def search(tree, rule, exploit, layers, later, plan, record):
    """All seeds of a search on a tree or with independent layers; what is for the other one is None.

    If the tree stays the same ``later`` is None. On a tree it follows ``rule``, and its final choice
    ``exploit``. They are arguments of their own because Numba takes no tuple within a tuple into a parallel
    loop.
    """
    for s in numba.prange(len(plan.seeds)):
        np.random.seed(plan.seeds[s])
        rows = Record(record.chosen[s], record.rewards[s], record.candidates[s])
        _search(tree, rule, exploit, layers, later, plan, rows, s)


@compiled.kept(parallel=True)
def evolve(near, starts, population, tournament, plan, record):
    """All seeds of an evolution; the neighbours of i are ``near[starts[i]:starts[i + 1]]``.

    The population is what was drawn last.
    """
    for s in numba.prange(len(plan.seeds)):
        np.random.seed(plan.seeds[s])
        chosen, rewards = record.chosen[s], record.rewards[s]
        for step in range(len(plan.temperature)):
            if step < population:
                i = np.random.randint(len(starts) - 1)
            else:
                parent = step - 1 - np.random.randint(population)
                for _ in range(tournament - 1):
                    other = step - 1 - np.random.randint(population)
                    if rewards[other] > rewards[parent]:
                        parent = other
                i = chosen[parent]
                i = near[starts[i] + np.random.randint(starts[i + 1] - starts[i])]
            chosen[step], rewards[step] = i, _reward(plan, i, step)

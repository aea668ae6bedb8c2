"""Whole simulated searches, compiled: many seeds of each kind of sampler at once."""

from __future__ import annotations

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


class Leaves(NamedTuple):
    """Which architecture is where in a tree, and how its first phases draw."""

    arch_index: np.ndarray  # (V,)
    leaf: np.ndarray  # (N,)
    depth: int
    branches: bool  # the uniform phases draw the children of a node alike, not architectures


class Layers(NamedTuple):
    """A space as the search with independent layers walks it."""

    codes: np.ndarray  # (N, L)
    transitions: np.ndarray  # (L, S, O) of the automaton, -1 where there is none
    before: np.ndarray  # (L, S, O) architectures that come before those with this operation, in code order
    order: np.ndarray  # (N,) the architectures in code order


@numba.njit(cache=True)
def _reward(plan, i, step):
    """The share of a mini-batch that is answered correctly."""
    return np.random.binomial(plan.batch_size, plan.accuracy[i] * plan.growth[step]) / plan.batch_size


@numba.njit(cache=True)
def _tree_search(nodes, table, members, rule, exploit, leaves, plan, rows):
    """One search on a tree; fills ``rows``, the rows of a :class:`Record`."""
    nodes, table = nodes.copy(), table.copy()
    draws, scratch = np.empty(leaves.depth), np.empty(nodes["num_children"].max())
    for step in range(len(plan.temperature)):
        by_sampler = step >= plan.draws_from
        if by_sampler or leaves.branches:
            temperature = plan.temperature[step] if by_sampler else np.inf
            for level in range(leaves.depth):
                draws[level] = np.random.random()
            node = compiled.descend(nodes, table, rule, 0, temperature, draws, scratch)
            i = leaves.arch_index[node]
        else:
            i = np.random.randint(len(leaves.leaf))
        reward = _reward(plan, i, step)
        if step >= plan.learns_from:
            compiled.backup(nodes, table, members, rule, leaves.leaf[i], reward)
        rows.chosen[step], rows.rewards[step] = i, reward
    temperature = GREEDY if plan.path else plan.temperature[-1]
    for k in range(len(rows.candidates)):
        for level in range(leaves.depth):
            draws[level] = 0.0 if plan.path else np.random.random()
        node = compiled.descend(nodes, table, exploit, 0, temperature, draws, scratch)
        rows.candidates[k] = leaves.arch_index[node]


@numba.njit(parallel=True, cache=True)
def on_tree(nodes, table, members, rule, exploit, leaves, plan, record):
    """All seeds of a tree search, each from these nodes and table; the final choice draws by ``exploit``."""
    for s in numba.prange(len(plan.seeds)):
        np.random.seed(plan.seeds[s])
        rows = Record(record.chosen[s], record.rewards[s], record.candidates[s])
        _tree_search(nodes, table, members, rule, exploit, leaves, plan, rows)


@numba.njit(cache=True)
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


@numba.njit(cache=True)
def boltzmann_set(value, sums, known, i):
    """Tell the sums that a value has changed."""
    known[2], known[3] = min(known[2], value[i]), max(known[3], value[i])
    j = len(sums) // 2 + i
    sums[j] = np.exp((value[i] - known[1]) * known[0])
    while j > 1:
        j //= 2
        sums[j] = sums[2 * j] + sums[2 * j + 1]


@numba.njit(cache=True)
def _flat_search(start, first, beta, plan, rows):
    """One search with a Boltzmann distribution; ``first``: a first reward replaces C."""
    value, seen = start.copy(), np.zeros(len(start), dtype=np.bool_)
    size = 1
    while size < len(value):
        size *= 2
    sums, known = np.zeros(2 * size), np.zeros(4)
    for step in range(len(plan.temperature)):
        if step >= plan.draws_from:
            i = boltzmann_draw(value, sums, known, plan.temperature[step])
        else:
            i = np.random.randint(len(value))
        reward = _reward(plan, i, step)
        if step >= plan.learns_from:
            value[i] = reward if first and not seen[i] else beta * value[i] + (1 - beta) * reward
            seen[i] = True
            if step >= plan.draws_from:
                boltzmann_set(value, sums, known, i)
        rows.chosen[step], rows.rewards[step] = i, reward
    for k in range(len(rows.candidates)):
        if plan.path:
            rows.candidates[k] = value.argmax()
        else:
            rows.candidates[k] = boltzmann_draw(value, sums, known, plan.temperature[-1])


@numba.njit(parallel=True, cache=True)
def boltzmann(start, first, beta, plan, record):
    """All seeds of a search with a Boltzmann distribution, from C = ``start`` (N,)."""
    for s in numba.prange(len(plan.seeds)):
        np.random.seed(plan.seeds[s])
        rows = Record(record.chosen[s], record.rewards[s], record.candidates[s])
        _flat_search(start, first, beta, plan, rows)


@numba.njit(cache=True)
def _layers_draw(layers, tables, draws, ops):
    """A draw from the tables of all layers: which architecture it is."""
    compiled.draw_layers(tables, layers.transitions, draws, ops)
    state = place = 0
    for layer in range(len(ops)):
        place += layers.before[layer, state, ops[layer]]
        state = layers.transitions[layer, state, ops[layer]]
    return layers.order[place]


@numba.njit(cache=True)
def _layers_search(layers, start, beta, plan, rows):
    """One search with independent layers."""
    value, tables = start.copy(), np.empty(layers.transitions.shape)
    ops, draws = np.empty(len(value), dtype=np.int64), np.empty(len(value))
    for step in range(len(plan.temperature)):
        if step >= plan.draws_from:
            compiled.conditionals(value, layers.transitions, plan.temperature[step], tables)
            for layer in range(len(draws)):
                draws[layer] = np.random.random()
            i = _layers_draw(layers, tables, draws, ops)
        else:
            i = np.random.randint(len(layers.order))
        reward = _reward(plan, i, step)
        if step >= plan.learns_from:
            for layer in range(len(value)):
                op = layers.codes[i, layer]
                value[layer, op] = beta * value[layer, op] + (1 - beta) * reward
        rows.chosen[step], rows.rewards[step] = i, reward
    temperature = GREEDY if plan.path else plan.temperature[-1]
    compiled.conditionals(value, layers.transitions, temperature, tables)
    for k in range(len(rows.candidates)):
        for layer in range(len(draws)):
            draws[layer] = 0.0 if plan.path else np.random.random()
        rows.candidates[k] = _layers_draw(layers, tables, draws, ops)


@numba.njit(parallel=True, cache=True)
def by_layer(layers, start, beta, plan, record):
    """All seeds of a search with independent layers, from C = ``start`` (L, O)."""
    for s in numba.prange(len(plan.seeds)):
        np.random.seed(plan.seeds[s])
        rows = Record(record.chosen[s], record.rewards[s], record.candidates[s])
        _layers_search(layers, start, beta, plan, rows)


@numba.njit(parallel=True, cache=True)
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

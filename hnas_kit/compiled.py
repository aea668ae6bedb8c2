"""The inner loops of the samplers, compiled: one step each, for a single search or for many at once."""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np

NONE, SHARED_TABLE, EQUIVALENT_NODES = 0, 1, 2  # how the nodes of a tree communicate


class Tree(NamedTuple):
    """The shape of a tree of V nodes, see :class:`hnas_kit.trees.ArchTree`; each (V,)."""

    first_child: np.ndarray
    num_children: np.ndarray
    parent: np.ndarray


class Groups(NamedTuple):
    """Equivalent nodes: the nodes of group g are ``members[start[g]:start[g + 1]]``."""

    of: np.ndarray  # (V,) the group of each node
    start: np.ndarray  # (groups + 1,)
    members: np.ndarray  # (V,)


class State(NamedTuple):
    """What a search has learned."""

    value: np.ndarray  # (V,) C
    visits: np.ndarray  # (V,)
    score: np.ndarray  # (V,) R as it was last stored, for the reading that stores it
    table: np.ndarray  # (groups,) G


class Rule(NamedTuple):
    """How R follows from what was learned, and how a reward is learned from."""

    exploration: float  # lambda
    linear: bool  # the bonus of Algorithm 1 as typeset, else that of Eq. 3
    stored: bool  # R is recomputed for the nodes of the path just taken, else at every draw
    first: bool  # a node's first reward replaces C
    beta: float  # of Eq. 4
    weight: float  # of G in R
    communication: int
    coefficient: float  # of the communication between equivalent nodes


@numba.njit(cache=True)
def score(groups, state, rule, log_parent, node):
    """R of a node: C, G times ``weight``, and the exploration term.

    ``log_parent`` is the logarithm of its parent's visits. What was not visited counts as visited once.
    """
    value = state.value[node] + rule.weight * state.table[groups.of[node]]
    if rule.exploration > 0:
        visits = max(state.visits[node], 1)
        value += rule.exploration * math.sqrt(log_parent / (visits * visits if rule.linear else visits))
    return value


@numba.njit(cache=True)
def scores(tree, groups, state, rule, first, last):
    """R by which the nodes from ``first`` to before ``last`` are drawn now; that of the root is its C."""
    found = np.empty(last - first)
    for node in range(first, last):
        if rule.stored:
            found[node - first] = state.score[node]
        else:
            log_parent = math.log(max(state.visits[tree.parent[node]], 1)) if node else 0.0
            found[node - first] = score(groups, state, rule, log_parent, node)
    return found


@numba.njit(cache=True)
def descend(tree, groups, state, rule, node, temperature, draws, scratch):
    """Walk from a node to what has no children, choosing among siblings by Eq. 2, one uniform draw a level.

    At an infinite temperature siblings are drawn alike. ``scratch`` has room for all children of any node.
    """
    level = 0
    while tree.num_children[node] > 0:
        first, n = tree.first_child[node], tree.num_children[node]
        log_parent = math.log(max(state.visits[node], 1))
        best = -math.inf
        for i in range(n):
            child = first + i
            if rule.stored:
                scratch[i] = state.score[child]
            else:
                scratch[i] = score(groups, state, rule, log_parent, child)
            best = max(best, scratch[i])
        total = 0.0
        for i in range(n):
            scratch[i] = math.exp((scratch[i] - best) / temperature)
            total += scratch[i]
        left = draws[level] * total
        chosen = 0
        for i in range(n):
            chosen = i
            left -= scratch[i]
            if left < 0:
                break
        node = first + chosen
        level += 1
    return node


@numba.njit(cache=True)
def backup(tree, groups, state, rule, leaf, reward):
    """From a leaf up to the root: equivalent nodes learn too, C by Eq. 4, and one more visit.

    The root has no C. R is stored when all visits of the path have been counted.
    """
    node, beta = leaf, rule.beta
    while node > 0:
        group = groups.of[node]
        if rule.communication == SHARED_TABLE:
            state.table[group] = beta * state.table[group] + (1 - beta) * reward
        elif rule.communication == EQUIVALENT_NODES:
            for k in range(groups.start[group], groups.start[group + 1]):
                other = groups.members[k]
                if other != node:
                    state.value[other] += rule.coefficient * (1 - beta) * (reward - state.value[other])
        if rule.first and state.visits[node] == 0:
            state.value[node] = reward
        else:
            state.value[node] = beta * state.value[node] + (1 - beta) * reward
        state.visits[node] += 1
        node = tree.parent[node]
    state.visits[0] += 1
    node = leaf
    while rule.stored and node > 0:
        log_parent = math.log(state.visits[tree.parent[node]])
        state.score[node] = score(groups, state, rule, log_parent, node)
        node = tree.parent[node]


@numba.njit(cache=True)
def conditionals(value, transitions, temperature, tables):
    """Fill ``tables`` with p(operation | state) of each layer: all completions are weighed in.

    Args:
        value: (L, O) C of each operation of each layer.
        transitions: (L, S, O) state after each operation, -1 if it is not allowed there.
        temperature: T.
        tables: (L, S, O), filled; an allowed operation has a positive probability, unless it underflows.
    """
    layers, states, ops = transitions.shape
    ahead = np.zeros(states)  # log mass of the completions from each state
    for layer in range(layers - 1, -1, -1):
        before = np.full(states, -np.inf)
        for state in range(states):
            best = -np.inf
            for op in range(ops):
                after = transitions[layer, state, op]
                if after >= 0:
                    best = max(best, value[layer, op] / temperature + ahead[after])
            total = 0.0
            for op in range(ops):
                after = transitions[layer, state, op]
                weight = 0.0
                if after >= 0:
                    weight = math.exp(value[layer, op] / temperature + ahead[after] - best)
                tables[layer, state, op] = weight
                total += weight
            if total > 0:
                before[state] = best + math.log(total)
                for op in range(ops):
                    tables[layer, state, op] /= total
        ahead = before


@numba.njit(cache=True)
def draw_layers(tables, transitions, draws, ops):
    """Fill ``ops`` (L,) with one draw a layer from ``tables``."""
    state = 0
    for layer in range(len(ops)):
        left = draws[layer]
        for op in range(tables.shape[2]):
            if tables[layer, state, op] > 0:
                ops[layer] = op
                left -= tables[layer, state, op]
                if left < 0:
                    break
        state = transitions[layer, state, ops[layer]]

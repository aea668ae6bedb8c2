"""The inner loops of the samplers, compiled: one step each, for a single search or for many at once."""

from __future__ import annotations

import math

import numba
import numpy as np

NONE, SHARED_TABLE, EQUIVALENT_NODES = 0, 1, 2  # how the nodes of a tree communicate


@numba.njit(cache=True)
def descend(
    node,
    first_child,
    num_children,
    value,
    visits,
    table,
    group,
    weight,
    exploration,
    temperature,
    draws,
    scratch,
):
    """Walk from a node to what has no children, choosing among siblings by Eq. 2, one uniform draw a level.

    R of Eq. 3 is C, plus G of the node's group times ``weight``, plus the exploration term, in which a node
    that was not visited counts as visited once. ``scratch`` has room for all children of any node.
    """
    level = 0
    while num_children[node] > 0:
        first, n = first_child[node], num_children[node]
        log_parent = math.log(max(visits[node], 1))
        best = -math.inf
        for i in range(n):
            child = first + i
            score = value[child] + weight * table[group[child]]
            if exploration > 0:
                score += exploration * math.sqrt(log_parent / max(visits[child], 1))
            scratch[i] = score
            best = max(best, score)
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
def backup(
    parent, value, visits, table, group, member_start, members, communication, coefficient, leaf, reward, beta
):
    """From a leaf up to the root: equivalent nodes learn too, one more visit, and C by Eq. 4.

    The root has no C. Nodes of group g are ``members[member_start[g]:member_start[g + 1]]``.
    """
    node = leaf
    while node > 0:
        g = group[node]
        if communication == SHARED_TABLE:
            table[g] = beta * table[g] + (1 - beta) * reward
        elif communication == EQUIVALENT_NODES:
            for k in range(member_start[g], member_start[g + 1]):
                other = members[k]
                if other != node:
                    value[other] += coefficient * (1 - beta) * (reward - value[other])
        value[node] = beta * value[node] + (1 - beta) * reward
        visits[node] += 1
        node = parent[node]
    visits[0] += 1


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

"""The inner loops of the samplers, compiled: one step each, for a single search or for many at once.

From Python a rule goes in as a plain tuple, which Numba takes faster than a named one; the loops name it.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numba
import numpy as np

NONE, SHARED_TABLE, EQUIVALENT_NODES = 0, 1, 2  # how the nodes of a tree communicate


# A node of a tree, see :class:`hnas_kit.trees.ArchTree`, and what a search has learned of it. They lie in one
# array, because a call from Python costs by the number of arrays.
NODE = np.dtype(
    [
        ("parent", "i4"),
        ("first_child", "i4"),
        ("num_children", "i4"),
        ("group", "i4"),  # of equivalent nodes
        ("visits", "i8"),
        ("value", "f8"),  # C
        ("score", "f8"),  # R as it was last stored, for the reading that stores it
        ("prior", "f8"),  # weight among siblings of equal R: 1, or how many architectures are behind it
    ],
    align=True,
)


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


def kept(function: Callable | None = None, **options: Any) -> Callable:
    """Numba's ``njit``, kept for later processes where a folder can be written, else made in each."""
    if function is None:
        return partial(kept, **options)
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither the package's folder, nor the user's, nor NUMBA_CACHE_DIR
        return numba.njit(**options)(function)


@kept
def bonus(exploration, linear, log_parent, visits):
    """The exploration term of a node; what was not visited counts as visited once.

    ``log_parent`` is the logarithm of its parent's visits.
    """
    visits = max(visits, 1)
    return exploration * math.sqrt(log_parent / (visits * visits if linear else visits))


@kept
def _score(table, rule, here, log_parent):
    """R of a node from the present counts."""
    own = here.value + rule.weight * table[here.group]
    if rule.exploration > 0:
        own += bonus(rule.exploration, rule.linear, log_parent, here.visits)
    return own


@kept
def scores(nodes, table, rule, first, last):
    """R by which the nodes from ``first`` to before ``last`` are drawn now; that of the root is its C."""
    rule, found = Rule(*rule), np.empty(last - first)
    for node in range(first, last):
        here = nodes[node]
        log_parent = math.log(max(nodes[here.parent].visits, 1)) if node else 0.0
        found[node - first] = here.score if rule.stored else _score(table, rule, here, log_parent)
    return found


@kept
def descend(nodes, table, rule, node, temperature, draws, scratch):
    """Walk from a node to what has no children, choosing among siblings by Eq. 2, one uniform draw a level.

    A sibling's weight is exp(R / T) times its prior.

    Args:
        nodes: (V,) of ``NODE``, or with more fields.
        table: (groups,) G.
        rule: the values of a :class:`Rule`.
        node: where to start.
        temperature: T; if it is infinite, siblings are drawn by their prior alone.
        draws: (depth,) uniform numbers.
        scratch: room for all children of any node.
    """
    rule, level = Rule(*rule), 0
    while nodes[node].num_children > 0:
        first, n = nodes[node].first_child, nodes[node].num_children
        log_parent = math.log(max(nodes[node].visits, 1))
        best = -math.inf
        for i in range(n):
            child = nodes[first + i]
            scratch[i] = child.score if rule.stored else _score(table, rule, child, log_parent)
            best = max(best, scratch[i])
        total = 0.0
        for i in range(n):
            weight = math.exp((scratch[i] - best) / temperature) if scratch[i] < best else 1.0
            scratch[i] = weight * nodes[first + i].prior
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


@kept
def backup(nodes, table, members, rule, leaf, reward):
    """From a leaf up to the root: equivalent nodes learn too, C by Eq. 4, and one more visit.

    The root has no C. R is stored when all visits of the path have been counted.

    Args:
        nodes, table, rule: see :func:`descend`.
        members: start (groups + 1,) and nodes (V,): those of group g are ``nodes[start[g]:start[g + 1]]``.
        leaf: where to start.
        reward: what the architecture of the leaf got.
    """
    rule, (start, equivalent) = Rule(*rule), members
    node, beta = leaf, rule.beta
    while node > 0:
        here = nodes[node]
        if rule.communication == SHARED_TABLE:
            table[here.group] = beta * table[here.group] + (1 - beta) * reward
        elif rule.communication == EQUIVALENT_NODES:
            for k in range(start[here.group], start[here.group + 1]):
                other = nodes[equivalent[k]]
                if equivalent[k] != node:
                    other.value += rule.coefficient * (1 - beta) * (reward - other.value)
        if rule.first and here.visits == 0:
            here.value = reward
        else:
            here.value = beta * here.value + (1 - beta) * reward
        here.visits += 1
        node = here.parent
    nodes[0].visits += 1
    node = leaf
    while rule.stored and node > 0:
        here = nodes[node]
        log_parent = math.log(nodes[here.parent].visits)
        here.score = _score(table, rule, here, log_parent)
        node = here.parent


@kept
def carried(before, after, origin, table, rule):
    """What a search goes on with on another tree over the same architectures.

    A node whose set of leaves existed keeps C, visits and a stored R. Any other has the sum of its leaves'
    visits, the mean of their C weighted by these (1 if there are none), and R from that. So on the same tree
    nothing changes.

    Args:
        before: (V,) of ``NODE``, what was learned.
        after: (W,) the other tree with nothing learned; it stays as it is.
        origin: (W,) nodes of ``before``, see :func:`hnas_kit.trees.origins`.
        table, rule: see :func:`descend`.

    Returns:
        (W,) the other tree with what was learned.
    """
    nodes, rule = after.copy(), Rule(*rule)
    visits, total = np.zeros(len(nodes), np.int64), np.zeros(len(nodes))
    for node in range(len(nodes) - 1, -1, -1):
        here = nodes[node]
        if origin[node] >= 0:
            known = before[origin[node]]
            here.value, here.visits, here.score = known.value, known.visits, known.score
        elif visits[node] > 0:
            here.value, here.visits = total[node] / visits[node], visits[node]
        if here.num_children == 0:
            visits[node], total[node] = here.visits, here.visits * here.value
        if node > 0:
            visits[here.parent] += visits[node]
            total[here.parent] += total[node]
    for node in range(1, len(nodes)):
        here = nodes[node]
        if origin[node] < 0:
            log_parent = math.log(max(nodes[here.parent].visits, 1))
            here.score = _score(table, rule, here, log_parent) if here.visits > 0 else here.value
    return nodes


@kept
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


@kept
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

"""From one tree to another over the same architectures: which nodes are the same, and how far it moved."""

import numpy as np

from hnas_kit.errors import HnasError
from hnas_kit.trees.tree import ArchTree


def origins(before: ArchTree, after: ArchTree) -> np.ndarray:
    """For each node the one of an earlier tree that has the same set of leaves.

    Args:
        before: V nodes.
        after: W nodes, over the same architectures.

    Returns:
        (W,) int64 nodes of ``before``, -1 where no node had that set. Leaves and the root always have one.

    Raises:
        HnasError: if the architectures differ.
    """
    if set(before.archs) != set(after.archs):
        raise HnasError(
            "the trees are over different architectures; only one over the same can replace another"
        )
    # the lowest node of before that has all leaves of a node of after: it has the same set if it is as large
    lowest = np.full(after.num_nodes, -1, dtype=np.int64)
    found = lowest.copy()
    for v in reversed(range(after.num_nodes)):
        if after.num_children[v] == 0:
            lowest[v] = found[v] = before.leaf[after.archs[after.arch_index[v]]]
        elif before.sizes[lowest[v]] == after.sizes[v]:
            found[v] = lowest[v]
            below = found[after.first_child[v]]
            if after.num_children[v] == 1 and before.sizes[max(before.parent[below], 0)] == after.sizes[v]:
                found[v] = max(before.parent[below], 0)  # of nodes with one child, the next in the chain
        if v:
            above = after.parent[v]
            lowest[above] = lowest[v] if lowest[above] < 0 else _meet(before, lowest[above], lowest[v])
    return found


def _meet(tree: ArchTree, a: int, b: int) -> int:
    """The lowest node that has both below it, or is one of them; parents come before their children."""
    while a != b:
        if a < b:
            b = tree.parent[b]
        else:
            a = tree.parent[a]
    return a


def moved(before: ArchTree, after: ArchTree) -> float:
    """How far the first split moved: the share of the pairs of architectures that it parts in one tree alone.

    0 for the same first split; two even splits that have nothing to do with each other differ in half of
    all pairs.
    """
    place = {arch: i for i, arch in enumerate(after.archs)}
    parts = [np.unique(tree.groups(1), return_inverse=True)[1] for tree in (before, after)]
    parts[1] = parts[1][[place[arch] for arch in before.archs]]
    together = np.zeros((parts[0].max() + 1, parts[1].max() + 1))
    np.add.at(together, tuple(parts), 1)

    def pairs(counts: np.ndarray) -> float:
        return float((counts * (counts - 1)).sum())

    n = len(before.archs)
    apart = pairs(together.sum(axis=0)) + pairs(together.sum(axis=1)) - 2 * pairs(together)
    return apart / (n * (n - 1))

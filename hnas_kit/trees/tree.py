"""Trees over architectures as a few flat arrays; what one says of a value, and how two of them differ."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from hnas_kit.errors import HnasError
from hnas_kit.files import write_atomic
from hnas_kit.spaces import Arch


@dataclass(frozen=True, eq=False)
class ArchTree:
    """A rooted tree whose leaves are architectures.

    Nodes are numbered breadth first: the root is 0, siblings are neighbours, parents come before their
    children. V nodes, N leaves.
    """

    archs: tuple[Arch, ...]  # the N architectures, in the order they were given
    parent: np.ndarray  # (V,) int32, -1 for the root
    first_child: np.ndarray  # (V,) int32, the children of v are first_child[v] + 0 .. num_children[v] - 1
    num_children: np.ndarray  # (V,) int32, 0 for a leaf
    arch_index: np.ndarray  # (V,) int32, a leaf's position in archs, -1 for an inner node
    height: np.ndarray  # (V,) float64, distance at which the node's children were merged, 0 for a leaf

    @property
    def num_nodes(self) -> int:
        return len(self.parent)

    @property
    def num_leaves(self) -> int:
        return len(self.archs)

    @cached_property
    def level(self) -> np.ndarray:
        """(V,) int32, number of choices from the root down to each node."""
        level = np.zeros(self.num_nodes, dtype=np.int32)
        for v in range(1, self.num_nodes):
            level[v] = level[self.parent[v]] + 1
        return level

    @property
    def depth(self) -> int:
        """The largest number of choices from the root to a leaf."""
        return int(self.level[-1])

    @cached_property
    def sizes(self) -> np.ndarray:
        """(V,) int64, number of leaves under each node, 1 for a leaf."""
        sizes = (self.num_children == 0).astype(np.int64)
        for v in range(self.num_nodes - 1, 0, -1):
            sizes[self.parent[v]] += sizes[v]
        return sizes

    @cached_property
    def leaf(self) -> dict[Arch, int]:
        """The leaf node of each architecture."""
        return {self.archs[i]: v for v, i in enumerate(self.arch_index.tolist()) if i >= 0}

    @cached_property
    def members(self) -> list[list[int]]:
        """For each node the positions in ``archs`` of the architectures under it."""
        below: list[list[int]] = [[] if i < 0 else [i] for i in self.arch_index.tolist()]
        for v in range(self.num_nodes - 1, 0, -1):
            below[self.parent[v]] = below[v] + below[self.parent[v]]
        return below

    def groups(self, level: int) -> np.ndarray:
        """(N,) for each architecture the node at that level it is under (its leaf, if that is higher up)."""
        top = np.arange(self.num_nodes)
        for v in range(1, self.num_nodes):
            if self.level[v] > level:
                top[v] = top[self.parent[v]]
        return top[[self.leaf[arch] for arch in self.archs]]

    def to_newick(self, name: Callable[[Arch], str] = lambda arch: "-".join(map(str, arch))) -> str:
        """The tree in Newick form, with branch lengths (difference of heights) and quoted leaf names."""
        text = [""] * self.num_nodes
        for v in reversed(range(self.num_nodes)):
            if self.num_children[v]:
                first = self.first_child[v]
                text[v] = "(" + ",".join(text[first : first + self.num_children[v]]) + ")"
            else:
                text[v] = f"'{name(self.archs[self.arch_index[v]])}'"
            if v:
                text[v] += f":{self.height[self.parent[v]] - self.height[v]:.6g}"
        return text[0] + ";"

    def to_linkage(self) -> np.ndarray:
        """(N - 1, 4) linkage matrix as scipy's, leaves numbered as ``archs``.

        Raises:
            HnasError: if a node has other than two children.
        """
        inner = np.flatnonzero(self.num_children > 0)
        if not np.all(self.num_children[inner] == 2):
            raise HnasError(
                "only a binary tree has a linkage matrix; this one has nodes with other than two children"
            )
        order = inner[np.lexsort((-inner, self.height[inner]))]  # children before their parents
        number = self.arch_index.astype(np.int64)
        number[order] = self.num_leaves + np.arange(len(order))
        rows = np.empty((len(order), 4))
        for k, v in enumerate(order):
            left, right = self.first_child[v], self.first_child[v] + 1
            rows[k] = (*sorted((number[left], number[right])), self.height[v], self.sizes[v])
        return rows

    def to_bytes(self) -> bytes:
        """The tree as an ``.npz`` file's content."""
        buffer = io.BytesIO()
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        np.savez_compressed(buffer, archs=np.array(self.archs, dtype=np.int16), **arrays)
        return buffer.getvalue()

    def save(self, path: Path | str) -> None:
        """Write the tree to one ``.npz`` file."""
        write_atomic(Path(path), self.to_bytes())


_ARRAYS = ("parent", "first_child", "num_children", "arch_index", "height")


def load(source: Path | str | bytes) -> ArchTree:
    """Read a tree that :meth:`ArchTree.save` wrote (its path, or its content).

    Raises:
        HnasError: if the file is absent, corrupt or not a tree.
    """
    try:
        with np.load(io.BytesIO(source) if isinstance(source, bytes) else source) as arrays:
            archs = tuple(tuple(arch) for arch in arrays["archs"].tolist())
            tree = ArchTree(archs, **{name: arrays[name] for name in _ARRAYS})
        if not is_numbered(tree):
            raise ValueError("its arrays contradict each other")
        return tree
    except Exception as error:  # np.load raises what its parts raise: zip, pickle, key, value errors
        where = "the given bytes" if isinstance(source, bytes) else source
        raise HnasError(
            f"{where} cannot be read as a tree ({error}); make it again with notebook 03_tree"
        ) from error


def is_numbered(tree: ArchTree) -> bool:
    """Whether the arrays are a tree with the numbering of :class:`ArchTree`, each architecture at one leaf.

    The samplers walk the arrays in compiled code, which checks no bounds.
    """
    nodes = np.arange(tree.num_nodes)
    if any(getattr(tree, name).shape != nodes.shape for name in _ARRAYS):
        return False
    is_leaf = tree.num_children == 0
    first_child = 1 + np.cumsum(tree.num_children) - tree.num_children
    return bool(
        np.array_equal(tree.parent, [-1, *np.repeat(nodes, tree.num_children)])
        and np.all(tree.parent < nodes)
        and np.array_equal(tree.first_child, np.where(is_leaf, -1, first_child))
        and np.array_equal(np.sort(tree.arch_index[is_leaf]), np.arange(tree.num_leaves))
        and np.all(tree.arch_index[~is_leaf] == -1)
    )


def number_nodes(
    root: object, children: Callable, height: Callable, position: Callable, archs: Sequence[Arch]
) -> ArchTree:
    """Number the nodes of any linked tree breadth first."""
    nodes, parent = [root], [-1]
    first_child, num_children, arch_index, heights = [], [], [], []
    for v, node in enumerate(nodes):  # grows while it is walked
        below = children(node)
        first_child.append(len(nodes) if below else -1)
        num_children.append(len(below))
        arch_index.append(-1 if below else position(node))
        heights.append(float(height(node)))
        nodes.extend(below)
        parent.extend([v] * len(below))
    integers = (
        np.array(column, dtype=np.int32) for column in (parent, first_child, num_children, arch_index)
    )
    return ArchTree(tuple(archs), *integers, np.array(heights))


def check_archs(archs: Sequence[Arch], values: np.ndarray, what: str) -> None:
    if len(archs) != len(values) or len(archs) < 2 or len(set(archs)) != len(archs):
        raise HnasError(
            f"{len(archs)} architectures ({len(set(archs))} different) and {len(values)} {what}; "
            "a tree needs at least two architectures, all different, and as many of both"
        )


def variance_explained(tree: ArchTree, values: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """How much of the variance of a value over architectures the tree's levels explain.

    At each level the architectures fall into groups; the share is the variance between the groups
    over the whole. A split at random into G groups of N explains (G - 1) / (N - 1) on average.

    Args:
        tree: the tree.
        values: (N,) for instance the true accuracy of ``tree.archs``.

    Returns:
        Number of groups and share explained (0 to 1; nan if all values are equal), both (depth + 1,), from
        the root down.
    """
    values = np.asarray(values, dtype=np.float64)
    deviation = values - values.mean()
    counts, shares = [], []
    for level in range(tree.depth + 1):
        _, group = np.unique(tree.groups(level), return_inverse=True)
        size = np.bincount(group)
        between = np.sum(np.bincount(group, weights=deviation) ** 2 / size)
        counts.append(len(size))
        shares.append(between / np.sum(deviation**2))
    return np.array(counts), np.array(shares)


def early_variance(tree: ArchTree, values: ArrayLike) -> float:
    """The share that the first three levels explain, or all it has, see :func:`variance_explained`."""
    return float(variance_explained(tree, values)[1][:4][-1])


def cophenetic_correlation(tree: ArchTree, distances: ArrayLike) -> float:
    """Correlation of the heights at which pairs are merged with their distances (scipy's ``cophenet``)."""
    return float(hierarchy.cophenet(tree.to_linkage(), squareform(np.asarray(distances), checks=False))[0])


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
    known: dict[frozenset[Arch], list[int]] = {}  # from the lowest up, where nodes have one child
    for v in reversed(range(before.num_nodes)):
        known.setdefault(frozenset(before.archs[i] for i in before.members[v]), []).append(v)
    found = np.full(after.num_nodes, -1, dtype=np.int64)
    for v in reversed(range(after.num_nodes)):
        if same := known.get(frozenset(after.archs[i] for i in after.members[v])):
            found[v] = same.pop(0) if len(same) > 1 else same[0]
    return found


def moved(before: ArchTree, after: ArchTree) -> float:
    """How far the first split moved: the share of the pairs of architectures that it parts in one tree alone.

    0 for the same first split; two even splits that have nothing to do with each other differ in half of
    all pairs.
    """
    from sklearn.metrics.cluster import pair_confusion_matrix  # slow to import

    place = {arch: i for i, arch in enumerate(after.archs)}
    parts = before.groups(1), after.groups(1)[[place[arch] for arch in before.archs]]
    pairs = pair_confusion_matrix(*parts)
    return float((pairs[0, 1] + pairs[1, 0]) / pairs.sum())

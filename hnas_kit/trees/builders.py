"""Builders of trees: clustered, layer by layer, random, by accuracy, flat."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.cluster import hierarchy
from scipy.spatial.distance import num_obs_y, squareform

from hnas_kit.errors import HnasError, require_one_of
from hnas_kit.names import LINKAGES
from hnas_kit.spaces import Arch, SearchSpace
from hnas_kit.trees.tree import ArchTree, check_archs, number_nodes


def learned(distances: ArrayLike, archs: Sequence[Arch], linkage: str = "ward") -> ArchTree:
    """The paper's tree: agglomerative clustering of architectures by their distances (Sec. 4, Algorithm 1).

    Args:
        distances: (N, N) symmetric with zero diagonal, or condensed (N (N - 1) / 2,).
        archs: the N architectures.
        linkage: ``ward`` (the paper cites Murtagh & Legendre, 2014), ``average`` or ``complete``.

    Returns:
        A binary tree; a node's height is the linkage distance at which it was merged.

    Raises:
        HnasError: for an unknown linkage, or distances that are not such a matrix.
    """
    require_one_of("linkage", linkage, LINKAGES)
    try:
        distances = np.asarray(distances, dtype=np.float64)
        condensed = squareform(distances, force="tovector") if distances.ndim == 2 else distances
        matrix_rows = len(distances) if distances.ndim == 2 else num_obs_y(condensed)
    except ValueError as error:
        raise HnasError(f"not a distance matrix: {error}") from error
    if not np.all(np.isfinite(condensed)) or condensed.min(initial=0) < 0:
        raise HnasError("not a distance matrix: it has entries that are negative or not finite")
    check_archs(archs, range(matrix_rows), "rows of distances")
    return from_linkage(hierarchy.linkage(condensed, linkage), archs)


def from_linkage(merges: np.ndarray, archs: Sequence[Arch]) -> ArchTree:
    """The binary tree of a linkage matrix as scipy's, (N - 1, 4) or its first three columns."""
    below = [[]] * len(archs) + merges[:, :2].astype(int).tolist()
    heights = [0.0] * len(archs) + merges[:, 2].tolist()
    return number_nodes(len(below) - 1, below.__getitem__, heights.__getitem__, int, archs)


def default(space: SearchSpace, archs: Sequence[Arch] | None = None) -> ArchTree:
    """The tree that branches layer by layer, in the order of the layers (Sec. 3; Su et al., 2021a).

    Level l chooses the operation of layer l among those with which an architecture can be completed;
    a layer that leaves no choice has a node with one child. Heights count the layers below.

    Args:
        space: the search space.
        archs: the architectures to hold (default: all of the space).
    """
    archs = tuple(space.enumerate() if archs is None else archs)
    check_archs(archs, archs, "of them")

    def children(node: tuple[int, list[int]]) -> list[tuple[int, list[int]]]:
        layer, members = node
        if layer == space.num_layers:
            return []
        by_op: dict[int, list[int]] = {}
        for i in members:
            by_op.setdefault(archs[i][layer], []).append(i)
        return [(layer + 1, by_op[op]) for op in sorted(by_op)]

    root = (0, list(range(len(archs))))
    return number_nodes(root, children, lambda n: space.num_layers - n[0], lambda n: n[1][0], archs)


def random(archs: Sequence[Arch], seed: int) -> ArchTree:
    """A binary tree clustered from a random distance matrix (Sec. 5.2, Fig. 3 right)."""
    n = len(archs)
    return learned(np.random.default_rng(seed).random(n * (n - 1) // 2), archs)


def accuracy(accuracies: ArrayLike, archs: Sequence[Arch]) -> ArchTree:
    """Halve the architectures by accuracy, again and again: the better half, the worse half (Sec. 5.2).

    The paper's "Tree partitioning with accuracy", with the accuracies of a pre-trained supernet.

    Args:
        accuracies: (N,) of ``archs``; of equal ones the first counts as better.
        archs: the N architectures.

    Returns:
        A binary tree; the first child is the better half (the larger one of an odd number), and a node's
        height is the range of accuracies under it.

    Raises:
        HnasError: if there are not as many of both, or a value is not finite.
    """
    values = np.asarray(accuracies, dtype=np.float64)
    if values.ndim != 1 or not np.all(np.isfinite(values)):
        raise HnasError("accuracies must be one finite number an architecture")
    check_archs(archs, values, "accuracies")

    def children(group: np.ndarray) -> list[np.ndarray]:
        half = -(-len(group) // 2)
        return [group[:half], group[half:]] if len(group) > 1 else []

    best_first = np.argsort(-values, kind="stable")
    return number_nodes(best_first, children, lambda g: values[g[0]] - values[g[-1]], lambda g: g[0], archs)


def flat(archs: Sequence[Arch]) -> ArchTree:
    """A root with every architecture as its child: a tree that factorises nothing (Fig. 1, "joint")."""
    check_archs(archs, archs, "of them")
    below = [[]] * len(archs) + [range(len(archs))]
    return number_nodes(len(archs), below.__getitem__, lambda v: v == len(archs), int, archs)

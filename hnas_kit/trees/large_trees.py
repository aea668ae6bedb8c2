"""The learned tree of more architectures than a distance matrix has room for."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform
from sklearn.cluster import KMeans

from hnas_kit import distances
from hnas_kit.errors import HnasError, require_one_of
from hnas_kit.spaces import Arch
from hnas_kit.trees import builders
from hnas_kit.trees.builders import LINKAGES
from hnas_kit.trees.tree import ArchTree

SMALL = 8  # architectures in a group on average, if there are not more groups than can be clustered


def learned(
    outputs: ArrayLike,
    archs: Sequence[Arch],
    measure: str = "kl",
    linkage: str = "ward",
    group: int = 2000,
    seed: int = 0,
) -> ArchTree:
    """The tree of :func:`hnas_kit.trees.learned` without ever holding N x N distances.

    K-means cuts the architectures into many small groups, which are clustered exactly; above them the groups
    are clustered by the distances of their mean outputs. Memory: ``group`` squared distances. With at most
    ``group`` architectures it is the exact tree.

    Args:
        outputs: (N, B, C) class probabilities, see :func:`hnas_kit.distances.from_outputs`.
        archs: the N architectures.
        measure: distance between outputs.
        linkage: see :func:`hnas_kit.trees.learned`.
        group: at most so many architectures, or means of groups, are clustered exactly; at least 2.
        seed: of k-means.

    Returns:
        A binary tree. A node is at least as high as those below it.

    Raises:
        HnasError: for an unknown measure or linkage, outputs that are not probabilities, or a group
            below 2.
    """
    require_one_of("linkage", linkage, LINKAGES)
    if group < 2:
        raise HnasError(f"group is {group}; it must be at least 2")
    outputs = np.asarray(outputs)
    n = len(archs)
    if outputs.ndim != 3 or len(outputs) != n or n < 2:
        raise HnasError(
            f"outputs have shape {outputs.shape} and there are {n} architectures; "
            "they must be (architectures, images, classes), of at least two"
        )
    distances.probabilities(outputs, measure)  # k-means would refuse others in its own words
    # straight lines in the square roots are near to what the divergences measure
    points = outputs.reshape(n, -1) if measure == "l2" else np.sqrt(outputs).reshape(n, -1)
    merges: list[tuple[int, int, float]] = []  # as in a linkage matrix

    def merge(own: np.ndarray, below: Sequence[int], lowest: Sequence[float]) -> tuple[int, float]:
        """Cluster ``own`` outputs, which stand for the nodes ``below``; the root and its height."""
        condensed = squareform(distances.from_outputs(own, measure), checks=False)
        nodes, heights = list(below), list(lowest)
        for a, b, height, _ in hierarchy.linkage(condensed, linkage):
            a, b = int(a), int(b)
            heights.append(max(height, heights[a], heights[b]))
            merges.append((nodes[a], nodes[b], heights[-1]))
            nodes.append(n + len(merges) - 1)
        return nodes[-1], heights[-1]

    def build(members: np.ndarray) -> tuple[int, float]:
        if len(members) == 1:
            return int(members[0]), 0.0
        if len(members) <= group:
            return merge(outputs[members], members.tolist(), [0.0] * len(members))
        count = min(max(len(members) // SMALL, 2), group)
        label = KMeans(count, n_init=1, max_iter=20, random_state=seed).fit_predict(points[members])
        parts = [members[label == k] for k in np.unique(label)]
        if len(parts) == 1:  # all alike: any cut is as good
            parts = np.array_split(members, count)
        tops = [build(part) for part in parts]
        return merge(np.array([outputs[part].mean(axis=0) for part in parts]), *zip(*tops, strict=True))

    build(np.arange(n))
    return builders.from_linkage(np.array(merges), archs)

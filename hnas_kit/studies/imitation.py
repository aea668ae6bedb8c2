"""A learning supernet, imitated: distances are noise at first and grow into those of one that has learned.

Simulated searches have no supernet whose outputs could be looked at again. What stands for them is stated
here and has two parameters, how slowly distances grow and how many supernets there are; it says nothing of
how the distances of a real one change while it is searched.
"""

from functools import lru_cache

import numpy as np
from scipy.cluster import hierarchy

from hnas_kit import trees
from hnas_kit.samplers import relearning
from hnas_kit.samplers.relearning import Planted
from hnas_kit.spaces import Arch
from hnas_kit.training import Schedule
from hnas_kit.trees import ArchTree

FIRST = 1000  # the seed of the first supernet's noise


def _parted(tree: ArchTree) -> np.ndarray:
    """(N (N - 1) / 2,) for each pair the height at which it is parted, over the mean of all."""
    heights = hierarchy.cophenet(tree.to_linkage())
    return heights / heights.mean()


@lru_cache(maxsize=8)
def _noise(archs: tuple[Arch, ...], supernet: int) -> np.ndarray:
    return _parted(trees.random(archs, FIRST + supernet))


@lru_cache(maxsize=256)
def learned(tree: ArchTree, share: float, growth: float, supernet: int) -> ArchTree:
    """The tree of an imitated supernet.

    Two architectures are (1 - w) Z + w D apart. D is how far they are apart in the tree of a supernet that
    has learned, Z likewise in a random tree, each over its mean, and w = 1 - exp(-share / growth). Average
    linkage gives a tree back from its own distances, so that at w = 1 it is that of D.

    Args:
        tree: of a supernet that has learned; it is binary.
        share: of the steps that are done.
        growth: how slowly distances grow; at 0 they are D from the start.
        supernet: which; supernets differ in Z.
    """
    w = 1 - np.exp(-share / growth) if growth else 1.0
    mixed = (1 - w) * _noise(tree.archs, supernet) + w * _parted(tree)
    return trees.learned(mixed, tree.archs, "average")


def planted(
    tree: ArchTree, schedule: Schedule, every: float, growth: float, supernets: int
) -> list[list[Planted]]:
    """The trees that searches go on with, for each of some imitated supernets.

    Args:
        tree: that searches begin with, and of which the distances are that grow.
        schedule: of the search.
        every: see :func:`hnas_kit.samplers.relearning.steps`.
        growth, supernets: see :func:`learned`.
    """
    steps = relearning.steps(schedule, every)
    return [  # in percent of the steps, so that searches of all lengths share trees
        [Planted(step, learned(tree, round(step / schedule.steps, 2), growth, i)) for step in steps]
        for i in range(supernets)
    ]

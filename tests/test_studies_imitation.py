"""A learning supernet, imitated: its distances grow from noise into those of one that has learned."""

from __future__ import annotations

import numpy as np
import pytest
from common import ARCHS

from hnas_kit import trees
from hnas_kit.studies import imitation
from hnas_kit.training import Schedule

POINTS = np.random.default_rng(0).standard_normal((36, 3))
TREE = trees.learned(np.linalg.norm(POINTS[:, None] - POINTS, axis=2), ARCHS)


def same(one: trees.ArchTree, other: trees.ArchTree) -> bool:
    """Whether every group of one tree is a group of the other."""
    return bool((trees.origins(one, other) >= 0).all())


def test_with_no_growth_to_wait_for_it_is_the_tree_itself():
    for supernet in range(3):
        assert same(imitation.learned(TREE, 0.7, 0.0, supernet), TREE)


def test_at_the_start_it_is_noise_and_at_the_end_the_tree():
    noise = trees.random(tuple(ARCHS), imitation.FIRST + 4)
    assert same(imitation.learned(TREE, 0.0, 0.3, 4), noise)
    assert same(imitation.learned(TREE, 1.0, 0.01, 4), TREE)
    assert not same(noise, TREE)
    shared = [  # groups that are the tree's
        np.mean([(trees.origins(TREE, imitation.learned(TREE, t, 0.3, i)) >= 0).mean() for i in range(5)])
        for t in (0.0, 0.1, 0.3, 1.0, 3.0)
    ]
    assert shared == sorted(shared)
    assert shared[0] < shared[2] < shared[-1]


def test_distances_are_mixed_by_hand():
    a, b, c = (0,), (1,), (2,)
    tree = trees.learned([1.0, 4.0, 4.0], [a, b, c], "average")  # a and b part at 1, c at 4; the mean is 3
    noise = trees.random((a, b, c), imitation.FIRST)
    w = 1 - np.exp(-0.3 / 0.6)
    found = imitation.learned(tree, 0.3, 0.6, 0)
    known = dict(zip([(a, b), (a, c), (b, c)], np.array([1, 4, 4]) / 3, strict=True))
    order = noise.to_linkage()
    first = {int(order[0, 0]), int(order[0, 1])}
    pairs = {0: {0, 1}, 1: {0, 2}, 2: {1, 2}}
    heights = np.array([order[0, 2] if pair == first else order[1, 2] for pair in pairs.values()])
    mixed = (1 - w) * heights / heights.mean() + w * np.array(list(known.values()))
    assert found.height[2 if found.num_children[2] else 1] == pytest.approx(mixed.min())


def test_supernets_differ_and_all_are_planted_at_the_same_steps():
    schedule = Schedule(100)  # the third phase begins at 65
    rows = imitation.planted(TREE, schedule, 0.34, 1.0, 3)
    assert [[one.step for one in row] for row in rows] == [[77, 89]] * 3
    assert not same(rows[0][0].tree, rows[1][0].tree)
    assert rows[2][1].tree is imitation.learned(TREE, 0.89, 1.0, 2)

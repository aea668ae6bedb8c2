"""From one tree to another: which nodes are the same, and how far the first split moved."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from common import ARCHS, SPACE
from hypothesis import given, settings
from hypothesis import strategies as st

from hnas_kit import trees
from hnas_kit.errors import HnasError

A, B, C, D = (0,), (1,), (2,), (3,)


@st.composite
def pairs(draw) -> tuple[trees.ArchTree, trees.ArchTree]:
    """Two trees over the same architectures, in different order; a default tree has chains of nodes."""
    n = draw(st.integers(2, 20))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    archs = [ARCHS[i] for i in rng.permutation(36)[:n]]

    def one() -> trees.ArchTree:
        order = [archs[i] for i in rng.permutation(n)]
        kinds = (
            lambda: trees.random(order, int(rng.integers(100))),
            lambda: trees.default(SPACE, order),
            lambda: trees.flat(order),
            lambda: trees.accuracy(rng.integers(0, 5, n), order),
        )
        return kinds[draw(st.integers(0, 3))]()

    return one(), one()


def sets(tree: trees.ArchTree) -> list[frozenset]:
    """Of each node the architectures under it."""
    return [frozenset(tree.archs[i] for i in members) for members in tree.members]


@given(pairs())
@settings(deadline=None)
def test_a_node_comes_from_one_with_the_same_leaves_if_there_was_one(both):
    before, after = both
    known, origin = sets(before), trees.origins(before, after)
    for own, found in zip(sets(after), origin, strict=True):
        assert (found >= 0) == (own in known)
        assert found < 0 or known[found] == own
    leaves = after.num_children == 0
    assert (origin[leaves] >= 0).all()
    assert origin[0] >= 0


@pytest.mark.parametrize(
    "tree",
    [trees.random(ARCHS, 0), trees.default(SPACE), trees.flat(ARCHS), trees.default(SPACE, ARCHS[5:9])],
)
def test_of_an_unchanged_tree_every_node_is_itself(tree):
    again = trees.load(tree.to_bytes())
    np.testing.assert_array_equal(trees.origins(tree, again), np.arange(tree.num_nodes))
    assert trees.moved(tree, again) == 0


def test_trees_over_other_architectures_are_refused():
    with pytest.raises(
        HnasError, match=r"\Athe trees are over different architectures; only one over the same"
    ):
        trees.origins(trees.random(ARCHS, 0), trees.random(ARCHS[1:], 0))


def test_how_far_a_split_moved_by_hand():
    def split(*distances: float) -> trees.ArchTree:
        return trees.learned(np.array(distances), [A, B, C, D], "average")

    pairs_first = split(1, 9, 9, 9, 9, 1)  # (a, b), (c, d)
    one_apart = split(1, 2, 9, 2, 9, 9)  # (a, b, c), d
    crossed = split(9, 1, 9, 9, 1, 9)  # (a, c), (b, d)
    # together: ab cd | ab ac bc: ab alone stays, cd, ac and bc change, of six
    assert trees.moved(pairs_first, one_apart) == pytest.approx(3 / 6)
    assert trees.moved(one_apart, pairs_first) == pytest.approx(3 / 6)
    assert trees.moved(pairs_first, crossed) == pytest.approx(4 / 6)


@given(pairs())
@settings(deadline=None)
def test_how_far_a_split_moved_by_listing_pairs(both):
    groups = [
        dict(zip(tree.archs, tree.groups(1).tolist(), strict=True)) for tree in both
    ]  # in each the first branch of an architecture
    listed = list(itertools.combinations(both[0].archs, 2))
    changed = [len({group[a] == group[b] for group in groups}) > 1 for a, b in listed]
    assert trees.moved(*both) == pytest.approx(np.mean(changed))

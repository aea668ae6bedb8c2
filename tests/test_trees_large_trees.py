"""Trees of groups against the exact tree, and what holds for any tree."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster import hierarchy
from scipy.special import softmax
from scipy.stats import pearsonr
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score

from hnas_kit import distances, trees
from hnas_kit.errors import HnasError
from hnas_kit.trees import large_trees
from hnas_kit.trees.tree import is_numbered

CODES = list(itertools.product(range(3), repeat=6))


def clustered(n: int, clusters: int, seed: int = 0, noise: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """Outputs of n architectures around a few well separated ones, and which."""
    rng = np.random.default_rng(seed)
    label = rng.integers(clusters, size=n)
    logits = 3 * rng.standard_normal((clusters, 4, 5))[label] + noise * rng.standard_normal((n, 4, 5))
    return softmax(logits, axis=2).astype(np.float32), label


@pytest.mark.parametrize("measure", distances.MEASURES)
@pytest.mark.parametrize("linkage", trees.LINKAGES)
def test_one_group_is_the_exact_tree(measure, linkage):
    outputs, _ = clustered(50, 5)
    tree = large_trees.learned(outputs, CODES[:50], measure, linkage, group=50)
    exact = trees.learned(distances.from_outputs(outputs, measure), CODES[:50], linkage)
    np.testing.assert_array_equal(tree.to_linkage(), exact.to_linkage())


@pytest.mark.parametrize("measure", distances.MEASURES)
def test_groups_find_what_is_well_separated(measure):
    outputs, label = clustered(600, 6)
    tree = large_trees.learned(outputs, CODES[:600], measure, group=100)
    cut = hierarchy.fcluster(tree.to_linkage(), 6, "maxclust")
    assert adjusted_rand_score(cut, label) == 1
    exact = trees.learned(distances.from_outputs(outputs, measure), CODES[:600])
    assert pearsonr(*(hierarchy.cophenet(t.to_linkage()) for t in (tree, exact))).statistic > 0.8


@given(
    n=st.integers(2, 60),
    group=st.integers(2, 70),
    seed=st.integers(0, 2**16),
    same=st.booleans(),
    linkage=st.sampled_from(trees.LINKAGES),
)
@settings(deadline=None, max_examples=40)
def test_any_tree_has_every_architecture_once_and_is_higher_further_up(n, group, seed, same, linkage):
    outputs, _ = clustered(n, 4, seed)
    if same:
        outputs[:] = outputs[:1]
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):  # k-means of equal points
        tree = large_trees.learned(outputs, CODES[:n], linkage=linkage, group=group, seed=seed)
    assert is_numbered(tree)
    assert tree.num_leaves == n
    assert np.all(tree.num_children[tree.num_children > 0] == 2)
    assert np.all(tree.height[1:] <= tree.height[tree.parent[1:]])
    assert hierarchy.is_valid_linkage(tree.to_linkage())
    assert hierarchy.is_monotonic(tree.to_linkage())


def test_it_never_holds_more_distances_than_a_group_has(monkeypatch):
    sizes, from_outputs = [], distances.from_outputs
    monkeypatch.setattr(distances, "from_outputs", lambda p, m: sizes.append(len(p)) or from_outputs(p, m))
    large_trees.learned(clustered(700, 50)[0], CODES[:700], group=40)
    assert max(sizes) <= 40
    assert sum(sizes) >= 700


def test_the_seed_decides():
    outputs, _ = clustered(300, 300)
    first, same, other = (large_trees.learned(outputs, CODES[:300], group=30, seed=s) for s in (0, 0, 1))
    np.testing.assert_array_equal(first.to_linkage(), same.to_linkage())
    assert not np.array_equal(first.to_linkage(), other.to_linkage())


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"group": 1}, "group is 1; it must be at least 2"),
        ({"linkage": "wards"}, "unknown linkage 'wards' .did you mean 'ward'"),
        ({"measure": "kll"}, "unknown distance measure 'kll'"),
        ({"archs": CODES[:9]}, r"shape \(10, 4, 5\) and there are 9 architectures"),
        ({"outputs": np.ones((10, 4, 5))}, "must be probabilities"),
        ({"outputs": np.full((10, 4, 5), np.nan), "group": 3}, "must be probabilities"),
    ],
)
def test_what_makes_no_tree_is_refused_in_one_line(change, complaint):
    with pytest.raises(HnasError, match=rf"\A.*{complaint}.*\Z"):
        large_trees.learned(**{"outputs": clustered(10, 2)[0], "archs": CODES[:10]} | change)

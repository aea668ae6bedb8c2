"""Distances between outputs, against plain loops over scipy's own divergences, and between encodings."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist, squareform
from scipy.special import rel_entr, softmax
from scipy.stats import entropy

from hnas_kit import distances, trees
from hnas_kit.errors import HnasError
from hnas_kit.spaces import make_space
from hnas_kit.studies.toy import ToySpace

POOLING = make_space("pooling")


class ThreeOps(ToySpace):
    """Four layers of three operations."""

    ops = (("a", "b", "c"),) * 4

    def enumerate(self) -> list[tuple[int, ...]]:
        return list(itertools.product(range(3), repeat=4))


class Uneven(ToySpace):
    """Four layers with different numbers of operations."""

    ops = (("a", "b"), ("a", "b", "c"), ("a", "b"), ("a", "b", "c", "d"))

    def enumerate(self) -> list[tuple[int, ...]]:
        return list(itertools.product(*map(range, (2, 3, 2, 4))))


def random_outputs(n: int, images: int, classes: int, seed: int) -> np.ndarray:
    return softmax(3 * np.random.default_rng(seed).standard_normal((n, images, classes)), axis=2)


def kl(p: np.ndarray, q: np.ndarray) -> float:
    return rel_entr(p, q).sum()


def cross_entropy(p: np.ndarray, q: np.ndarray) -> float:
    return entropy(p) + entropy(p, q)


def l2(p: np.ndarray, q: np.ndarray) -> float:
    return np.linalg.norm(p - q)


@pytest.mark.parametrize("distance", [kl, cross_entropy, l2], ids=lambda f: f.__name__)
def test_each_measure_is_the_mean_over_images_of_the_textbook_one(distance):
    outputs = random_outputs(7, 5, 4, seed=1)
    expected = np.zeros((7, 7))
    for i in range(7):
        for j in range(7):
            both_ways = [
                (distance(p, q) + distance(q, p)) / 2 for p, q in zip(outputs[i], outputs[j], strict=True)
            ]
            expected[i, j] = np.mean(both_ways) if i != j else 0
    np.testing.assert_allclose(
        distances.from_outputs(outputs, distance.__name__), expected, rtol=1e-12, atol=1e-14
    )


def test_roots_are_of_what_is_averaged_over_the_images():
    outputs = random_outputs(7, 5, 4, seed=1)
    pairs = list(itertools.combinations(outputs, 2))
    expected = [math.sqrt((rel_entr(p, q) + rel_entr(q, p)).sum() / (2 * 5)) for p, q in pairs]
    sqrt_kl = distances.from_outputs(outputs, "sqrt_kl")
    np.testing.assert_allclose(squareform(sqrt_kl), expected, rtol=1e-12)
    np.testing.assert_allclose(sqrt_kl**2, distances.from_outputs(outputs, "kl"), rtol=1e-12)
    hellinger = squareform(distances.from_outputs(outputs, "hellinger"))
    # Euclidean, so that Ward's criterion is what it says
    expected = pdist(np.sqrt(outputs).reshape(7, -1)) / math.sqrt(2 * 5)
    np.testing.assert_allclose(hellinger, expected, rtol=1e-12)
    affinity = [np.sqrt(p * q).sum(axis=1).mean() for p, q in pairs]
    np.testing.assert_allclose(hellinger**2, 1 - np.array(affinity), rtol=1e-12)


def test_kl_is_the_default():
    outputs = random_outputs(4, 3, 5, seed=2)
    np.testing.assert_array_equal(
        distances.from_outputs(outputs), distances.from_outputs(outputs, measure="kl")
    )


@given(
    shape=st.tuples(st.integers(1, 8), st.integers(1, 6), st.integers(1, 5)),
    seed=st.integers(0, 2**32),
    measure=st.sampled_from(distances.MEASURES),
    same=st.booleans(),
)
@settings(deadline=None)
def test_symmetric_not_negative_zero_diagonal(shape, seed, measure, same):
    outputs = random_outputs(*shape, seed)
    if same:
        outputs[:] = outputs[:1]
    d = distances.from_outputs(outputs, measure)
    assert d.shape == (shape[0], shape[0])
    assert d.dtype == np.float64
    np.testing.assert_array_equal(d, d.T)
    np.testing.assert_array_equal(np.diag(d), 0)
    assert np.all(d >= 0)
    if same and measure != "cross_entropy":
        np.testing.assert_allclose(d, 0, atol=1e-6 if measure in distances.ROOTS else 1e-13)


def test_rounding_leaves_nothing_negative_between_outputs_that_are_almost_equal():
    outputs = np.repeat(random_outputs(1, 3, 10, seed=4), 50, axis=0)
    outputs *= 1 + 1e-12 * np.random.default_rng(5).standard_normal(outputs.shape)
    d = distances.from_outputs(outputs)
    assert np.all((d >= 0) & (d < 1e-14))


@pytest.mark.parametrize("measure", distances.MEASURES)
def test_probabilities_of_zero_are_finite(measure):
    outputs = np.array([[[1.0, 0.0]], [[0.0, 1.0]], [[0.5, 0.5]]])
    d = distances.from_outputs(outputs, measure)
    assert np.all(np.isfinite(d))
    assert d[0, 1] > d[0, 2] == d[1, 2] > 0  # certain of different classes are further apart than undecided


@pytest.mark.parametrize("measure", distances.MEASURES)
def test_the_network_s_own_precision_is_enough(measure):
    outputs = random_outputs(5, 4, 10, seed=3)
    single = torch.from_numpy(outputs).float()
    np.testing.assert_allclose(
        distances.from_outputs(single, measure), distances.from_outputs(outputs, measure), rtol=1e-5
    )


def test_an_unknown_measure_is_refused_with_the_near_miss():
    with pytest.raises(
        HnasError, match=r"\A.*unknown distance measure 'KL'.*kl, sqrt_kl, hellinger, l2, cross_entropy\Z"
    ):
        distances.from_outputs(random_outputs(2, 1, 2, seed=0), "KL")


@pytest.mark.parametrize(
    ("outputs", "complaint"),
    [
        (np.ones((3, 4)) / 4, r"shape \(3, 4\)"),
        (np.empty((0, 2, 3)), r"shape \(0, 2, 3\)"),
        (np.ones((3, 2, 4)), "adding up to 1"),  # logits, or not normalised
        (np.array([[[1.5, -0.5]], [[0.5, 0.5]]]), "not negative"),
        (np.array([[[np.nan, 1.0]], [[0.5, 0.5]]]), "must be probabilities"),
    ],
    ids=["two dimensions", "empty", "sum", "negative", "nan"],
)
def test_what_is_no_distribution_is_refused_in_one_line(outputs, complaint):
    with pytest.raises(HnasError, match=rf"\A.*{complaint}.*\Z"):
        distances.from_outputs(outputs)


# encodings


def encoded_distance(a: tuple, b: tuple, kind: str, decay: float, resolutions: bool) -> float:
    """Layer by layer: the square of the difference of the indices, or twice 1 where they differ."""
    total = 0.0
    if resolutions:  # pools so far, instead of pool or not
        a, b = itertools.accumulate(a), itertools.accumulate(b)
    for layer, (x, y) in enumerate(zip(a, b, strict=True), start=1):
        squared = (x - y) ** 2 if kind == "vector" else 2 * (x != y)
        total += decay ** (2 * layer) * squared
    return math.sqrt(total)


@pytest.mark.parametrize("decay", [None, 1.0, 0.5, 0.9])
@pytest.mark.parametrize("kind", ["vector", "onehot"])
@pytest.mark.parametrize(
    "space", [POOLING, ThreeOps(), Uneven(), ToySpace()], ids=lambda space: type(space).__name__
)
def test_distances_of_encodings_are_the_double_loop(space, kind, decay):
    archs = space.enumerate()
    pooling = space is POOLING
    expected = [[encoded_distance(a, b, kind, decay or 1.0, pooling) for b in archs] for a in archs]
    d = distances.from_encodings(space.encode(archs, kind), decay, kind)
    np.testing.assert_allclose(d, expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(d, d.T)
    assert d.dtype == np.float64


def test_what_an_encoding_is_can_be_seen_unless_layers_only_change_together():
    archs = [arch for arch in Uneven().enumerate() if arch[1] != 2]  # a column that is never 1
    for kind in ("vector", "onehot"):
        code = Uneven().encode(archs, kind)
        assert np.array_equal(distances.from_encodings(code, 0.5), distances.from_encodings(code, 0.5, kind))
    one_of_two = np.eye(2)
    assert distances.from_encodings(one_of_two, 0.5)[0, 1] == pytest.approx((2 / 4) ** 0.5)
    assert distances.from_encodings(one_of_two, 0.5, "vector")[0, 1] == pytest.approx((1 / 4 + 1 / 16) ** 0.5)


def test_the_papers_weights_by_hand():
    # layers 1 and 3 differ: 1 / 2 and 1 / 8, squared 1 / 4 and 1 / 64, in one-hot form twice as much
    archs = [(0, 0, 0, 0), (1, 0, 1, 0)]
    assert distances.from_encodings(ThreeOps().encode(archs), 0.5)[0, 1] == pytest.approx((17 / 64) ** 0.5)
    onehot = distances.from_encodings(ThreeOps().encode(archs, "onehot"), 0.5)
    assert onehot[0, 1] == pytest.approx((17 / 32) ** 0.5)


@pytest.mark.parametrize("decay", [None, 0.5])
def test_with_two_operations_one_hot_is_the_vector_times_the_root_of_two(decay):
    space = ToySpace()
    archs = space.enumerate()
    vector, onehot = (distances.from_encodings(space.encode(archs, k), decay) for k in ("vector", "onehot"))
    np.testing.assert_allclose(onehot, math.sqrt(2) * vector, rtol=1e-14)


def test_resolutions_by_hand():
    """The vector counts how far apart resolutions are, one-hot only whether they differ: the order turns."""
    archs = [POOLING.parse(text) for text in ("[1,1,8]", "[3,1,6]", "[1,5,4]")]
    assert POOLING.encode(archs).tolist() == [
        [1, 2, 2, 2, 2, 2, 2, 2, 2],
        [0, 0, 1, 2, 2, 2, 2, 2, 2],
        [1, 1, 1, 1, 1, 2, 2, 2, 2],
    ]
    vector, onehot = (
        distances.from_encodings(POOLING.encode(archs, k))[0] ** 2 for k in ("vector", "onehot")
    )
    assert vector == pytest.approx([0, 1 + 4 + 1, 4])
    assert onehot == pytest.approx([0, 2 * 3, 2 * 4])


def groups(distance: np.ndarray, linkage: str) -> set[frozenset[int]]:
    """The architectures under each node of the tree that is clustered from a distance matrix."""
    tree = trees.learned(distance, POOLING.enumerate(), linkage)
    below = [frozenset([i]) if i >= 0 else frozenset() for i in tree.arch_index.tolist()]
    for node in reversed(range(1, tree.num_nodes)):
        below[tree.parent[node]] |= below[node]
    return set(below)


@pytest.mark.parametrize("linkage", trees.LINKAGES)
def test_table_3_has_two_trees_without_weights_and_one_with_them(linkage):
    """With 1/2^l the first layers decide whatever the encoding; without, ties are not all that differs."""
    archs = POOLING.enumerate()
    for decay in (None, 0.5):
        vector, onehot = (
            distances.from_encodings(POOLING.encode(archs, kind), decay) for kind in ("vector", "onehot")
        )
        if decay:
            assert groups(vector, linkage) == groups(onehot, linkage)
            continue
        assert groups(vector, linkage) != groups(onehot, linkage)
        for seed in range(5):  # break ties alike, as would leave the trees equal if only a factor differed
            noise = np.random.default_rng(seed).random(vector.shape) * 1e-6
            noise = np.triu(noise, 1) + np.triu(noise, 1).T
            broken = groups(vector + noise, linkage)
            assert broken == groups(math.sqrt(2) * (vector + noise), linkage)
            assert broken != groups(onehot + math.sqrt(2) * noise, linkage)


@pytest.mark.parametrize(
    ("encodings", "decay", "complaint"),
    [
        (np.zeros(3), None, r"shape \(3,\)"),
        (np.zeros((0, 3)), None, r"shape \(0, 3\)"),
        (np.eye(3), 0.0, "decay is 0.0.*above 0 and at most 1"),
        (np.eye(3), 1.5, "decay is 1.5"),
        (np.eye(3), math.nan, "decay is nan"),
    ],
)
def test_what_is_no_encoding_is_refused_in_one_line(encodings, decay, complaint):
    with pytest.raises(HnasError, match=rf"\A.*{complaint}.*\Z"):
        distances.from_encodings(encodings, decay)

"""Figures of data, architectures, a supernet and distances show all they are given, without a warning."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from common import ARCHS, NAMES, SPACE, TRUTH, texts

from hnas_kit import figures, spaces
from hnas_kit.figures.supernets import ROWS

pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.usefixtures("drawn")]


def test_images_are_titled_by_class():
    x = np.random.default_rng(0).normal(size=(6, 1, 4, 4))
    x[1] = 3.0  # one gray: no division by zero
    figure = figures.images(x, [0, 1, 0, 1, 1, 0], ("cat", "dog"), rows=2, columns=3)
    assert [axis.get_title() for axis in figure.axes] == ["cat", "dog", "cat", "dog", "dog", "cat"]
    for axis in figure.axes:
        shown = axis.images[0].get_array()
        assert shown.shape == (4, 4)
        assert (shown.min(), shown.max()) in ((0, 1), (0, 0))
    assert len(figures.images(x.repeat(3, 1), [0] * 6, ("cat",), 1, 2).axes) == 2  # colour, and more than fit


def test_pooling_has_a_row_an_architecture_coloured_by_resolution():
    (axis,) = figures.architectures(SPACE, ARCHS).axes
    assert texts(axis.get_yticklabels()) == NAMES
    assert texts(axis.get_legend().texts) == ["full", "half", "quarter"]
    shown = axis.collections[0].get_array().reshape(36, 10)
    np.testing.assert_array_equal(shown[NAMES.index("[4,3,3]")], [0] * 4 + [1] * 3 + [2] * 3)


def test_another_space_has_some_architectures_coloured_by_operation():
    space = spaces.make_space("macro")
    archs = space.enumerate()
    (axis,) = figures.architectures(space, archs).axes
    labels = texts(axis.get_yticklabels())
    assert len(labels) == ROWS
    assert (labels[0], labels[-1]) == ("00000000", "22222222")
    assert texts(axis.get_legend().texts) == ["identity", "k3 e3", "k5 e6"]
    shown = axis.collections[0].get_array().reshape(ROWS, 8)
    np.testing.assert_array_equal(shown, [list(map(int, label)) for label in labels])


def test_loss_curve_is_over_epochs():
    (axis,) = figures.loss_curve(np.array([4.0, 2.0, 2.0, 1.0]), steps_per_epoch=2).axes
    steps, mean = axis.lines
    np.testing.assert_allclose(steps.get_xydata(), [(0.5, 4), (1, 2), (1.5, 2), (2, 1)])
    np.testing.assert_allclose(mean.get_ydata(), [4, 3, 2, 1.5])
    assert axis.get_ylim()[0] == 0


def test_ranking_names_the_favourite_and_the_best():
    estimate = pd.Series(10.0, index=NAMES)
    estimate["[4,3,3]"] = 30
    (axis,) = figures.ranking(estimate, TRUTH, tau=0.128).axes
    assert texts(axis.texts) == ["truly best: [8,1,1]", "favourite: [4,3,3]"]
    assert axis.get_title() == "The favourite is truly number 13 of 36 (Kendall's tau 0.13)"
    np.testing.assert_allclose(axis.collections[0].get_offsets(), np.column_stack([TRUTH, estimate]))


@pytest.mark.parametrize(("networks", "shown"), [(9, 4), (2, 2)])
def test_the_image_on_which_networks_disagree_most_is_shown_with_their_kl(networks, shown):
    outputs = np.full((networks, 5, 7), 1 / 7)
    outputs[1:, 3] = np.roll([0.7, 0.2, *[0.02] * 5], 2)
    x = np.random.default_rng(0).normal(size=(5, 3, 6, 6))
    classes = [f"class {c}" for c in range(7)]
    image, *bars, kl = figures.disagreement(outputs, x, np.array([0, 1, 2, 6, 4]), NAMES, classes).axes
    assert image.get_title() == "it is: class 6"
    assert len(bars) == shown
    assert bars[0].get_title() == NAMES[0]
    assert len(kl.texts) == shown**2
    answer = outputs[1, 3]
    assert kl.texts[shown].get_text() == f"{(answer * np.log(answer * 7)).sum():.1f}"
    assert kl.texts[0].get_text() == "0.0"


@pytest.mark.parametrize("truth", [None, TRUTH], ids=["no truth", "truth"])
def test_distances_stand_in_the_order_that_is_given(truth):
    order, distance = np.random.default_rng(0).permutation(36), np.add.outer(np.arange(36.0), np.arange(36.0))
    figure = figures.ordered_distances(distance, order, NAMES, truth)
    matrix, strip = figure.axes[:2]
    np.testing.assert_array_equal(matrix.images[0].get_array(), distance[np.ix_(order, order)])
    assert texts(matrix.get_yticklabels()) == [NAMES[i] for i in order]
    if truth is None:
        assert not strip.images
    else:
        np.testing.assert_array_equal(strip.images[0].get_array()[:, 0], truth.to_numpy()[order])
        gap = np.abs(np.diff(truth.to_numpy()[order])).mean()
        assert f"{gap:.1f} points" in figure.get_suptitle()


@pytest.mark.parametrize("names", [["kl"], ["kl", "l2", "cross_entropy"]])
def test_distance_matrices_are_scaled_side_by_side(names):
    matrix = np.random.default_rng(0).random((36, 36)) * 7
    *panels, bar = figures.distance_matrices(dict.fromkeys(names, matrix), NAMES).axes
    assert [panel.get_title() for panel in panels] == names
    for panel in panels:
        shown = panel.images[0].get_array()[~np.eye(36, dtype=bool)]
        assert (shown.min(), shown.max()) == (0, 1)
        np.testing.assert_allclose(np.corrcoef(shown, matrix[~np.eye(36, dtype=bool)])[0, 1], 1)
        assert texts(panel.get_xticklabels()) == NAMES[::4]
        assert texts(panel.get_yticklabels()) == (NAMES[::4] if panel is panels[0] else [])  # the same rows
    assert bar.get_ylabel() == "from smallest to largest"


def test_a_large_distance_matrix_is_thinned_out():
    matrix = np.add.outer(np.arange(1000.0), np.arange(1000.0))
    axis = figures.distance_matrices({"kl": matrix}, [str(i) for i in range(1000)]).axes[0]
    assert axis.images[0].get_array().shape == (334, 334)
    assert texts(axis.get_xticklabels())[:2] == ["0", "111"]  # every third, and of these every 37th

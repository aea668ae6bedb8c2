"""Figures: each shows all it is given, with and without ground truth, and without a warning."""

from __future__ import annotations

import itertools

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from hnas_kit import plots, spaces, trees
from hnas_kit.rewards import REWARDS
from hnas_kit.samplers import METHODS

SPACE = spaces.make_space("pooling")
ARCHS = SPACE.enumerate()
NAMES = [SPACE.format(arch) for arch in ARCHS]
TRUTH = pd.Series(np.linspace(80, 90, 36), index=NAMES)
STARTS, STEPS = (0, 8, 13), 20

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(autouse=True)
def drawn():
    """The notebooks' style; every figure is drawn, so that what only fails then does, and closed."""
    mpl.use("Agg")
    with mpl.rc_context():
        plots.use_style()
        yield
        for number in plt.get_fignums():
            plt.figure(number).canvas.draw()
    plt.close("all")


@pytest.fixture
def histories():
    phase = ["uniform"] * 8 + ["warm-up"] * 5 + ["search"] * 7
    columns = {"phase": phase, "reward": np.linspace(0.1, 0.9, STEPS)}
    drawn = {"learned": NAMES[:13] + NAMES[-1:] * 7, "uniform": NAMES[:STEPS]}
    return {method: pd.DataFrame(columns | {"architecture": archs}) for method, archs in drawn.items()}


def texts(things):
    return [thing.get_text() for thing in things]


def test_images_are_titled_by_class():
    x = np.random.default_rng(0).normal(size=(6, 1, 4, 4))
    x[1] = 3.0  # one gray: no division by zero
    figure = plots.images(x, [0, 1, 0, 1, 1, 0], ("cat", "dog"), rows=2, columns=3)
    assert [axis.get_title() for axis in figure.axes] == ["cat", "dog", "cat", "dog", "dog", "cat"]
    for axis in figure.axes:
        shown = axis.images[0].get_array()
        assert shown.shape == (4, 4)
        assert (shown.min(), shown.max()) in ((0, 1), (0, 0))
    assert len(plots.images(x.repeat(3, 1), [0] * 6, ("cat",), 1, 2).axes) == 2  # colour, and more than fit


def test_resolutions_has_a_row_an_architecture():
    (axis,) = plots.resolutions(ARCHS, NAMES).axes
    assert texts(axis.get_yticklabels()) == NAMES
    assert texts(axis.get_legend().texts) == ["full", "half", "quarter"]
    shown = axis.collections[0].get_array().reshape(36, 10)
    np.testing.assert_array_equal(shown[NAMES.index("[4,3,3]")], [0] * 4 + [1] * 3 + [2] * 3)


def test_smooth_is_the_mean_of_the_last_values():
    np.testing.assert_allclose(plots.smooth([1, 3, 5, 9], 2), [1, 2, 4, 7])


def test_loss_curve_is_over_epochs():
    (axis,) = plots.loss_curve(np.array([4.0, 2.0, 2.0, 1.0]), steps_per_epoch=2).axes
    steps, mean = axis.lines
    np.testing.assert_allclose(steps.get_xydata(), [(0.5, 4), (1, 2), (1.5, 2), (2, 1)])
    np.testing.assert_allclose(mean.get_ydata(), [4, 3, 2, 1.5])
    assert axis.get_ylim()[0] == 0


def test_ranking_names_the_favourite_and_the_best():
    estimate = pd.Series(10.0, index=NAMES)
    estimate["[4,3,3]"] = 30
    (axis,) = plots.ranking(estimate, TRUTH, tau=0.128).axes
    assert texts(axis.get_legend().texts) == ["truly best: [8,1,1]", "favourite: [4,3,3]"]
    assert axis.get_title() == "Kendall's tau 0.13"
    np.testing.assert_allclose(axis.collections[0].get_offsets(), np.column_stack([TRUTH, estimate]))


@pytest.mark.parametrize("names", [["kl"], ["kl", "l2", "cross_entropy"]])
def test_distance_matrices_are_scaled_side_by_side(names):
    matrix = np.random.default_rng(0).random((36, 36)) * 7
    *panels, bar = plots.distance_matrices(dict.fromkeys(names, matrix), NAMES).axes
    assert [panel.get_title() for panel in panels] == names
    for panel in panels:
        shown = panel.images[0].get_array()[~np.eye(36, dtype=bool)]
        assert (shown.min(), shown.max()) == (0, 1)
        np.testing.assert_allclose(np.corrcoef(shown, matrix[~np.eye(36, dtype=bool)])[0, 1], 1)
        assert texts(panel.get_xticklabels()) == texts(panel.get_yticklabels()) == NAMES[::4]
    assert bar.get_ylabel() == "from smallest to largest"


@pytest.mark.parametrize("truth", [None, TRUTH], ids=["no truth", "truth"])
@pytest.mark.parametrize("tree", [trees.random(ARCHS, 0), trees.default(SPACE)], ids=["binary", "default"])
def test_dendrogram_has_a_line_a_node_and_a_label_a_leaf(tree, truth):
    figure = plots.dendrogram(tree, NAMES, truth, "a tree")
    axis = figure.axes[0]
    assert len(axis.lines) == tree.num_nodes - 1
    labels = texts(axis.get_xticklabels())
    assert sorted(labels) == sorted(NAMES)
    assert axis.get_title() == "a tree"
    assert [a.get_ylabel() for a in figure.axes[1:]] == ([] if truth is None else ["true accuracy (%)"])
    if truth is not None:
        np.testing.assert_allclose(axis.collections[0].get_array(), truth[labels])


def test_leaves_of_a_subtree_lie_side_by_side():
    labels = texts(plots.dendrogram(trees.default(SPACE), NAMES, None, "").axes[0].get_xticklabels())
    first_pools = [int(label[1]) for label in labels]  # after how many layers, that is which branch
    assert len(list(itertools.groupby(first_pools))) == 8


def test_dendrogram_lines_are_as_wide_as_their_share_of_draws():
    tree = trees.random(ARCHS, 0)
    share = np.linspace(1, 0, tree.num_nodes)
    (axis,) = plots.dendrogram(tree, NAMES, None, "", width=share).axes
    widths = [line.get_linewidth() for line in axis.lines]
    np.testing.assert_allclose(widths, 0.8 + 9 * share[1:])
    assert all(0.35 <= line.get_alpha() <= 1 for line in axis.lines)


def test_variance_levels_has_a_curve_a_tree():
    curves = {name: ([1, 2, 36], [0, 0.4, 1]) for name in ("learned", "default", "random")}
    (axis,) = plots.variance_levels(curves, 36).axes
    labels = ["split at random, on average", "learned tree", "default tree", "random tree"]
    assert texts(axis.get_legend().texts) == [line.get_label() for line in axis.lines] == labels
    np.testing.assert_allclose(axis.lines[0].get_ydata()[[0, -1]], [0, 1])


@pytest.mark.parametrize("truth", [None, TRUTH], ids=["no truth", "truth"])
def test_search_curves(histories, truth):
    figure = plots.search_curves(histories, STARTS, STEPS, "absolute validation accuracy", truth)
    axes = figure.axes
    assert len(axes) == (1 if truth is None else 2)
    assert texts(figure.legends[0].texts) == ["learned", "uniform"]
    np.testing.assert_allclose(axes[0].lines[0].get_ydata(), 100 * histories["learned"]["reward"])
    assert "accuracy" in axes[0].get_ylabel()
    assert "(%)" in axes[0].get_ylabel()
    for axis in axes:
        assert texts(axis.texts) == ["uniform", "warm-up", "search"]
        assert axis.get_xlim() == (0, STEPS)
    if truth is not None:
        accuracy = truth[histories["learned"]["architecture"]]
        np.testing.assert_allclose(axes[1].lines[0].get_ydata(), accuracy)
        assert axes[1].lines[2].get_ydata()[0] == truth.mean()


@pytest.mark.parametrize("reward", [name for name in REWARDS if name != "absolute validation accuracy"])
def test_another_reward_is_drawn_as_it_is_and_named(histories, reward):
    axis = plots.search_curves(histories, STARTS, STEPS, reward, TRUTH).axes[0]
    np.testing.assert_allclose(axis.lines[0].get_ydata(), histories["learned"]["reward"])
    assert axis.get_ylabel() == f"{reward}\nof the drawn architecture"


def test_a_longer_search_is_drawn_to_the_same_length(histories):
    longer = histories["learned"].iloc[np.repeat(np.arange(STEPS), 3)].reset_index(drop=True)
    axes = plots.search_curves(
        histories | {"mixture": longer}, STARTS, STEPS, "relative training loss", TRUTH
    ).axes
    for axis in axes:
        first, *_, last = axis.lines[2].get_xdata()
        assert (first, last) == (0, STEPS)
        assert len(axis.lines[2].get_xdata()) == 3 * STEPS
        assert axis.get_xlim() == (0, STEPS)
    smoothed = plots.smooth(longer["reward"], 3)  # over the same share of the search
    np.testing.assert_allclose(axes[0].lines[2].get_ydata(), smoothed)


def test_every_method_has_a_colour_of_its_own():
    assert set(METHODS) <= set(plots.COLOURS)
    assert len(set(plots.COLOURS.values())) == len(plots.COLOURS)


def test_visits_are_those_of_the_third_phase_by_rank(histories):
    ranks = TRUTH.rank(ascending=False)
    axes = plots.visits_by_rank(histories, ranks).axes
    assert [axis.get_title() for axis in axes] == ["learned", "uniform"]
    learned, uniform = ([bar.get_height() for bar in axis.patches] for axis in axes)
    assert learned == [100] + [0] * 35  # the last name is the best one
    np.testing.assert_allclose(np.flatnonzero(uniform) + 1, ranks[NAMES[13:20]].sort_values())
    empty = {"learned": histories["learned"].head(8)}  # a search too short to have a third phase
    assert not any(bar.get_height() for bar in plots.visits_by_rank(empty, ranks).axes[0].patches)


@pytest.mark.parametrize("truth", [None, TRUTH], ids=["no truth", "truth"])
@pytest.mark.parametrize("tree", [trees.random(ARCHS, 0), trees.default(SPACE)], ids=["binary", "default"])
def test_visits_over_time_have_a_tree_for_each_part_of_the_search(tree, truth):
    phase = ["uniform"] * 8 + ["warm-up"] * 6 + ["search"] * 6
    drawn = NAMES[:8] + NAMES[8:14] + [NAMES[0]] * 2 + [NAMES[0], NAMES[35]] + [NAMES[35]] * 2
    history = pd.DataFrame({"phase": phase, "architecture": drawn})
    figure = plots.visits_over_time(tree, history, NAMES, truth)
    axes = figure.axes[:4]
    assert [axis.get_title(loc="left") for axis in axes] == [
        "warm-up",
        "first third of the search",
        "second third of the search",
        "last third of the search",
    ]
    assert [axis.get_ylabel() for axis in figure.axes[4:]] == ([] if truth is None else ["true accuracy (%)"])
    labels = texts(axes[-1].get_xticklabels())
    assert sorted(labels) == sorted(NAMES)
    parts = [drawn[8:14], drawn[14:16], drawn[16:18], drawn[18:]]
    for axis, part in zip(axes, parts, strict=True):
        assert len(axis.lines) == tree.num_nodes - 1
        through = np.zeros(tree.num_nodes)
        for name in part:  # every draw goes through all nodes from its leaf up
            v = tree.leaf[ARCHS[NAMES.index(name)]]
            while v >= 0:
                through[v] += 1 / len(part)
                v = tree.parent[v]
        np.testing.assert_allclose([line.get_linewidth() for line in axis.lines], 0.8 + 9 * through[1:])
        if truth is not None:
            np.testing.assert_allclose(axis.collections[0].get_array(), truth[labels])


def test_visits_over_time_of_a_search_too_short_for_all_parts():
    history = pd.DataFrame({"phase": ["uniform"] * 3 + ["search"], "architecture": NAMES[:4]})
    axes = plots.visits_over_time(trees.random(ARCHS, 0), history, NAMES, None).axes
    widest = [max(line.get_linewidth() for line in axis.lines) for axis in axes]
    np.testing.assert_allclose(widest, [0.8, 9.8, 0.8, 0.8])  # nothing went down the other trees


def test_uct_terms_are_over_the_steps():
    terms = pd.DataFrame({"C": [np.nan, 2.0, 3.0], "exploration": [np.nan, 0.5, 0.2]}, index=[10, 15, 20])
    (axis,) = plots.uct_terms(terms, STARTS, STEPS).axes
    assert texts(axis.get_legend().texts) == ["accuracy term C", "exploration term"]
    np.testing.assert_allclose(axis.lines[0].get_xydata(), [(10, np.nan), (15, 2), (20, 3)])
    assert axis.get_yscale() == "log"
    assert texts(axis.texts) == ["uniform", "warm-up", "search"]
    assert plots.uct_terms(terms * np.nan, STARTS, STEPS).axes  # a search too short to compare siblings

"""Figures: each shows all it is given, with and without ground truth, and without a warning."""

from __future__ import annotations

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from hnas_kit import figures, spaces
from hnas_kit.figures import style
from hnas_kit.figures.supernets import ROWS
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
        figures.use_style()
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


def test_smooth_is_the_mean_of_the_last_values():
    np.testing.assert_allclose(style.smooth([1, 3, 5, 9], 2), [1, 2, 4, 7])


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
    assert texts(axis.get_legend().texts) == ["truly best: [8,1,1]", "favourite: [4,3,3]"]
    assert axis.get_title() == "Kendall's tau 0.13"
    np.testing.assert_allclose(axis.collections[0].get_offsets(), np.column_stack([TRUTH, estimate]))


@pytest.mark.parametrize("names", [["kl"], ["kl", "l2", "cross_entropy"]])
def test_distance_matrices_are_scaled_side_by_side(names):
    matrix = np.random.default_rng(0).random((36, 36)) * 7
    *panels, bar = figures.distance_matrices(dict.fromkeys(names, matrix), NAMES).axes
    assert [panel.get_title() for panel in panels] == names
    for panel in panels:
        shown = panel.images[0].get_array()[~np.eye(36, dtype=bool)]
        assert (shown.min(), shown.max()) == (0, 1)
        np.testing.assert_allclose(np.corrcoef(shown, matrix[~np.eye(36, dtype=bool)])[0, 1], 1)
        assert texts(panel.get_xticklabels()) == texts(panel.get_yticklabels()) == NAMES[::4]
    assert bar.get_ylabel() == "from smallest to largest"


def test_a_large_distance_matrix_is_thinned_out():
    matrix = np.add.outer(np.arange(1000.0), np.arange(1000.0))
    axis = figures.distance_matrices({"kl": matrix}, [str(i) for i in range(1000)]).axes[0]
    assert axis.images[0].get_array().shape == (334, 334)
    assert texts(axis.get_xticklabels())[:2] == ["0", "111"]  # every third, and of these every 37th


def test_bonuses_are_those_of_the_two_formulas():
    axis = figures.bonuses(0.5, 0.02, parent=1000).axes[0]
    for line, power in zip((axis.lines[0], axis.lines[2]), (0.5, 1), strict=True):
        visits = line.get_xdata()
        np.testing.assert_allclose(line.get_ydata(), 0.5 * np.log(1000) ** 0.5 / visits**power)
    assert texts(axis.texts) == ["0.13", "0.013", "T = 0.02"]


def rewarded(histories, reward="absolute validation accuracy"):
    return dict.fromkeys(histories, reward)


@pytest.mark.parametrize("truth", [None, TRUTH], ids=["no truth", "truth"])
def test_search_curves(histories, truth):
    figure = figures.search_curves(histories, STARTS, STEPS, rewarded(histories), truth)
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
    axis = figures.search_curves(histories, STARTS, STEPS, rewarded(histories, reward), TRUTH).axes[0]
    np.testing.assert_allclose(axis.lines[0].get_ydata(), histories["learned"]["reward"])
    assert axis.get_ylabel() == f"{reward}\nof the drawn architecture"


def test_a_longer_search_is_drawn_to_the_same_length(histories):
    longer = histories["learned"].iloc[np.repeat(np.arange(STEPS), 3)].reset_index(drop=True)
    histories = histories | {"mixture": longer}
    rewards = rewarded(histories, "relative training loss")
    axes = figures.search_curves(histories, STARTS, STEPS, rewards, TRUTH).axes
    for axis in axes:
        first, *_, last = axis.lines[2].get_xdata()
        assert (first, last) == (0, STEPS)
        assert len(axis.lines[2].get_xdata()) == 3 * STEPS
        assert axis.get_xlim() == (0, STEPS)
    smoothed = style.smooth(longer["reward"], 3)  # over the same share of the search
    np.testing.assert_allclose(axes[0].lines[2].get_ydata(), smoothed)


def test_a_search_with_another_reward_stands_on_the_right_alone(histories):
    histories = histories | {"MCTS + Reg": histories["learned"]}
    rewards = rewarded(histories) | {"MCTS + Reg": "relative validation accuracy"}
    figure = figures.search_curves(histories, STARTS, STEPS, rewards, TRUTH)
    curves = [[line for line in axis.lines if len(line.get_xdata()) == STEPS] for axis in figure.axes]
    assert [len(lines) for lines in curves] == [2, 3]
    assert texts(figure.legends[0].texts) == ["learned", "uniform", "MCTS + Reg"]


def test_every_method_has_a_colour_of_its_own():
    own = style.colours(["learned", "MCTS + Reg", "mine"])
    assert own["learned"] == style.COLOURS["learned"]
    assert len(set(own.values())) == 3
    assert set(METHODS) <= set(style.COLOURS)
    assert len(set(style.COLOURS.values())) == len(style.COLOURS)


def test_visits_are_those_of_the_third_phase_by_rank(histories):
    ranks = TRUTH.rank(ascending=False)
    axes = figures.visits_by_rank(histories, ranks).axes
    assert [axis.get_title() for axis in axes] == ["learned", "uniform"]
    learned, uniform = ([bar.get_height() for bar in axis.patches] for axis in axes)
    assert learned == [100] + [0] * 35  # the last name is the best one
    np.testing.assert_allclose(np.flatnonzero(uniform) + 1, ranks[NAMES[13:20]].sort_values())
    empty = {"learned": histories["learned"].head(8)}  # a search too short to have a third phase
    assert not any(bar.get_height() for bar in figures.visits_by_rank(empty, ranks).axes[0].patches)


def test_visits_of_many_architectures_are_taken_together():
    names = [str(i) for i in range(1000)]
    history = pd.DataFrame({"phase": "search", "architecture": names[:34] + names[:17] + names[990:]})
    (axis,) = figures.visits_by_rank({"learned": history}, pd.Series(np.arange(1, 1001), index=names)).axes
    heights = [bar.get_height() for bar in axis.patches]
    assert len(heights) == 59  # of 17 ranks each, the last of 14
    np.testing.assert_allclose([heights[0], heights[1], heights[-1]], np.array([34, 17, 10]) / 61 * 100)
    assert axis.patches[0].get_x() == pytest.approx(9 - 0.85 * 17 / 2)
    assert axis.lines[0].get_ydata()[0] == pytest.approx(1.7)


def test_uct_terms_are_over_the_steps():
    terms = pd.DataFrame({"C": [np.nan, 2.0, 3.0], "exploration": [np.nan, 0.5, 0.2]}, index=[10, 15, 20])
    (axis,) = figures.uct_terms(terms, STARTS, STEPS).axes
    assert texts(axis.get_legend().texts) == ["accuracy term C", "exploration term"]
    np.testing.assert_allclose(axis.lines[0].get_xydata(), [(10, np.nan), (15, 2), (20, 3)])
    assert axis.get_yscale() == "log"
    assert texts(axis.texts) == ["uniform", "warm-up", "search"]
    assert figures.uct_terms(terms * np.nan, STARTS, STEPS).axes  # a search too short to compare siblings

"""Figures of searches show all they are given, with and without ground truth, and without a warning."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from common import NAMES, TRUTH, texts

from hnas_kit import figures
from hnas_kit.figures import style
from hnas_kit.rewards import REWARDS

STARTS, STEPS = (0, 8, 13), 20

pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.usefixtures("drawn")]


@pytest.fixture
def histories():
    phase = ["uniform"] * 8 + ["warm-up"] * 5 + ["search"] * 7
    columns = {"phase": phase, "reward": np.linspace(0.1, 0.9, STEPS)}
    drawn = {"learned": NAMES[:13] + NAMES[-1:] * 7, "uniform": NAMES[:STEPS]}
    return {method: pd.DataFrame(columns | {"architecture": archs}) for method, archs in drawn.items()}


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


def test_visits_are_those_of_the_third_phase_by_rank(histories):
    ranks = TRUTH.rank(ascending=False)
    figure = figures.visits_by_rank(histories, ranks)
    assert [axis.get_title() for axis in figure.axes] == ["learned", "uniform"]
    learned, uniform = ([bar.get_height() for bar in axis.patches] for axis in figure.axes)
    assert learned == [100] + [0] * 35  # the last name is the best one
    np.testing.assert_allclose(np.flatnonzero(uniform) + 1, ranks[NAMES[13:20]].sort_values())
    assert figure.get_suptitle().endswith("learned 100 %, uniform 0 %")
    assert [texts(axis.texts)[0] for axis in figure.axes] == ["best quarter: 100 %", "best quarter: 0 %"]
    assert set(figure.axes[0].lines[-1].get_xdata()) == {0.5, 9.5}  # the bracket
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

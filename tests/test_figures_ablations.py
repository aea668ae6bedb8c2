"""The comparing figures draw what they are given."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from common import texts

from hnas_kit import figures
from hnas_kit.spaces import make_space
from hnas_kit.studies.simulation import Simulation
from hnas_kit.training import PHASES

LABELS = ("Uniform", "MCTS", "MCTS + Learned")


@pytest.fixture
def rows() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = 4 * len(LABELS)
    return pd.DataFrame(
        {
            "label": np.repeat(LABELS, 4),
            "seed": np.tile(range(4), len(LABELS)),
            "rank": rng.integers(1, 37, n),
            "accuracy": rng.normal(90, 1, n),
            "epochs": np.tile([0, 3, 24], 4),
            "early_variance": rng.random(n),
            "cophenetic_correlation": rng.random(n),
            "best_quarter": rng.random(n),
        }
    )


def test_ranks_shows_every_seed_and_the_mean(rows):
    axis = figures.ranks(rows, 36).axes[0]
    assert texts(axis.get_yticklabels()) == list(LABELS)
    assert sum(len(points.get_offsets()) for points in axis.collections) == len(rows)
    np.testing.assert_allclose(axis.lines[0].get_xdata(), rows.groupby("label", sort=False)["rank"].mean())
    assert axis.get_xlim()[0] > axis.get_xlim()[1]  # the best on the right


def test_pretraining_shows_the_mean_of_each_length(rows):
    axis = figures.pretraining(rows, {"default tree": 88.0}).axes[0]
    assert texts(axis.get_xticklabels()) == ["0", "3", "24"]
    means = rows.groupby("epochs")["accuracy"].mean()
    np.testing.assert_allclose(np.asarray(axis.containers[0].lines[0].get_ydata(), float), means)
    assert "default tree" in [text.get_text() for text in axis.get_legend().get_texts()]


def test_accuracy_over_steps_averages_over_seeds():
    phases = np.repeat(PHASES, [4, 3, 3])
    histories = {
        "learned": [
            pd.DataFrame({"phase": phases, "architecture": "x", "reward": np.full(10, value)})
            for value in (0.2, 0.4)
        ]
    }
    left, right = figures.accuracy_over_steps(histories, pd.Series({"x": 90.0})).axes
    np.testing.assert_allclose(left.lines[0].get_ydata(), 30)
    np.testing.assert_allclose(right.lines[0].get_ydata(), 90)


def test_tree_quality_titles_are_the_correlations(rows):
    figure = figures.tree_quality(rows)
    expected = rows[["early_variance", "best_quarter"]].corr(method="spearman").iloc[0, 1]
    assert figure.axes[0].get_title() == f"Spearman {expected:.2f}"
    assert len(figure.axes) == 4


def test_simulated_searches_have_a_dot_a_seed_the_median_and_the_share_of_the_best_quarter():
    rng = np.random.default_rng(0)
    archs, accuracy = make_space("pooling").enumerate(), np.linspace(0.9, 0.5, 36)
    results = {
        name: Simulation(
            tuple(archs),
            accuracy,
            accuracy,
            rng.integers(36, size=(9, 30)),
            np.zeros((9, 30)),
            rng.integers(36, size=9),
            third=20,
        )
        for name in ("uniform", "learned", "another")
    }
    ranks, shares = figures.simulated(results).axes
    assert texts(ranks.get_yticklabels()) == list(results)
    found = [sorted(result.found_index + 1) for result in results.values()]
    dots = [points.get_offsets() for points in ranks.collections]
    assert [sorted(xy[:, 0]) for xy in dots] == found
    assert [set(xy[:, 1].round()) for xy in dots] == [{0}, {1}, {2}]
    np.testing.assert_array_equal(ranks.lines[0].get_xdata(), [row[4] for row in found])
    assert ranks.get_xscale() == "log"
    assert ranks.get_xlim()[0] > ranks.get_xlim()[1]  # the best on the right
    lengths = [bar.get_width() for bar in shares.patches]
    np.testing.assert_allclose(
        lengths, [100 * (result.arch_index[:, 20:] < 9).mean() for result in results.values()]
    )


def test_complexity_has_the_measured_the_fitted_and_the_papers():
    seconds = pd.DataFrame({"outputs": [1.0, 2.0], "tree": [0.1, 0.4]}, index=[100, 200])
    (axis,) = figures.complexity(seconds, 1e-5, 0.01).axes
    outputs, tree, fitted, papers = axis.lines
    np.testing.assert_allclose(outputs.get_xydata(), [(100, 1), (200, 2)])
    np.testing.assert_allclose(tree.get_ydata(), [0.1, 0.4])
    assert fitted.get_ydata()[0] == pytest.approx(1e-5 * 100**2 + 0.01 * 100)
    assert papers.get_ydata()[-1] == pytest.approx(1e-8 * 1e10 + 0.01 * 1e5)


def test_intervals_are_drawn_where_there_is_something_to_compare_with():
    rows = pd.DataFrame(
        {
            "data": ["a", "a", "a", "b"],
            "seeds": 5,
            "method": ["MCTS", "leaves", "relearned", "leaves"],
            "against": ["", "MCTS", "MCTS", "MCTS"],
            "better": [np.nan, 4, -2, 1],
            "low": [np.nan, 1, -6, -1],
            "high": [np.nan, 7, 2, 3],
        }
    )
    left, right = figures.intervals(rows).axes
    assert texts(left.get_yticklabels()) == [
        "leaves\nagainst MCTS",
        "relearned\nagainst MCTS",
    ]
    assert left.get_xlabel() == "ranks better\na, 5 seeds"
    spans = [c.lines[2][0].get_segments()[0][:, 0].tolist() for c in left.containers + right.containers]
    assert spans == [[1, 7], [-6, 2], [-1, 3]]
    colours = [container.lines[0].get_color() for container in left.containers]
    assert colours[0] != colours[1]  # one is on one side of 0


def test_a_dot_stands_in_its_methods_row_though_a_data_set_lacks_another():
    made = {"seeds": 3, "rank": [9.0, 8.0, 7.0, 6.0, 5.0], "deviation": 1.0, "p": 0.5, "paper": 2.0}
    names = {"data": [*"aaabb"], "method": ["Uniform", "MCTS", "Learned", "Uniform", "Learned"]}
    first, axis = figures.finished(pd.DataFrame(names | made), "Learned", 18.5).axes[:2]
    places = [float(bar.lines[0].get_ydata()[0]) for bar in axis.containers]
    assert [texts(first.get_yticklabels())[int(place)] for place in places] == ["Uniform", "Learned"]

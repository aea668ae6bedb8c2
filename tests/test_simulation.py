"""Simulated searches against the samplers themselves, step by step, and hand-computed figures."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from hnas_kit import simulation, trees
from hnas_kit.errors import HnasError
from hnas_kit.samplers import METHODS, Method, Sampler, make_sampler
from hnas_kit.schedule import Schedule
from hnas_kit.simulation import Simulation, quantiles, simulate
from hnas_kit.spaces import make_space

SPACE = make_space("pooling")
ARCHS = SPACE.enumerate()
ACCURACY = np.random.default_rng(0).uniform(50, 95, 36)
TRUTH = pd.DataFrame({"accuracy": ACCURACY}, index=[SPACE.format(arch) for arch in ARCHS])
FOREST = {
    "learned": trees.learned(abs(np.subtract.outer(ACCURACY, ACCURACY)), ARCHS),
    "default": trees.default(SPACE),
    "random": trees.random(ARCHS, seed=1),
    "accuracy": trees.accuracy(ACCURACY, ARCHS),
}
ALL = {name: method for name, method in METHODS.items() if name != "mixture"}
ALL["equivalent"] = Method("mcts_reg", "default", "equivalent_nodes")
SHORT = Schedule(60, uniform=0.1, warmup=0.2, temperature_start=0.2, temperature_end=0.05)


def new(name: str) -> Sampler:
    return ALL[name].make(SPACE, FOREST, beta=0.8, exploration=0.1, coefficient=0.5)


def replayed(name: str, result: Simulation, seed: int, schedule: Schedule):
    """The sampler itself with what a simulated search drew and saw: before each step, and the step's arch."""
    sampler = new(name)
    for step, (i, reward) in enumerate(zip(result.arch_index[seed], result.reward[seed], strict=True)):
        if schedule.phase(step) == 2:
            sampler.anneal(schedule.temperature(step))
            yield sampler, ARCHS[i]
        if schedule.phase(step) > 0:
            sampler.update(ARCHS[i], reward)


@pytest.mark.parametrize("name", ALL)
def test_draws_have_the_samplers_own_probabilities(name):
    """What was learned on the way, by one search or another, decides the draws of 300 searches."""
    result = simulate(SPACE, TRUTH, new(name), SHORT, range(300), batch_size=64)
    expected, observed = np.zeros(36), np.zeros(36)
    for seed in range(300):
        for sampler, arch in replayed(name, result, seed, SHORT):
            probability = sampler.probabilities()
            expected += [probability[a] for a in ARCHS]
            observed[ARCHS.index(arch)] += 1
    assert observed.sum() == pytest.approx(expected.sum())
    # counts over steps whose probabilities differ vary less than a multinomial's, so this is no exact test
    z = (observed - expected) / np.sqrt(np.maximum(expected, 1))
    assert np.abs(z).max() < 4.5
    assert name == "uniform" or expected.max() > 1.5 * expected.min()  # it has learned something


@pytest.mark.parametrize("name", ["uniform", "learned", "independent"])
def test_rewards_are_the_share_of_right_answers_in_a_batch(name):
    result = simulate(SPACE, TRUTH, new(name), Schedule(400, 1.0, 0.0), range(200), batch_size=50)
    seen = result.reward * 50
    np.testing.assert_allclose(seen, seen.round(), atol=1e-4)
    for i in (0, 17, 35):
        of_arch = seen[result.arch_index == i].round()
        p = ACCURACY[i] / 100
        edges = stats.binom.ppf([0.1, 0.3, 0.5, 0.7, 0.9], 50, p)
        observed = np.histogram(of_arch, [-1, *edges, 51])[0]
        expected = np.histogram(np.arange(51), [-1, *edges, 51], weights=stats.binom.pmf(range(51), 50, p))[0]
        assert stats.chisquare(observed, expected * len(of_arch)).pvalue > 1e-4


def test_a_learning_curve_grows_towards_the_true_accuracy():
    flat = pd.DataFrame({"accuracy": 80.0}, index=TRUTH.index)
    result = simulate(SPACE, flat, new("uniform"), Schedule(1000), range(100), batch_size=1000, learning=0.2)
    mean = result.reward.mean(axis=0)
    for step in (0, 100, 199, 999):
        expected = 0.8 * (1 - math.exp(-(step + 1) / 200))
        assert mean[max(step - 2, 0) : step + 3].mean() == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("name", ALL)
def test_a_seed_gives_the_same_search_alone_and_among_others_and_leaves_the_sampler_new(name):
    sampler = new(name)
    all_at_once = simulate(SPACE, TRUTH, sampler, SHORT, [5, 6, 7])
    alone = simulate(SPACE, TRUTH, sampler, SHORT, [6])
    np.testing.assert_array_equal(all_at_once.arch_index[1], alone.arch_index[0])
    np.testing.assert_array_equal(all_at_once.reward[1], alone.reward[0])
    assert not np.array_equal(all_at_once.arch_index[0], alone.arch_index[0])
    assert sampler.probabilities() == new(name).probabilities()


def test_phases_are_the_schedules():
    """At a low temperature all later draws are of one architecture, none of the earlier phases' are."""
    schedule = Schedule(500, 0.4, 0.4, temperature_start=1e-4, temperature_end=1e-4)
    result = simulate(SPACE, TRUTH, new("accuracy"), schedule, range(20), batch_size=100_000)
    early, late = result.arch_index[:, :400], result.arch_index[:, 450:]
    assert stats.chisquare(np.bincount(early.ravel(), minlength=36)).pvalue > 1e-4
    assert all(len(set(row)) < 8 for row in late)


def test_figures_by_hand():
    result = Simulation(
        tuple(ARCHS[:4]), np.array([0.5, 0.9, 0.7, 0.8]), np.array([[0, 2, 1], [2, 0, 2]]), np.zeros((2, 3))
    )
    np.testing.assert_array_equal(result.first(1), [3, np.inf])
    np.testing.assert_array_equal(result.first(3), [2, 1])
    np.testing.assert_allclose(result.regret(), [[0.4, 0.2, 0], [0.2, 0.2, 0.2]])
    np.testing.assert_allclose(result.drawn(), [[0.5, 0.7, 0.9], [0.7, 0.5, 0.7]])


def test_quantiles_of_the_median_and_of_what_was_never_found():
    values = np.random.default_rng(1).exponential(size=101)
    median, low, high = quantiles(values)
    assert median == np.median(values)
    expected = stats.bootstrap((values,), np.median, method="percentile", rng=0).confidence_interval
    np.testing.assert_allclose((low, high), expected, rtol=0.1)
    assert quantiles([1, 2, np.inf, np.inf, np.inf])[0] == np.inf
    assert quantiles([3.0, np.inf])[0] == np.inf


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"sampler": make_sampler("mixture", space=SPACE)}, "Mixture cannot be simulated; allowed: uniform"),
        ({"benchmark": TRUTH.iloc[1:]}, r"no accuracy of \[1,1,8\] \(1 are missing\)"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"learning": -0.1}, "learning is|learning -0.1; allowed"),
        ({"learning": math.inf}, "learning inf; allowed"),
    ],
)
def test_what_cannot_be_simulated_is_refused_in_one_line(change, complaint):
    given = {"space": SPACE, "benchmark": TRUTH, "sampler": new("learned"), "schedule": SHORT, "seeds": [0]}
    with pytest.raises(HnasError, match=rf"\A.*{complaint}.*\Z"):
        simulate(**given | change)
    assert simulation.simulate(**given).reward.shape == (1, 60)

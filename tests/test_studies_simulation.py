"""Simulated searches against the samplers themselves, step by step, and hand-computed figures."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numba
import numpy as np
import pandas as pd
import pytest
from common import ARCHS, SPACE
from scipy import stats
from scipy.special import softmax

from hnas_kit import trees
from hnas_kit.errors import HnasError
from hnas_kit.samplers import METHODS, SAMPLERS, Method, Sampler, make_sampler
from hnas_kit.samplers.relearning import Planted
from hnas_kit.spaces import make_space
from hnas_kit.studies import compiled_searches, simulation
from hnas_kit.studies.simulation import Evolution, RandomSearch, Simulation, neighbours, simulate
from hnas_kit.training import Schedule

ACCURACY = np.random.default_rng(0).uniform(50, 95, 36)
TRUTH = pd.DataFrame({"accuracy": ACCURACY}, index=[SPACE.format(arch) for arch in ARCHS])
FOREST = {
    "learned": trees.learned(abs(np.subtract.outer(ACCURACY, ACCURACY)), ARCHS),
    "default": trees.default(SPACE),
    "random": trees.random(ARCHS, seed=1),
    "accuracy": trees.accuracy(ACCURACY, ARCHS),
}
ALL = {name: method for name, method in METHODS.items() if name != "mixture"} | {
    "equivalent": Method("mcts_reg", "default", "equivalent_nodes"),
    "linear": Method("mcts", "learned", settings={"bonus": "linear", "start": "first"}),
    "path": Method("mcts", "random", settings={"refresh": "path"}),
    "first": Method("boltzmann", settings={"start": "first"}),
}
SHORT = Schedule(60, uniform=0.1, warmup=0.2, temperature_start=0.2, temperature_end=0.05)


def new(name: str, exploration: float = 0.1) -> Sampler:
    return ALL[name].make(SPACE, FOREST, beta=0.8, exploration=exploration, coefficient=0.5)


def of(name: str, schedule: Schedule = SHORT) -> Schedule:
    """The schedule of a method: those without phases learn and draw from the first step."""
    return dataclasses.replace(schedule, phased=SAMPLERS[ALL[name].sampler].phased)


def replayed(sampler: Sampler, result: Simulation, seed: int, schedule: Schedule, later=()):
    """A sampler with what a simulated search drew and saw: as it was at each step, and what was drawn."""
    anew = {one.step: one.tree for one in later}
    for step, (i, reward) in enumerate(zip(result.arch_index[seed], result.reward[seed], strict=True)):
        if step in anew:
            sampler.replant(anew[step])
        sampler.anneal(schedule.temperature(step))
        if step >= schedule.draws_from(sampler.own_draws):
            yield sampler, i
        if step >= schedule.learns_from:
            sampler.update(ARCHS[i], float(reward))


def after(sampler: Sampler, result: Simulation, seed: int, schedule: Schedule) -> Sampler:
    """The sampler as a simulated search left it."""
    for _ in replayed(sampler, result, seed, schedule):
        pass
    return sampler


def agree(observed: np.ndarray, expected: np.ndarray) -> None:
    """Counts over draws whose probabilities differ vary less than a multinomial's: no exact test."""
    assert observed.sum() == pytest.approx(expected.sum())
    assert np.abs((observed - expected) / np.sqrt(np.maximum(expected, 1))).max() < 4.5


@pytest.mark.parametrize("name", ALL)
def test_draws_have_the_samplers_own_probabilities(name):
    """What was learned on the way, by one search or another, decides the draws of 80 searches."""
    schedule = of(name)
    result = simulate(SPACE, TRUTH, new(name), schedule, range(80), batch_size=64, learning=0.3)
    expected, observed = np.zeros(36), np.zeros(36)
    for seed in range(80):
        for sampler, i in replayed(new(name), result, seed, schedule):
            probability = sampler.probabilities()
            expected += [probability[arch] for arch in ARCHS]
            observed[i] += 1
    assert observed.sum() == 80 * (60 - schedule.draws_from())
    agree(observed, expected)
    assert name == "uniform" or expected.max() > 1.3 * expected.min()  # it has learned something


LATER = [  # of two supernets
    [Planted(30, trees.random(ARCHS, 2)), Planted(45, FOREST["learned"])],
    [Planted(30, FOREST["accuracy"]), Planted(45, trees.random(ARCHS, 3))],
]


@pytest.mark.parametrize("settings", [{}, {"refresh": "path", "bonus": "linear"}, {"prior": "leaves"}])
def test_a_search_goes_on_with_other_trees_as_the_sampler_does(settings):
    def start() -> Sampler:
        return make_sampler("mcts", tree=FOREST["random"], beta=0.8, exploration=0.1, **settings)

    result = simulate(
        SPACE, TRUTH, start(), SHORT, range(80), batch_size=64, learning=0.3, final="path", later=LATER
    )
    expected, observed, trees_at_end = np.zeros(36), np.zeros(36), []
    for seed in range(80):
        walker, later = start(), LATER[seed % 2]
        for sampler, i in replayed(walker, result, seed, SHORT, later):
            probability = sampler.probabilities()
            expected += [probability[arch] for arch in ARCHS]
            observed[i] += 1
        trees_at_end.append(walker.tree is later[-1].tree)
        assert ARCHS[result.found_index[seed]] == walker.greedy()  # all that was known went along
    assert all(trees_at_end)
    agree(observed, expected)


def test_trees_that_do_not_change_change_no_bit_of_a_simulated_search():
    rows = [[Planted(step, trees.load(FOREST["random"].to_bytes())) for step in (20, 33, 59)]]
    results = [simulate(SPACE, TRUTH, new("random"), SHORT, range(10), later=later) for later in ((), rows)]
    for name in ("arch_index", "reward", "found_index"):
        np.testing.assert_array_equal(getattr(results[0], name), getattr(results[1], name))


@pytest.mark.parametrize(
    ("name", "later", "complaint"),
    [
        ("uniform", LATER, "trees are replaced in MCTS alone"),
        ("regularised", LATER, "trees are replaced in MCTS alone"),
        ("learned", [LATER[0], LATER[1][:1]], "trees are replaced at the same steps for all supernets"),
        ("default", LATER, "the same architectures, and as many nodes"),
        ("learned", [[Planted(30, trees.random(ARCHS[::-1], 0))]], "the same architectures, and as many"),
    ],
)
def test_trees_that_cannot_replace_another_are_refused_in_one_line(name, later, complaint):
    with pytest.raises(HnasError, match=rf"\A.*{complaint}.*\Z"):
        simulate(SPACE, TRUTH, new(name), SHORT, range(2), later=later)


@pytest.mark.parametrize("name", ALL)
def test_the_final_draws_are_without_exploration(name):
    schedule = of(name, dataclasses.replace(SHORT, steps=20, temperature_end=0.1))
    result = simulate(
        SPACE, TRUTH, new(name, 1.0), schedule, range(200), batch_size=64, final_samples=1, scored=9
    )
    expected = np.zeros(36)
    for seed in range(200):
        probability = after(new(name, 1.0), result, seed, schedule).exploit().probabilities()
        expected += [probability[arch] for arch in ARCHS]
    agree(np.bincount(result.found_index, minlength=36), expected)


@pytest.mark.parametrize("name", [name for name in ALL if name != "uniform"])
def test_the_path_is_the_samplers_own(name):
    schedule = of(name)
    result = simulate(SPACE, TRUTH, new(name), schedule, range(20), batch_size=64, final="path")
    paths = [after(new(name), result, seed, schedule).greedy() for seed in range(20)]
    assert [ARCHS[i] for i in result.found_index] == paths
    assert len(set(paths)) > 1


@pytest.mark.parametrize("temperatures", [(2.0, 0.01), (0.002, 0.001), (0.01, 1.0)])
def test_a_boltzmann_distribution_is_exact_at_every_temperature(temperatures):
    """Its draws follow a temperature that falls, is low, or rises."""
    first, last = temperatures
    schedule = Schedule(100, temperature_start=first, temperature_end=last, phased=False)
    result = simulate(SPACE, TRUTH, new("boltzmann"), schedule, range(50), batch_size=32)
    expected, observed = np.zeros(36), np.zeros(36)
    for seed in range(50):
        for sampler, i in replayed(new("boltzmann"), result, seed, schedule):
            probability = sampler.probabilities()
            expected += [probability[arch] for arch in ARCHS]
            observed[i] += 1
    agree(observed, expected)


@numba.njit
def drawn(value, temperatures, seed):
    """Counts of many draws at the second temperature, with weights that were made at the first."""
    np.random.seed(seed)
    sums, known, counts = np.zeros(16), np.zeros(4), np.zeros(len(value))
    compiled_searches.boltzmann_draw(value, sums, known, temperatures[0])
    for _ in range(20_000):
        counts[compiled_searches.boltzmann_draw(value, sums, known, temperatures[1])] += 1
    return counts, known[0]


@pytest.mark.parametrize("temperatures", [(1.0, 0.55), (0.55, 1.0)])
def test_weights_of_another_temperature_do_not_bias_a_draw(temperatures):
    value = np.array([0.1, 0.9, 0.4, 0.8, 0.3])
    counts, inverse = drawn(value, temperatures, 0)
    assert inverse == 1 / temperatures[0]  # they have not been made anew
    assert stats.chisquare(counts, 20_000 * softmax(value / temperatures[1])).pvalue > 1e-4


def test_a_boltzmann_distribution_forgets_what_has_sunk():
    """C falls by thousands of T, so the sum of the weights runs out and is made anew."""
    accuracy = pd.DataFrame({"accuracy": [50.0, 0.0]}, index=TRUTH.index[:2])
    sampler = make_sampler("boltzmann", tree=trees.flat(ARCHS[:2]), beta=0.0)
    schedule = Schedule(40, temperature_start=1e-4, temperature_end=1e-4, phased=False)
    result = simulate(SPACE, accuracy, sampler, schedule, range(30), batch_size=1)
    for chosen, rewards in zip(result.arch_index, result.reward, strict=True):
        value = np.ones(2)
        for i, reward in zip(chosen, rewards, strict=True):
            assert value[i] == value.max()
            value[i] = reward


@pytest.mark.parametrize("name", ["uniform", "learned", "independent"])
def test_rewards_are_the_share_of_right_answers_in_a_batch(name):
    result = simulate(SPACE, TRUTH, new(name), Schedule(400), range(200), batch_size=50)
    seen = result.reward * 50
    np.testing.assert_allclose(seen, seen.round(), atol=1e-4)
    for i in (0, 17, 35):
        of_arch = seen[result.arch_index == i].round()
        p = ACCURACY[i] / 100
        edges = stats.binom.ppf([0.1, 0.3, 0.5, 0.7, 0.9], 50, p)
        observed = np.histogram(of_arch, [-1, *edges, 51])[0]
        expected = np.histogram(np.arange(51), [-1, *edges, 51], weights=stats.binom.pmf(range(51), 50, p))[0]
        assert stats.chisquare(observed, expected * len(of_arch)).pvalue > 1e-4


@pytest.mark.parametrize("name", ["uniform", "default"])
def test_a_learning_curve_grows_towards_the_true_accuracy(name):
    flat = pd.DataFrame({"accuracy": 80.0}, index=TRUTH.index)
    result = simulate(SPACE, flat, new(name), Schedule(1000), range(100), batch_size=1000, learning=0.2)
    mean = result.reward.mean(axis=0)
    for step in (0, 100, 199, 999):
        expected = 0.8 * (1 - math.exp(-(step + 1) / 200))
        assert mean[max(step - 2, 0) : step + 3].mean() == pytest.approx(expected, abs=0.01)


REFERENCES = {"random search": RandomSearch(ARCHS), "evolution": Evolution(ARCHS, 10, 3)}


@pytest.mark.parametrize("name", [*ALL, *REFERENCES])
def test_a_seed_gives_the_same_search_alone_and_among_others_and_leaves_the_sampler_new(name):
    sampler = REFERENCES.get(name) or new(name)
    all_at_once = simulate(SPACE, TRUTH, sampler, SHORT, [5, 6, 7], scored=50)
    alone = simulate(SPACE, TRUTH, sampler, SHORT, [6], scored=50)
    for part in ("arch_index", "reward", "found_index"):
        np.testing.assert_array_equal(getattr(all_at_once, part)[1], getattr(alone, part)[0])
    assert not np.array_equal(all_at_once.arch_index[0], alone.arch_index[0])
    if name in ALL:
        assert sampler.probabilities() == new(name).probabilities()


def test_a_seed_goes_on_with_the_same_trees_alone_and_among_others():
    later = [[Planted(30, trees.random(ARCHS, seed))] for seed in range(3)]
    begins = make_sampler("mcts", tree=FOREST["random"], exploration=0.1)
    every = simulate(SPACE, TRUTH, begins, SHORT, range(5), later=later)
    for seed in (1, 4):
        alone = simulate(SPACE, TRUTH, begins, SHORT, [seed], later=later)
        np.testing.assert_array_equal(alone.arch_index[0], every.arch_index[seed])


@pytest.mark.parametrize("final", ["samples", "path"])
def test_a_sampler_of_ones_own_that_prefers_nothing_has_as_many_candidates(final):
    class Mine(SAMPLERS["uniform"]):
        """The same."""

    ranks = [
        simulate(SPACE, TRUTH, cls(ARCHS), Schedule(50, phased=False), range(60), final=final).found
        for cls in (SAMPLERS["uniform"], Mine)
    ]
    assert max(np.median(found) for found in ranks) <= 2


def test_phases_are_the_schedules():
    """At a low temperature all later draws are of one architecture, none of the earlier phases' are."""
    schedule = Schedule(500, 0.4, 0.4, temperature_start=1e-4, temperature_end=1e-4)
    result = simulate(SPACE, TRUTH, new("accuracy"), schedule, range(20), batch_size=100_000)
    early, late = result.arch_index[:, :400], result.arch_index[:, 450:]
    assert stats.chisquare(np.bincount(early.ravel(), minlength=36)).pvalue > 1e-4
    assert all(len(set(row)) < 8 for row in late)
    assert result.third == 400


def test_a_warm_up_by_branches_draws_siblings_alike():
    sampler = make_sampler("mcts", tree=FOREST["learned"], warmup="branches")
    schedule = Schedule(200, 0.5, 0.45)
    result = simulate(SPACE, TRUTH, sampler, schedule, range(50))
    tree, drawn = FOREST["learned"], np.bincount(result.arch_index[:, :190].ravel(), minlength=36)
    expected = np.array([0.5 ** tree.level[tree.leaf[arch]] for arch in ARCHS]) * drawn.sum()
    assert stats.chisquare(drawn, expected).pvalue > 1e-4


def test_with_the_prior_a_warm_up_by_branches_draws_architectures_alike():
    sampler = make_sampler("mcts", tree=FOREST["learned"], warmup="branches", prior="leaves")
    result = simulate(SPACE, TRUTH, sampler, Schedule(200, 0.5, 0.45), range(50))
    drawn = np.bincount(result.arch_index[:, :190].ravel(), minlength=36)
    assert stats.chisquare(drawn).pvalue > 1e-4


def hand_made(**parts: object) -> Simulation:
    """Two searches of four architectures, of five steps, of which the last three are the third phase."""
    accuracy = np.array([0.5, 0.9, 0.7, 0.9])
    rows = np.array([[1, 1, 0, 2, 1], [3, 0, 2, 0, 2]])
    given = {"accuracy": accuracy, "seen": accuracy, "found_index": np.array([2, 3]), "third": 2} | parts
    return Simulation(tuple(ARCHS[:4]), arch_index=rows, reward=np.zeros((2, 5)), **given)


def test_figures_by_hand():
    result = hand_made()
    np.testing.assert_array_equal(result.rank, [4, 1, 3, 1])
    np.testing.assert_array_equal(result.found, [3, 1])
    np.testing.assert_allclose(result.best_quarter, [1 / 3, 0])
    np.testing.assert_array_equal(result.distinct, [3, 2])
    np.testing.assert_array_equal(result.first(1), [3, np.inf])
    np.testing.assert_array_equal(result.first(3), [2, 1])
    np.testing.assert_array_equal(hand_made(seen=np.array([4, 3, 2, 1])).found_seen, [3, 4])


@pytest.mark.parametrize("name", ["uniform", "boltzmann", "independent"])
def test_without_images_the_best_of_many_candidates_is_the_best_of_all(name):
    """At a high temperature a thousand draws are of all 36 architectures."""
    schedule = Schedule(20, temperature_start=100.0, temperature_end=100.0)
    result = simulate(SPACE, TRUTH, new(name), schedule, range(10), final_samples=1000)
    assert np.all(result.found == 1)
    few = simulate(SPACE, TRUTH, new(name), schedule, range(300), final_samples=3)
    chances = 1 - (1 - np.arange(37) / 36) ** 3  # that the best of three draws is of a rank up to this
    cells = [0, 4, 9, 18, 36]
    observed = np.histogram(few.found, np.array(cells) + 0.5)[0]
    assert stats.chisquare(observed, 300 * np.diff(chances[cells])).pvalue > 1e-4


def test_a_final_choice_through_images_errs_as_often_as_it_must():
    truth = pd.DataFrame({"accuracy": [80.0, 60.0]}, index=TRUTH.index[:2])
    sampler, short = make_sampler("uniform", tree=trees.flat(ARCHS[:2])), Schedule(3)
    result = simulate(SPACE, truth, sampler, short, range(3000), final_samples=40, scored=10)
    better = stats.binom.pmf(range(11), 10, 0.8)
    right = better @ (stats.binom.cdf(range(11), 10, 0.6) - 0.5 * stats.binom.pmf(range(11), 10, 0.6))
    assert stats.binomtest(int((result.found == 1).sum()), 3000, right).pvalue > 1e-4


def test_rewards_and_choice_by_another_source():
    """A supernet that sees everything the wrong way round."""
    estimate = 100 - TRUTH["accuracy"]
    result = simulate(SPACE, TRUTH, new("accuracy"), Schedule(2000), range(10), estimate=estimate)
    np.testing.assert_allclose(result.seen, 1 - ACCURACY / 100)
    np.testing.assert_allclose(result.accuracy, ACCURACY / 100)
    np.testing.assert_array_equal(result.found, 37 - result.found_seen)
    assert np.median(result.found_seen) < 4
    worst = np.argmin(ACCURACY)
    seen = result.reward[result.arch_index == worst]
    assert seen.mean() == pytest.approx(1 - ACCURACY[worst] / 100, abs=0.01)


def test_neighbours_differ_in_the_fewest_layers():
    assert all(
        sorted(ARCHS[j] for j in near) == sorted(b for b in ARCHS if sum(map(int.__ne__, a, b)) == 2)
        for a, near in zip(ARCHS, neighbours(ARCHS), strict=True)
    )
    macro = make_space("macro").enumerate()
    near = neighbours(macro)
    assert min(map(len, near)) > 0
    for i in (0, 1234, len(macro) - 1):
        one = [
            (*macro[i][:layer], op, *macro[i][layer + 1 :])
            for layer, op in itertools.product(range(8), range(3))
            if op != macro[i][layer]
        ]
        assert sorted(macro[j] for j in near[i]) == sorted(set(one) & set(macro))


def test_evolution_goes_on_from_the_best_of_its_population():
    """Each child is a neighbour of one of the last ten; with a tournament of many, of the best of them."""
    near = [set(row.tolist()) for row in neighbours(ARCHS)]
    for tournament in (3, 300):
        sampler = Evolution(ARCHS, population=10, tournament=tournament)
        result = simulate(SPACE, TRUTH, sampler, Schedule(200), range(20), batch_size=100_000)
        assert stats.chisquare(np.bincount(result.arch_index[:, :10].ravel(), minlength=36)).pvalue > 1e-4
        from_best = 0
        for chosen, rewards, found in zip(result.arch_index, result.reward, result.found_index, strict=True):
            for step in range(10, 200):
                alive = range(step - 10, step)
                assert any(chosen[step] in near[chosen[t]] for t in alive)
                from_best += chosen[step] in near[chosen[max(alive, key=lambda t: rewards[t])]]
            assert found == max(chosen[-10:], key=lambda i: ACCURACY[i])
        assert (from_best == 20 * 190) == (tournament == 300)
    early = simulate(SPACE, TRUTH, Evolution(ARCHS, 50), Schedule(20), range(5))
    assert all(i in row for row, i in zip(early.arch_index, early.found_index, strict=True))


def test_random_search_chooses_among_the_highest_rewards():
    result = simulate(
        SPACE, TRUTH, RandomSearch(ARCHS), Schedule(40), range(20), batch_size=100_000, learning=1.0,
        final_samples=4,
    )  # fmt: skip
    for chosen, rewards, found in zip(result.arch_index, result.reward, result.found_index, strict=True):
        best = {i: max(rewards[chosen == i]) for i in chosen}
        highest = sorted(best, key=best.get, reverse=True)[:4]
        assert found == max(highest, key=lambda i: ACCURACY[i])
    assert stats.chisquare(np.bincount(result.arch_index.ravel(), minlength=36)).pvalue > 1e-4


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            {"sampler": make_sampler("mixture", space=SPACE)},
            "Mixture cannot be simulated; allowed: uniform, independent, boltzmann, mcts, mcts_reg, and "
            "samplers of one's own",
        ),
        ({"benchmark": TRUTH.iloc[1:]}, r"the benchmark has no accuracy of \[1,1,8\] \(1 are missing\)"),
        ({"benchmark": TRUTH - 90}, r"the benchmark has the accuracy -.* of \[1,1,8\]; allowed: 0 to 100 %"),
        ({"estimate": TRUTH["accuracy"] * math.nan}, r"the estimate has the accuracy nan of \[1,1,8\]"),
        ({"estimate": TRUTH["accuracy"].iloc[2:]}, r"the estimate has no accuracy of .* \(2 are missing\)"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"learning": -0.1}, "learning -0.1; allowed"),
        ({"learning": math.inf}, "learning inf; allowed"),
        ({"final": "pathe"}, "unknown final choice 'pathe' .did you mean 'path'"),
        ({"final_samples": 0}, "final_samples 0"),
        ({"scored": -1}, "scored -1"),
        ({"seeds": []}, r"seeds are \[\]; allowed: one or more from 0"),
        ({"seeds": [0, 2**32]}, "allowed: one or more from 0 to 4294967295"),
        ({"schedule": Schedule(1)}, "of 1 steps none is left for the third phase"),
        ({"schedule": Schedule(60, temperature_end=1e-20)}, "T is from 0.0 to 0.02; allowed: 1e-300 or more"),
        ({"schedule": Schedule(60, temperature_start=math.nan)}, "T is from nan to nan; allowed"),
        ({"sampler": Evolution(ARCHS, population=0)}, "population 0, tournament 10; allowed"),
        ({"sampler": Evolution(ARCHS[:1])}, "1 architectures, .* allowed: two architectures or more"),
    ],
)
def test_what_cannot_be_simulated_is_refused_in_one_line(change, complaint):
    given = {"space": SPACE, "benchmark": TRUTH, "sampler": new("learned"), "schedule": SHORT, "seeds": [0]}
    with pytest.raises(HnasError, match=rf"\A.*{complaint}.*\Z"):
        simulate(**given | change)
    assert simulation.simulate(**given).reward.shape == (1, 60)

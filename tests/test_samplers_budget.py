"""Samplers over a window against those over the listed architectures in it, and on the ImageNet space."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from scipy import stats
from scipy.special import softmax

from hnas_kit import cost, samplers, trees
from hnas_kit.errors import HnasError
from hnas_kit.files import torch_bytes, torch_value
from hnas_kit.samplers import MCTS, MCTSReg
from hnas_kit.samplers.budget import InBudget, IndependentInBudget, MCTSInBudget, UniformInBudget
from hnas_kit.samplers.compiled import SHARED_TABLE
from hnas_kit.spaces import Arch, make_space

MOBILE = make_space("mobile")


def window(name: str, low: float, high: float) -> tuple[cost.BudgetSampler, list[Arch]]:
    """Between two quantiles of a space's MACs, and the architectures in it."""
    space = make_space(name)
    macs = np.array([cost.macs(space, arch) for arch in space.enumerate()])
    low, high = np.quantile(macs, [low, high])
    inside = [arch for arch, m in zip(space.enumerate(), macs, strict=True) if low <= m <= high]
    return cost.BudgetSampler(space, low, high), inside


WINDOWS = {"pooling": window("pooling", 0.2, 0.7), "macro": window("macro", 0.5, 0.52)}
WINDOWS["all of pooling"] = window("pooling", 0, 1)
KINDS = {
    "uniform": UniformInBudget,
    "independent": lambda budget: IndependentInBudget(budget, beta=0.8, temperature=0.2),
    "mcts": lambda budget: MCTSInBudget(budget, beta=0.8, exploration=0.1, temperature=0.1),
    "mcts_reg": lambda budget: MCTSInBudget(budget, "shared_table", 0.5, 0.8, 0.1, 0.1),
}


def taught(sampler: InBudget, steps: int, seed: int = 0) -> InBudget:
    """After some draws with rewards of their own; every third is drawn uniformly."""
    rng = np.random.default_rng(seed)
    for step in range(steps):
        arch = sampler.sample_uniform(rng) if step % 3 == 0 else sampler.sample(rng)
        sampler.update(arch, (sum(arch) % 7) / 7)
    return sampler


@pytest.fixture(scope="module")
def mobile() -> cost.BudgetSampler:
    return cost.BudgetSampler(MOBILE, 277.2e6, 280e6)


@pytest.mark.parametrize("name", WINDOWS)
def test_a_choice_is_open_if_and_only_if_an_architecture_in_the_window_begins_so(name):
    budget, inside = WINDOWS[name]
    beginnings = {arch[:n] for arch in inside for n in range(budget.space.num_layers + 1)}
    places, seen = {(): budget.start}, {()}
    for layer in range(budget.space.num_layers):
        places = {
            (*arch, op): after for arch, place in places.items() for op, after in budget.choices(layer, place)
        }
        seen |= places.keys()
    assert seen == beginnings


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [0, 200])
def test_draws_have_the_probabilities_that_are_given(name, kind, steps):
    budget, inside = WINDOWS[name]
    sampler = taught(KINDS[kind](budget), steps)
    given = sampler.probabilities()
    assert given.keys() == set(inside)
    assert sum(given.values()) == pytest.approx(1)
    draws, rng = 10_000, np.random.default_rng(1)
    counts = Counter(sampler.sample(rng) for _ in range(draws))
    assert counts.keys() <= given.keys()
    expected = draws * np.array([given[arch] for arch in inside])
    observed = np.array([counts[arch] for arch in inside])
    often = expected > 5
    if not often.all():  # the rare ones together
        expected = np.append(expected[often], expected[~often].sum())
        observed = np.append(observed[often], observed[~often].sum())
    assert stats.chisquare(observed, expected).pvalue > 1e-4


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("communication", ["", "shared_table"])
@pytest.mark.parametrize("prior", samplers.PRIORS)
def test_a_growing_tree_is_searched_as_the_listed_one_step_by_step(name, communication, prior):
    budget, inside = WINDOWS[name]
    settings = {"beta": 0.9, "exploration": 0.3, "temperature": 0.05, "prior": prior}
    tree = trees.default(budget.space, inside)
    listed = MCTSReg(tree, communication, 0.5, **settings) if communication else MCTS(tree, **settings)
    growing = MCTSInBudget(budget, communication, 0.5, **settings)
    one, other, rewards = (np.random.default_rng(seed) for seed in (2, 2, 3))
    for step in range(500):
        arch = listed.sample(one)
        assert growing.sample(other) == arch, step
        reward = rewards.random()
        for sampler in (listed, growing):
            sampler.update(arch, reward)
            sampler.anneal(0.05 - step * 5e-5)
    assert growing.greedy() == listed.greedy()
    assert growing.exploit().probabilities() == pytest.approx(listed.exploit().probabilities())
    assert growing.rule.exploration == 0.3
    assert growing.tree.num_nodes == tree.num_nodes  # by now all was asked for


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("communication", ["", "shared_table"])
def test_with_the_prior_all_that_is_in_a_window_is_equally_likely(name, communication):
    budget, inside = WINDOWS[name]
    sampler = MCTSInBudget(budget, communication, exploration=0.0, prior="leaves")
    expected = dict.fromkeys(inside, 1 / len(inside))
    assert sampler.probabilities() == pytest.approx(expected)
    without = MCTSInBudget(budget, communication, exploration=0.0).probabilities()
    assert max(without.values()) > 1.2 * min(without.values())
    warm = MCTSInBudget(budget, communication, prior="leaves", warmup="branches")
    warm.update(inside[0], 0.0)
    counts = Counter(warm.sample_uniform(rng) for rng in [np.random.default_rng(3)] for _ in range(6000))
    assert stats.chisquare([counts[arch] for arch in inside]).pvalue > 1e-4


def test_leaves_of_a_coarse_grid_are_counted_nearly_right():
    budget, inside = window("macro", 0.3, 0.7)  # 19 units a cell: what is just outside is counted, too
    off = {}
    for prior in samplers.PRIORS:
        p = MCTSInBudget(budget, exploration=0.0, prior=prior).probabilities()
        assert p.keys() == set(inside)
        off[prior] = np.abs(np.array(list(p.values())) - 1 / len(inside)).sum() / 2  # total variation
    assert off["leaves"] < 0.02 < 0.3 < off["branches"]


def test_a_state_has_all_that_was_grown():
    budget, _ = WINDOWS["macro"]
    first = taught(MCTSInBudget(budget, prior="leaves"), 100)
    again = MCTSInBudget(budget, prior="leaves")
    again.load_state_dict(torch_value(torch_bytes(first.state_dict())))
    np.testing.assert_array_equal(again.tree.nodes, first.tree.nodes)
    assert len(set(again.tree.nodes["prior"])) > 10


def test_independent_layers_in_a_window_by_listing_what_is_in_it():
    budget, inside = WINDOWS["macro"]
    sampler = taught(KINDS["independent"](budget), 50)
    given = sampler.probabilities()
    for arch in inside[::7]:
        expected = 1.0
        for layer, op in enumerate(arch):
            open_ = sorted({other[layer] for other in inside if other[:layer] == arch[:layer]})
            share = softmax(sampler.value[layer, open_] / sampler.temperature)
            expected *= share[open_.index(op)]
        assert given[arch] == pytest.approx(expected)
    best = max(inside, key=lambda arch: [sampler.value[layer, op] for layer, op in enumerate(arch)])
    assert sampler.greedy() == best  # the first layer decides first


def test_the_mean_is_moved_by_hand():
    sampler = IndependentInBudget(WINDOWS["macro"][0], beta=0.9)
    arch = WINDOWS["macro"][1][5]
    sampler.update(arch, 0.5)
    assert [sampler.value[layer, op] for layer, op in enumerate(arch)] == pytest.approx([0.95] * 8)
    assert (sampler.value == 1).sum() == sampler.value.size - 8


@pytest.mark.parametrize("kind", KINDS)
def test_no_draw_leaves_the_papers_window(mobile, kind):
    sampler = taught(KINDS[kind](mobile), 200)
    drawn = [sampler.sample(np.random.default_rng(seed)) for seed in range(50)]
    assert all(277.2e6 <= cost.macs(MOBILE, arch) <= 280e6 for arch in drawn)
    assert all(MOBILE.canonical(arch) == arch for arch in drawn)
    if sampler.weighs:
        assert 277.2e6 <= cost.macs(MOBILE, sampler.greedy()) <= 280e6
    with pytest.raises(HnasError, match=r"\Athe window has 1.065e\+18 architectures, too many to list\Z"):
        sampler.probabilities()


def test_the_greedy_path_may_grow_the_tree(mobile):
    for seed in range(20):
        sampler, rng = MCTSInBudget(mobile), np.random.default_rng(seed)
        for _ in range(6):
            sampler.update(sampler.sample(rng), 0.5)
        assert 277.2e6 <= cost.macs(MOBILE, sampler.greedy()) <= 280e6


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_goes_through_a_file_and_the_sampler_goes_on_the_same(mobile, kind):
    sampler, again = taught(KINDS[kind](mobile), 100), KINDS[kind](mobile)
    again.load_state_dict(torch_value(torch_bytes(sampler.state_dict())))
    one, other = np.random.default_rng(5), np.random.default_rng(5)
    for step in range(60):
        arch = sampler.sample(one)
        assert again.sample(other) == arch, step
        for s in (sampler, again):
            s.update(arch, step / 60)


@pytest.mark.parametrize("name", samplers.IN_BUDGET)
def test_a_sampler_in_a_budget_goes_by_its_name(name):
    budget, inside = WINDOWS["macro"]
    sampler = samplers.make_sampler(name, budget=budget)
    assert type(sampler) is samplers.IN_BUDGET[name]
    assert (name == "mcts_reg") == (
        isinstance(sampler, MCTSInBudget) and sampler.rule.communication == SHARED_TABLE
    )
    # a tree has its own architectures
    assert samplers.make_sampler("boltzmann", budget=budget, tree=trees.flat(inside)).archs == tuple(inside)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (
            lambda b: samplers.make_sampler("boltzmann", budget=b),
            "unknown sampler in a budget 'boltzmann'",
        ),
        (
            lambda b: samplers.make_sampler("uniform", budget=b, beta=0.9),
            "sampler uniform has no settings; beta given",
        ),
        (
            lambda b: samplers.make_sampler("independent", budget=b, betta=0.9),
            "(did you mean 'beta'?)",
        ),
        (lambda b: IndependentInBudget(b, beta=1.0), "allowed: 0 <= beta < 1"),
        (lambda b: IndependentInBudget(b, temperature=0.0), "temperature > 0"),
        (lambda b: IndependentInBudget(b).anneal(-0.02), "temperature > 0"),
        (lambda b: MCTSInBudget(b, "equivalent_nodes"), "unknown communication 'equivalent_nodes'"),
        (lambda b: MCTSInBudget(b, coefficient=1.5), "0 <= coefficient <= 1"),
        (lambda b: MCTSInBudget(b, exploration=-0.1), "0 <= exploration < inf"),
        (lambda b: MCTSInBudget(b, exploration=math.inf), "0 <= exploration < inf"),
    ],
)
def test_settings_out_of_range_are_refused_in_one_line(make, complaint):
    with pytest.raises(HnasError) as caught:
        make(WINDOWS["pooling"][0])
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)

"""All samplers: made by name, drawing with the probabilities they give, and going on from a saved state."""

from __future__ import annotations

import copy
import inspect
import itertools
import pickle

import numpy as np
import pytest
from common import ARCHS, SPACE
from scipy import stats

from hnas_kit import samplers, trees
from hnas_kit.errors import HnasError
from hnas_kit.files import torch_bytes, torch_value
from hnas_kit.samplers import METHODS, SAMPLERS, Method, Sampler
from hnas_kit.samplers.mcts import CODES

GOOD = np.random.default_rng(0).random(36)  # how good each architecture is
POINTS = np.random.default_rng(1).standard_normal((36, 3))
FOREST = {
    "learned": trees.learned(np.linalg.norm(POINTS[:, None] - POINTS, axis=2), ARCHS),
    "default": trees.default(SPACE),
    "random": trees.random(ARCHS, seed=1),
    "accuracy": trees.accuracy(GOOD + 0.1 * POINTS[:, 0], ARCHS),
}
ALL = METHODS | {"regularised by nodes": Method("mcts_reg", "default", "equivalent_nodes")}
STATES = {"new": (0, 0.02), "young": (60, 0.05), "old": (3000, 0.0025)}  # updates, temperature


def new(name: str) -> Sampler:
    return ALL[name].make(SPACE, FOREST, beta=0.95, exploration=0.1, models=3, coefficient=0.2)


def taught(name: str, state: str) -> Sampler:
    """A sampler after noisy rewards for its own draws without preference."""
    sampler, rng = new(name), np.random.default_rng(2)
    updates, temperature = STATES[state]
    for _ in range(updates):
        arch = sampler.sample_uniform(rng)
        sampler.update(arch, 0.6 + 0.02 * GOOD[ARCHS.index(arch)] + 0.01 * rng.standard_normal())
    sampler.anneal(temperature)
    return sampler


# what holds for every one


def assert_draws_agree(sampler: Sampler, seed: int, draws: int) -> None:
    """A chi-square test of draws against ``probabilities()``, the rare architectures taken together."""
    rng = np.random.default_rng(seed)
    count = dict.fromkeys(sampler.archs, 0)
    for _ in range(draws):
        count[sampler.sample(rng)] += 1
    p = sampler.probabilities()
    assert set(p) == set(count)
    order = sorted(p, key=p.get)
    expected, observed = draws * np.array([p[a] for a in order]), np.array([count[a] for a in order])
    rare = int(np.sum(expected < 5))
    while 0 < rare < len(order) and expected[:rare].sum() < 5:  # together they must be expected 5 times
        rare += 1
    if rare:
        expected, observed = (np.append(a[rare:], a[:rare].sum()) for a in (expected, observed))
    assert len(expected) >= 3
    assert stats.chisquare(observed, expected).pvalue > 1e-3


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", ALL)
def test_draws_have_the_probabilities_that_are_given(name, state):
    sampler = taught(name, state)
    assert_draws_agree(sampler, seed=3, draws=100_000 if sampler.weighs else 10_000)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", ALL)
def test_probabilities_are_of_all_architectures_and_add_up(name, state):
    p = taught(name, state).probabilities()
    assert set(p) == set(ARCHS)
    assert all(type(value) is float and value >= 0 for value in p.values())
    assert sum(p.values()) == pytest.approx(1, abs=1e-12)
    if state == "old" and SAMPLERS[ALL[name].sampler].weighs:
        assert max(p.values()) > 2 / 36  # it has learned something


@pytest.mark.parametrize("name", ALL)
def test_without_preference_all_are_alike_whatever_was_learned(name):
    sampler, rng = taught(name, "old"), np.random.default_rng(4)
    counts = dict.fromkeys(ARCHS, 0)
    for _ in range(20_000):
        counts[sampler.sample_uniform(rng)] += 1
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", ALL)
def test_a_state_goes_through_a_file_and_the_sampler_goes_on_the_same(name, state):
    first, second = taught(name, state), new(name)
    data = torch_bytes(first.state_dict())
    shared = second.exploit()
    second.load_state_dict(torch_value(data))
    second.anneal(STATES[state][1])  # the temperature is the schedule's
    shared.anneal(STATES[state][1])
    assert torch_bytes(second.state_dict()) == data
    assert second.probabilities() == first.probabilities()
    assert shared.probabilities() == first.exploit().probabilities()
    rngs = np.random.default_rng(5), np.random.default_rng(5)
    for step in range(40):
        drawn, again = (s.sample(rng) for s, rng in zip((first, second), rngs, strict=True))
        assert drawn == again
        assert first.path(drawn) == second.path(drawn)
        for s in (first, second):
            s.update(drawn, 0.5 + 0.01 * step)
    assert rngs[0].bit_generator.state == rngs[1].bit_generator.state
    assert second.probabilities() == first.probabilities()
    assert torch_bytes(first.state_dict()) == torch_bytes(second.state_dict())
    if first.state_dict():
        assert torch_bytes(first.state_dict()) != data


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda sampler: pickle.loads(pickle.dumps(sampler))])
@pytest.mark.parametrize("name", ALL)
def test_a_copy_goes_on_by_itself_as_the_sampler_does(name, copied):
    first, before = taught(name, "young"), taught(name, "young").probabilities()
    second, third = copied(first), copied(first)
    rngs = np.random.default_rng(6), np.random.default_rng(6)
    for step in range(200):
        drawn, again = (s.sample(rng) for s, rng in zip((first, second), rngs, strict=True))
        assert drawn == again, step
        for s in (first, second):
            s.update(drawn, 0.5 + 0.002 * step)
    assert second.probabilities() == first.probabilities()
    assert third.probabilities() == before


@pytest.mark.parametrize("name", ALL)
def test_a_saved_state_is_a_copy(name):
    sampler = taught(name, "young")
    state = sampler.state_dict()
    data = torch_bytes(state)
    for arch in ARCHS:
        sampler.update(arch, 0.0)
    assert torch_bytes(state) == data
    sampler.load_state_dict(state)
    for arch in ARCHS:
        sampler.update(arch, 0.0)
    assert torch_bytes(state) == data


@pytest.mark.parametrize("name", ALL)
def test_what_weighs_has_a_favourite(name):
    sampler = taught(name, "old")
    assert sampler.weighs == (name not in ("uniform", "mixture"))
    if sampler.weighs:
        assert sampler.greedy() in ARCHS
        assert sampler.exploit().greedy() == sampler.greedy()
    else:
        with pytest.raises(HnasError, match="prefers no architecture, so none is the most probable"):
            sampler.greedy()


@pytest.mark.parametrize("name", ALL)
def test_paths_are_what_the_network_runs(name):
    sampler, rng = new(name), np.random.default_rng(6)
    for _ in range(20):
        arch = sampler.sample(rng)
        assert sampler.path(arch)[-9:] == arch
        assert len(sampler.path(arch)) == (10 if name == "mixture" else 9)
    assert sampler.rounds == (3 if name == "mixture" else 1)


# made by name


def test_make_sampler_gives_the_one_asked_for():
    tree = FOREST["random"]
    mcts = samplers.make_sampler("mcts", tree=tree, beta=0.9, exploration=0.1, temperature=0.3)
    assert (mcts.tree, mcts.rule.beta, mcts.rule.exploration, mcts.temperature) == (tree, 0.9, 0.1, 0.3)
    assert samplers.make_sampler("mcts", space=SPACE, tree=tree).rule.beta == 0.95  # the paper's
    few = trees.random(ARCHS[:5], seed=2)
    for name in ("uniform", "boltzmann", "mixture"):
        assert list(samplers.make_sampler(name, space=SPACE).archs) == ARCHS
        assert list(samplers.make_sampler(name, space=SPACE, tree=few).archs) == ARCHS[:5]
        assert list(samplers.make_sampler(name, tree=few).archs) == ARCHS[:5]
    mixture = samplers.make_sampler("mixture", space=SPACE, models=3, temperature=0.1)
    assert (mixture.value.shape, mixture.temperature) == ((36, 3), 0.1)
    reg = samplers.make_sampler("mcts_reg", space=SPACE, communication="equivalent_nodes", coefficient=0.4)
    assert list(reg.tree.archs) == ARCHS
    assert reg.tree.to_newick() == FOREST["default"].to_newick()  # made, if none is given
    assert (reg.rule.communication, reg.rule.coefficient) == (CODES["equivalent_nodes"], 0.4)
    assert samplers.make_sampler("mcts_reg", tree=FOREST["default"]).tree is FOREST["default"]
    for name, cls in SAMPLERS.items():
        assert type(samplers.make_sampler(name, space=SPACE, tree=FOREST["default"])) is cls


@pytest.mark.parametrize(
    ("name", "options", "complaint"),
    [
        ("mtcs", {}, r"unknown sampler 'mtcs' \(did you mean 'mcts'\?\)"),
        ("mcts", {"space": SPACE}, "needs a tree"),
        ("mcts_reg", {}, "needs a tree"),
        ("mcts", {"tree": FOREST["learned"], "lambda": 0.5}, "unknown setting of sampler mcts 'lambda'"),
        ("mcts", {"tree": FOREST["learned"], "beta": 1.0}, "beta is 1.0.*0 <= beta < 1"),
        ("mcts_reg", {"tree": FOREST["learned"]}, "the default tree"),
        ("boltzmann", {"space": SPACE, "exploration": 1.0}, "unknown setting of sampler boltzmann"),
        ("mixture", {"space": SPACE, "model": 2}, r"unknown setting .*did you mean 'models'"),
        ("uniform", {}, "needs a space or a tree"),
        ("mixture", {}, "needs a space or a tree"),
        ("boltzmann", {}, "needs a space or a tree"),
        ("independent", {"tree": FOREST["learned"]}, r"independent needs a space\Z"),
        ("uniform", {"space": SPACE, "beta": 0.9}, "uniform has no settings; beta given"),
    ],
)
def test_what_makes_no_sampler_is_refused_in_one_line(name, options, complaint):
    with pytest.raises(HnasError, match=rf"\A.*{complaint}.*\Z"):
        samplers.make_sampler(name, **options)


# methods


@pytest.mark.parametrize(("name", "method"), METHODS.items())
def test_every_method_makes_sense_and_goes_by_its_name(name, method):
    assert method.mistake() == ""
    assert method.name == name
    sampler = new(name)
    assert type(sampler) is SAMPLERS[method.sampler]
    if method.sampler.startswith("mcts"):
        assert sampler.tree is FOREST[method.tree]
        assert sampler.rule.exploration == 0.1
    if method.communication:
        assert (sampler.rule.communication, sampler.rule.coefficient) == (CODES[method.communication], 0.2)


def test_a_method_takes_of_the_settings_those_it_has():
    settings = {"beta": 0.5, "exploration": 0.3, "temperature": 0.7, "models": 5, "coefficient": 0.9}
    taken = {setting: set() for setting in settings}
    for name, method in ALL.items():
        sampler = method.make(SPACE, FOREST, **settings)
        known = inspect.signature(SAMPLERS[method.sampler]).parameters
        for setting in settings.keys() & known.keys():
            kept = sampler if hasattr(sampler, setting) else sampler.rule
            assert getattr(kept, setting) == settings[setting]
            taken[setting].add(name)
    assert taken["models"] == {"mixture"}
    assert taken["beta"] == taken["temperature"] == set(ALL) - {"uniform"}
    assert taken["coefficient"] == {"regularised", "regularised by nodes"}
    assert taken["exploration"] == {n for n, m in ALL.items() if m.sampler.startswith("mcts")}


def makes_sense(sampler: str, tree: str, communication: str) -> bool:
    if sampler == "mcts":
        return tree != "" and communication == ""
    if sampler == "mcts_reg":
        return tree == "default" and communication != ""
    return tree == communication == ""


@pytest.mark.parametrize(
    "combination",
    list(itertools.product(SAMPLERS, ("", *samplers.TREES), ("", *samplers.COMMUNICATIONS))),
    ids=lambda combination: "+".join(combination),
)
def test_a_combination_is_refused_in_words_unless_it_makes_sense(combination):
    sampler, tree, _ = combination
    mistake = Method(*combination).mistake()
    assert (mistake == "") == makes_sense(*combination)
    if mistake:
        assert "\n" not in mistake
        assert mistake.startswith(f"sampler {sampler} ")
        wrong = "tree" if (sampler.startswith("mcts") != (tree != "")) else "communication"
        if sampler == "mcts_reg" and tree not in ("", "default"):
            wrong = "tree to default instead of"
        assert wrong in mistake
    else:
        made = Method(*combination).make(SPACE, FOREST, beta=0.9, models=2)
        assert type(made) is SAMPLERS[sampler]

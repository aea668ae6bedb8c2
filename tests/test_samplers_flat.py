"""Samplers without a tree: independent layers against brute force, the mixture cell by cell."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from common import ARCHS, SPACE
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hnas_kit.errors import HnasError
from hnas_kit.samplers import Independent, Mixture, Uniform
from hnas_kit.spaces import Arch, SearchSpace


class Toy(SearchSpace):
    """A space with any numbers of operations, under the constraint of its automaton."""

    name = "toy"

    def __init__(self, *counts: int) -> None:
        self.ops = tuple(tuple(map(str, range(count))) for count in counts)

    def enumerate(self) -> list[Arch]:
        return [arch for arch in itertools.product(*map(range, map(len, self.ops))) if self.is_valid(arch)]


class RandomAutomaton(Toy):
    """Its table is drawn: a third of the moves is not allowed, half of the states accept."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        super().__init__(*rng.integers(1, 4, size=rng.integers(1, 6)).tolist())
        self.start = int(rng.integers(4))
        self.table = np.where(
            rng.random((len(self.ops), 4, 3)) < 1 / 3, -1, rng.integers(4, size=(len(self.ops), 4, 3))
        )
        self.last = rng.random(4) < 0.5

    def advance(self, state: int, layer: int, op: int) -> int | None:
        after = int(self.table[layer, state, op])
        return None if after < 0 else after

    def accepts(self, state: int) -> bool:
        return bool(self.last[state])


@st.composite
def independents(draw) -> Independent:
    """With any values that accuracies give, over the Pooling space or one with an automaton of any kind."""
    spaces = st.integers(0, 2**32).map(RandomAutomaton).filter(lambda s: s.enumerate())
    space = draw(st.one_of(st.just(SPACE), spaces))
    s = Independent(space, temperature=draw(st.sampled_from([0.0025, 0.02, 0.3, 10.0])))
    rng, scale = np.random.default_rng(draw(st.integers(0, 2**32))), draw(st.sampled_from([0.01, 0.1, 1.0]))
    for value in s.value:
        value[:] = 1 - scale * rng.random(len(value))
    s.space = space
    return s


def brute_force(s: Independent) -> dict[Arch, float]:
    """The product over layers, for every sequence of operations that is valid, in proportion."""
    sequences = itertools.product(*(range(len(value)) for value in s.value))
    scores = {
        arch: math.fsum(value[op] / s.temperature for value, op in zip(s.value, arch, strict=True))
        for arch in sequences
        if s.space.is_valid(arch)
    }
    best = max(scores.values())
    weights = {arch: math.exp(score - best) for arch, score in scores.items()}
    total = math.fsum(weights.values())
    return {arch: weight / total for arch, weight in weights.items()}


# independent layers


@given(independents())
@settings(deadline=None)
def test_independent_has_the_products_in_proportion(s):
    assert s.probabilities() == pytest.approx(brute_force(s), rel=1e-9, abs=1e-300)
    assert sum(s.probabilities().values()) == pytest.approx(1, abs=1e-12)


@given(independents(), st.integers(0, 2**32))
@settings(deadline=None)
def test_independent_draws_each_layer_given_the_ones_before_it(s, seed):
    """One uniform number a layer, compared with the summed brute-force probability of the operations."""
    p = brute_force(s)
    rng, same = np.random.default_rng(seed), np.random.default_rng(seed)
    for _ in range(10):
        expected: Arch = ()
        for number in same.random(len(s.value)):
            n_ops = len(s.value[len(expected)])
            branch = [
                math.fsum(q for arch, q in p.items() if arch[: len(expected) + 1] == (*expected, op))
                for op in range(n_ops)
            ]
            up_to = np.cumsum(branch) / math.fsum(branch)
            if np.min(np.abs(up_to - number)) < 1e-9:
                return  # rounding may take either
            expected += (int(np.sum(up_to <= number)),)
        assert s.sample(rng) == expected
    assert rng.bit_generator.state == same.bit_generator.state


@given(independents())
@settings(deadline=None)
def test_the_greedy_architecture_of_independent_layers_is_the_most_probable(s):
    p = brute_force(s)
    assert p[s.greedy()] == pytest.approx(max(p.values()), rel=1e-9)


def test_independent_layers_by_hand():
    s = Independent(Toy(2, 2), beta=0.5, temperature=0.5)
    s.update((0, 1), 0.6)  # layer 1: 0.8 and 1, layer 2: 1 and 0.8
    s.update((1, 1), 0.2)  # layer 1: 0.8 and 0.6, layer 2: 1 and 0.5
    np.testing.assert_allclose(s.value, [[0.8, 0.6], [1.0, 0.5]], rtol=1e-15)
    # p(0) of layer 1 = 1 / (1 + exp(-0.4)) = 0.5986877, of layer 2 = 1 / (1 + exp(-1)) = 0.7310586
    layers = [[0.5986877, 0.4013123], [0.7310586, 0.2689414]]
    np.testing.assert_allclose(s.layer_probabilities(), layers, atol=1e-7)
    by_hand = {(a, b): layers[0][a] * layers[1][b] for a in (0, 1) for b in (0, 1)}
    assert s.probabilities() == pytest.approx(by_hand, abs=1e-7)
    assert s.greedy() == (0, 0)


def test_a_deep_space_does_not_underflow():
    class Deep(Toy):
        def enumerate(self) -> list[Arch]:
            return []  # 13^21 are too many to list, and a draw needs no list

    s, rng = Independent(Deep(*[13] * 21), temperature=0.0025), np.random.default_rng(1)
    for value in s.value:
        value[:] = 1 - 0.01 * rng.random(13)
        value[7] = 0.0  # e^-400 in each layer
    draws = np.array([s.sample(rng) for _ in range(4000)])
    for layer, value in enumerate(s.value):
        p = np.exp(value / 0.0025 - 400)
        expected = 4000 * p / p.sum()
        counts = np.bincount(draws[:, layer], minlength=13)
        assert counts[7] == 0
        keep = expected > 5
        assert keep.sum() >= 10
        assert (
            stats.chisquare(counts[keep], expected[keep] * counts[keep].sum() / expected[keep].sum()).pvalue
            > 1e-4
        )


@pytest.mark.parametrize(
    ("pool", "identity", "layers", "temperature"),
    [(1.0, 0.0, 4, 0.0025), (1.0, 0.0, 9, 0.0025), (1.0, -3.0, 3, 0.0025), (0.9, 0.8, 6, 1e-5)],
)
def test_an_independent_draw_is_valid_however_little_the_constraint_is_liked(
    pool, identity, layers, temperature
):
    """Some layers want a pool, but only two may have one; rewards of minus the loss go well below 0."""
    s, rng = Independent(SPACE, temperature=temperature), np.random.default_rng(2)
    for value in s.value[:layers]:
        value[:] = identity, pool
    best = {a for a in ARCHS if sum(a[:layers]) == 2}
    assert {s.sample(rng) for _ in range(200)} <= best
    assert sum(p for arch, p in s.probabilities().items() if arch in best) == pytest.approx(1)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [({"beta": 1.0}, "beta.* 1.0"), ({"temperature": 0.0}, "temperature 0.0"), ({"beta": math.nan}, "nan")],
)
@pytest.mark.parametrize("new", [lambda **o: Independent(SPACE, **o), lambda **o: Mixture(ARCHS, **o)])
def test_settings_out_of_range_are_refused_in_one_line(new, settings, complaint):
    with pytest.raises(HnasError, match=rf"\A.*{complaint}.*allowed: .*0 <= beta < 1, temperature > 0\Z"):
        new(**settings)


@pytest.mark.parametrize("sampler", [Independent(SPACE), Mixture(ARCHS)])
def test_a_temperature_that_is_not_above_0_is_refused_later_too(sampler):
    with pytest.raises(HnasError, match=r"\Abeta is 0.95, temperature -0.02; allowed: .*temperature > 0\Z"):
        sampler.anneal(-0.02)


# the mixture


def test_a_mixture_of_one_is_uniform_step_by_step():
    mixture, uniform = Mixture(ARCHS, models=1), Uniform(ARCHS)
    rngs = np.random.default_rng(3), np.random.default_rng(3)
    for step in range(300):
        draw = "sample_uniform" if step < 100 else "sample"
        arch = getattr(uniform, draw)(rngs[1])
        assert getattr(mixture, draw)(rngs[0]) == arch
        assert mixture.path(arch) == (0, *arch)
        mixture.update(arch, 0.01 * (step % 50))
        assert rngs[0].bit_generator.state == rngs[1].bit_generator.state
    assert mixture.probabilities() == uniform.probabilities()
    np.testing.assert_array_equal(mixture.conditional(), 1)
    assert mixture.rounds == uniform.rounds == 1


@st.composite
def mixtures(draw) -> Mixture:
    n, models = draw(st.integers(1, 36)), draw(st.integers(1, 8))
    s = Mixture(ARCHS[:n], models, temperature=draw(st.floats(0.0025, 1.0)))
    rng, scale = np.random.default_rng(draw(st.integers(0, 2**32))), draw(st.sampled_from([0, 0.003, 0.1, 1]))
    s.value[:] = 1 - scale * rng.random((n, models))
    s.value += draw(st.sampled_from([0, 0.05, 0.5])) * rng.standard_normal(models)  # one is better for all
    return s


@given(mixtures())
@settings(deadline=None)
def test_rows_of_a_mixture_add_up_and_supernets_are_trained_alike(s):
    p = s.conditional()
    assert p.shape == s.value.shape
    assert np.all(p >= 0)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-12)
    # a KL divergence of 1e-6 allows for sqrt(2e-6) = 0.0014 on the whole; a single column may be further off
    np.testing.assert_allclose(p.mean(axis=0) * s.models, 1, atol=0.0015 * s.models**0.5)


@given(mixtures())
@settings(deadline=None)
def test_balancing_a_mixture_scales_rows_and_columns_alone(s):
    """log p - C / T is a number of the row plus one of the column: what is balanced keeps its odds ratios."""
    p = s.conditional()
    if p.min() < 1e-250:
        return  # logarithms of these are not exact
    rest = np.log(p) - s.value / s.temperature
    rest -= rest[:, :1]
    np.testing.assert_allclose(rest, np.broadcast_to(rest[:1], rest.shape), atol=1e-6)


def test_two_supernets_by_hand():
    s = Mixture(ARCHS[:2], models=2, temperature=0.1)
    s.value[:] = [[0.9, 0.8], [0.7, 0.8]]  # each architecture prefers another one, by 0.1 = T
    p = 1 / (1 + math.exp(-1))
    np.testing.assert_allclose(s.conditional(), [[p, 1 - p], [1 - p, p]], rtol=1e-12)  # balanced as it is
    s.value[:] += [[0.3, 0], [0.3, 0]]  # the first supernet is better for both: that is balanced away
    np.testing.assert_allclose(s.conditional(), [[p, 1 - p], [1 - p, p]], atol=1e-3)


@pytest.mark.parametrize("margin", [0.1, 0.5, 1.0, 1.8, 3.0])
def test_a_supernet_that_is_better_for_all_is_not_trained_more(margin):
    """Rewards of minus the loss make margins this large: a cell that was never drawn is at 1."""
    s = Mixture(ARCHS, models=2, temperature=0.0025)
    s.value[:] = [1.0, 1.0 - margin]
    np.testing.assert_allclose(s.conditional(), 0.5, atol=1e-3)


@pytest.mark.parametrize("margin", [0.05, 0.2, 0.5])
def test_a_majority_that_is_sure_is_balanced_all_the_same(margin):
    s = Mixture(ARCHS, models=2, temperature=0.0025)
    s.value[:19, 1] -= margin  # 19 of 36 prefer the first supernet, the others the second
    s.value[19:, 0] -= margin
    np.testing.assert_allclose(s.conditional().mean(axis=0), 0.5, atol=1.5e-3)


def joint_counts(s: Mixture, draw, rng: np.random.Generator, draws: int) -> np.ndarray:
    position = {arch: i for i, arch in enumerate(s.archs)}
    counts = np.zeros_like(s.value)
    for _ in range(draws):
        arch = draw(rng)
        model, *ops = s.path(arch)
        assert tuple(ops) == arch
        counts[position[arch], model] += 1
    return counts


@pytest.mark.parametrize("temperature", [0.3, 0.02, 0.0025])
@pytest.mark.parametrize("models", [2, 5])
def test_a_mixture_draws_architecture_and_supernet_together(monkeypatch, models, temperature):
    s = Mixture(ARCHS, models, temperature=temperature)
    s.value[:] = 1 - 0.03 * np.random.default_rng(4).random(s.value.shape)
    p = s.conditional()
    monkeypatch.setattr(s, "conditional", lambda: p)  # nothing is learned here: balance once
    counts, expected = joint_counts(s, s.sample, np.random.default_rng(5), 50_000), 50_000 * p / 36
    rare = expected < 5
    assert counts[expected < 1e-6].sum() == 0
    observed, expected = (np.append(a[~rare], a[rare].sum()) for a in (counts, expected))
    if expected[-1] < 5:  # too few even together
        observed, expected = observed[:-1], expected[:-1] * observed[:-1].sum() / expected[:-1].sum()
    assert stats.chisquare(observed, expected).pvalue > 1e-3


def test_without_preference_all_cells_of_a_mixture_are_alike():
    s = Mixture(ARCHS, models=3, temperature=0.0025)
    s.value[:] = np.random.default_rng(6).random(s.value.shape)
    counts = joint_counts(s, s.sample_uniform, np.random.default_rng(7), 50_000)
    assert stats.chisquare(counts.ravel()).pvalue > 1e-3


def test_a_mixture_learns_in_the_drawn_cell_alone():
    s, rng = Mixture(ARCHS, models=3, beta=0.9), np.random.default_rng(8)
    c = {(model, *arch): 1.0 for arch in ARCHS for model in range(3)}
    for step in range(400):
        arch = s.sample_uniform(rng) if step % 2 else s.sample(rng)
        reward = rng.random()
        path = s.path(arch)
        s.update(arch, reward)
        c[path] = 0.9 * c[path] + 0.1 * reward
        found = {(m, *a): s.value[i, m] for i, a in enumerate(ARCHS) for m in range(3)}
        assert found == pytest.approx(c, rel=1e-14)
    assert len({value for value in c.values() if value < 1}) > 80


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.95])
def test_each_architecture_is_judged_in_the_supernet_with_the_highest_mean_reward(beta):
    s, rng = Mixture(ARCHS, models=4, beta=beta), np.random.default_rng(9)
    rewards = {}
    for _ in range(800):
        arch = s.sample_uniform(rng)
        if s.path(arch)[0] == 3 and arch == ARCHS[5]:
            continue  # never tried: its C is still the 1 of the start
        rewards.setdefault(s.path(arch), []).append(rng.random())
        s.update(arch, rewards[s.path(arch)][-1])

    def mean(path):
        """The newest counts most: weights beta^0, beta^1, ..."""
        given = rewards[path][::-1]
        return np.average(given, weights=beta ** np.arange(len(given)))

    best = s.exploit()
    for arch in ARCHS:
        tried = [path for m in range(4) if (path := (m, *arch)) in rewards]
        assert best.path(arch) == max(tried, key=mean)
    assert s.value[5, 3] == 1
    again = Mixture(ARCHS, models=4, beta=beta)
    again.load_state_dict(s.state_dict())
    assert [again.exploit().path(arch) for arch in ARCHS] == [best.path(arch) for arch in ARCHS]
    assert best.probabilities() == s.probabilities()
    assert isinstance(best, Mixture)
    s.value[7], s.visits[7] = [0.1, 0.1, 0.9, 0.1], 1000
    assert best.path(ARCHS[7]) == (2, *ARCHS[7])  # it shares what is learned


def test_each_supernet_of_a_mixture_takes_the_steps_of_one():
    assert [Mixture(ARCHS, models=m).rounds for m in (1, 2, 8)] == [1, 2, 8]
    assert not Mixture(ARCHS).weighs
    with pytest.raises(HnasError, match=r"\Amodels is 0; allowed: models >= 1\Z"):
        Mixture(ARCHS, models=0)


# uniform


@pytest.mark.parametrize("n", [1, 2, 7, 36])
def test_uniform_draws_all_alike(n):
    s, rng = Uniform(ARCHS[:n]), np.random.default_rng(n)
    assert s.probabilities() == dict.fromkeys(ARCHS[:n], 1 / n)
    counts = dict.fromkeys(ARCHS[:n], 0)
    for _ in range(20_000):
        counts[s.sample(rng)] += 1
    assert n == 1 or stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_uniform_learns_nothing():
    s, rng = Uniform(ARCHS), np.random.default_rng(1)
    before = [s.sample(rng) for _ in range(5)]
    for arch, reward in itertools.product(ARCHS, (0.0, 1.0)):
        s.update(arch, reward)
    s.anneal(0.1)
    assert s.probabilities() == dict.fromkeys(ARCHS, 1 / 36)
    rng = np.random.default_rng(1)
    assert [s.sample(rng) for _ in range(5)] == before
    assert s.exploit() is s
    assert not s.weighs


@pytest.mark.parametrize("s", [Uniform(ARCHS), Mixture(ARCHS)], ids=lambda s: type(s).__name__)
def test_what_prefers_no_architecture_has_no_most_probable_one(s):
    with pytest.raises(HnasError, match=rf"\A{type(s).__name__} prefers no architecture.*\Z"):
        s.greedy()

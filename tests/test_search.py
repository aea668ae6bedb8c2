"""The search: its schedule, its three phases on a tiny supernet, resuming, and the final choice."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hnas_kit import data, evaluation, search, trees
from hnas_kit.errors import HnasError
from hnas_kit.randomness import Generators
from hnas_kit.samplers import MCTS, Uniform
from hnas_kit.search import Schedule
from hnas_kit.spaces import make_space
from hnas_kit.supernets import make_supernet
from hnas_kit.training import Checkpoints

SPACE = make_space("pooling")
ARCHS = SPACE.enumerate()
TREE = trees.random(ARCHS, seed=0)
SCHEDULE = Schedule(40, temperature_start=0.05, temperature_end=0.01)  # phases of 16, 10 and 14 steps
BATCH = 32


class Watched(MCTS):
    """MCTS that remembers what the search asks of it."""

    def __init__(self, tree: trees.ArchTree) -> None:
        super().__init__(tree)
        self.calls: list[tuple] = []

    def sample(self, rng):
        self.calls.append(("sample", self.temperature))
        return super().sample(rng)

    def update(self, arch, reward):
        self.calls.append(("update", arch, reward))
        super().update(arch, reward)


def new(seed: int = 0) -> SimpleNamespace:
    """All that a search needs, from a seed."""
    generators = Generators(seed)
    digits = data.load("digits")
    halves = digits.halves(generators.torch("split"))
    train, valid = (
        data.Batches(
            half,
            digits.render,
            BATCH,
            generators.torch(f"{name} order"),
            generators.torch(f"{name} augment"),
            train=name == "train",
        )
        for name, half in zip(("train", "valid"), halves, strict=True)
    )
    net = make_supernet(SPACE, 1, 10, width=2, generator=generators.torch("weights"))
    x, y = digits.fixed(halves[1], limit=100)
    return SimpleNamespace(
        net=net, sampler=Watched(TREE), train=train, valid=valid, generators=generators, x=x, y=y
    )


def run(s: SimpleNamespace, **options) -> SimpleNamespace:
    s.history = search.run(
        s.net,
        s.sampler,
        s.train,
        s.valid,
        SCHEDULE,
        generators=s.generators,
        lr=0.05,
        weight_decay=1e-3,
        **options,
    )
    return s


@pytest.fixture(scope="module")
def done() -> SimpleNamespace:
    return run(new())


def assert_same(one: SimpleNamespace, other: SimpleNamespace) -> None:
    """Bit for bit the same history, statistics and weights."""
    for name in ("arch_index", "reward", "loss"):
        np.testing.assert_array_equal(getattr(one.history, name), getattr(other.history, name))
    np.testing.assert_array_equal(one.sampler.value, other.sampler.value)
    np.testing.assert_array_equal(one.sampler.visits, other.sampler.visits)
    weights = other.net.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in one.net.state_dict().items())


# the schedule


@pytest.mark.parametrize(
    ("steps", "phases"), [(20, (8, 5, 7)), (100, (40, 25, 35)), (39_200, (15_680, 9_800, 13_720))]
)
def test_phases_have_the_papers_shares(steps, phases):
    schedule = Schedule(steps)
    of_step = [schedule.phase(step) for step in range(steps)]
    assert of_step == [0] * phases[0] + [1] * phases[1] + [2] * phases[2]
    assert schedule.starts == (0, phases[0], phases[0] + phases[1])


def test_other_shares():
    of_step = [Schedule(10, uniform=0.0, warmup=0.3).phase(step) for step in range(10)]
    assert of_step == [1] * 3 + [2] * 7
    assert {Schedule(10, uniform=0.6, warmup=0.4).phase(step) for step in range(10)} == {0, 1}


def test_temperature_falls_linearly_over_the_third_phase():
    schedule = Schedule(101)  # it starts at step 66
    temperatures = [schedule.temperature(step) for step in range(101)]
    assert temperatures[:66] == [0.02] * 66
    np.testing.assert_allclose(temperatures[66:], np.linspace(0.02, 0.0025, 35), rtol=1e-12)
    assert temperatures[66] == 0.02
    assert temperatures[-1] == pytest.approx(0.0025, rel=1e-12)
    assert temperatures[83] == pytest.approx((0.02 + 0.0025) / 2)  # in the middle


def test_a_third_phase_of_one_step_has_the_temperature_of_its_start():
    schedule = Schedule(10, uniform=0.5, warmup=0.4)
    assert schedule.starts[2] == 9
    assert schedule.temperature(9) == 0.02


# the search


def test_history_is_complete(done):
    history = done.history
    assert np.all(history.arch_index >= 0)
    assert np.all(np.isfinite(history.loss))
    correct = history.reward * BATCH  # Acc of Eq. 4, over one mini-batch
    np.testing.assert_allclose(correct, np.round(correct), atol=1e-9)
    assert 0 <= history.reward.min() < history.reward.max() <= 1
    frame = history.frame(SPACE, SCHEDULE)
    assert list(frame.columns) == ["phase", "architecture", "loss", "reward"]
    assert frame["phase"].value_counts(sort=False).to_dict() == {"uniform": 16, "warm-up": 10, "search": 14}
    assert [SPACE.parse(text) for text in frame["architecture"]] == [ARCHS[i] for i in history.arch_index]
    np.testing.assert_array_equal(frame["reward"], history.reward)
    np.testing.assert_array_equal(frame["loss"], history.loss)


def test_statistics_begin_with_the_second_phase_and_selection_with_the_third(done):
    rewarded = [(ARCHS[i], r) for i, r in zip(done.history.arch_index, done.history.reward, strict=True)]
    expected = [("update", *of_step) for of_step in rewarded[16:26]]
    for step in range(26, 40):
        expected += [("sample", SCHEDULE.temperature(step)), ("update", *rewarded[step])]
    assert done.sampler.calls == expected
    assert done.sampler.visits[0] == 10 + 14
    assert done.sampler.visits[1:].max() <= 24


def test_architectures_are_algorithm_1s_for_these_rewards(done):
    rng = Generators(0).numpy("architectures")
    uniform, mcts = Uniform(ARCHS), MCTS(TREE)
    for step in range(40):
        mcts.temperature = SCHEDULE.temperature(step)
        arch = (uniform if step < 26 else mcts).sample(rng)
        assert arch == ARCHS[done.history.arch_index[step]], step
        if step >= 16:
            mcts.update(arch, done.history.reward[step])
    np.testing.assert_array_equal(mcts.value, done.sampler.value)


def test_replay_comes_to_the_same_statistics(done):
    frame = done.history.frame(SPACE, SCHEDULE)
    fresh = MCTS(TREE)
    seen = [(step, int(s.visits[0])) for step, s in search.replay(frame, SPACE, fresh, SCHEDULE, every=5)]
    assert seen == [(20, 4), (25, 9), (30, 14), (35, 19), (40, 24)]
    np.testing.assert_array_equal(fresh.value, done.sampler.value)
    np.testing.assert_array_equal(fresh.visits, done.sampler.visits)
    assert fresh.temperature == SCHEDULE.temperature(39)


def test_rewards_and_losses_are_those_of_the_network_in_training(done):
    """The first step, done by hand: the loss before the update, the accuracy after it."""
    s = new()
    arch = ARCHS[s.generators.numpy("architectures").integers(36)]
    (x, y), (valid_x, valid_y) = next(s.train), next(s.valid)
    s.net.to(memory_format=torch.channels_last)
    loss = torch.nn.functional.cross_entropy(s.net(x, arch), y)
    loss.backward()
    with torch.no_grad():
        for p in s.net.parameters():  # SGD's first step with Nesterov momentum 0.9 goes 1.9 times as far
            p -= 0.05 * 1.9 * (p.grad + 1e-3 * p)
        right = (s.net(valid_x, arch).argmax(1) == valid_y).double().mean().item()
    assert done.history.loss[0] == pytest.approx(loss.item(), rel=1e-5)
    assert done.history.reward[0] == pytest.approx(right, abs=1.5 / BATCH)


def test_the_seed_decides(done):
    assert_same(run(new()), done)
    s = new(seed=1)
    first = [Uniform(ARCHS).sample(s.generators.numpy("architectures")) for _ in range(16)]
    assert first != [ARCHS[i] for i in done.history.arch_index[:16]]


@pytest.mark.parametrize(
    ("broken_off_at", "saved"), [(15, 12), (23, 18), (39, 36)], ids=["uniform", "warm-up", "search"]
)
def test_a_search_that_broke_off_goes_on_bit_for_bit(done, tmp_path, broken_off_at, saved):
    progressed = []

    def power_cut(steps: int) -> None:
        progressed.append(steps)
        if sum(progressed) == broken_off_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(new(), checkpoints=Checkpoints(tmp_path, every=6), progress=power_cut)
    rest = []
    resumed = run(new(), checkpoints=Checkpoints(tmp_path, every=6), progress=rest.append)
    assert rest == [saved] + [1] * (40 - saved)
    assert_same(resumed, done)


# the final choice


def test_the_path_is_the_greedy_one(done):
    arch, accuracy = search.choose_final(
        done.net, done.sampler, done.x, done.y, np.random.default_rng(0), "path"
    )
    assert arch == done.sampler.greedy()
    assert list(accuracy.index) == [arch]
    assert accuracy.iloc[0] == evaluation.accuracy(done.net, [arch], done.x, done.y)[0]


def test_samples_are_drawn_without_exploration(done):
    sampler = MCTS(TREE, beta=0.5, exploration=1.0, temperature=1e-3)
    for arch in [*ARCHS, *[ARCHS[7]] * 20]:
        sampler.update(arch, 0.9 if arch == ARCHS[7] else 0.1)
    p = sampler.probabilities()
    assert sampler.greedy() == ARCHS[7] != max(p, key=p.get)  # exploration turns away from it
    _, accuracy = search.choose_final(done.net, sampler, done.x, done.y, np.random.default_rng(0), samples=9)
    assert list(accuracy.index) == [ARCHS[7]]


def test_the_best_sample_on_validation_is_chosen(done):
    arch, accuracy = search.choose_final(
        done.net, done.sampler, done.x, done.y, np.random.default_rng(1), samples=8
    )
    greedy, rng = done.sampler.exploit(), np.random.default_rng(1)
    drawn = {greedy.sample(rng) for _ in range(8)}
    assert set(accuracy.index) == drawn
    assert accuracy.index.is_unique
    assert 1 < len(drawn) <= 8
    np.testing.assert_array_equal(
        accuracy, evaluation.accuracy(done.net, list(accuracy.index), done.x, done.y)
    )
    assert accuracy.is_monotonic_decreasing
    assert (arch, accuracy[arch]) == (accuracy.index[0], accuracy.max())


def test_all_are_scored_for_a_sampler_that_learns_nothing(done):
    arch, accuracy = search.choose_final(
        done.net, Uniform(ARCHS), done.x, done.y, np.random.default_rng(2), samples=36
    )
    assert set(accuracy.index) == set(ARCHS)
    assert len(accuracy) == 36
    assert accuracy.to_dict() == dict(
        zip(ARCHS, evaluation.accuracy(done.net, ARCHS, done.x, done.y), strict=True)
    )
    assert accuracy[arch] == accuracy.max()
    _, few = search.choose_final(
        done.net, Uniform(ARCHS), done.x, done.y, np.random.default_rng(2), samples=5
    )
    assert 1 < len(few) <= 5


@pytest.mark.parametrize(
    ("sampler", "options", "complaint"),
    [
        (MCTS(TREE), {"how": "paths"}, r"unknown final choice 'paths' \(did you mean 'path'\?\)"),
        (MCTS(TREE), {"samples": 0}, "samples is 0.*at least 1"),
        (Uniform(ARCHS), {"samples": 0}, "samples is 0.*at least 1"),
        (Uniform(ARCHS), {"how": "path"}, "Uniform learns nothing"),
    ],
)
def test_no_final_choice_is_refused_in_one_line(done, sampler, options, complaint):
    with pytest.raises(HnasError, match=rf"\A.*{complaint}.*\Z"):
        search.choose_final(done.net, sampler, done.x, done.y, np.random.default_rng(0), **options)

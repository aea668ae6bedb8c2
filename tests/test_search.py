"""The search: its schedule, its three phases on a tiny supernet, rewards, resuming, final choice, trials."""

from __future__ import annotations

import functools
import itertools
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from common import ARCHS, SPACE
from torch import nn

from hnas_kit import cost, data, evaluation, search, trees
from hnas_kit.errors import HnasError
from hnas_kit.files import torch_bytes
from hnas_kit.randomness import Generators
from hnas_kit.rewards import REWARDS, Reward
from hnas_kit.samplers import MCTS, METHODS, Method, Mixture, Sampler, Uniform, comparable, make_sampler
from hnas_kit.spaces import make_space
from hnas_kit.supernets import make_supernet, mixture
from hnas_kit.training import Checkpoints, Schedule
from hnas_kit.training.problem import Problem

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


def run(s: SimpleNamespace, schedule: Schedule = SCHEDULE, **options) -> SimpleNamespace:
    s.history = search.run(
        s.net,
        s.sampler,
        s.train,
        s.valid,
        schedule,
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
    assert one.history.archs == other.history.archs
    for name in ("reward", "loss"):
        np.testing.assert_array_equal(getattr(one.history, name), getattr(other.history, name))
    np.testing.assert_array_equal(one.sampler.value, other.sampler.value)
    np.testing.assert_array_equal(one.sampler.visits, other.sampler.visits)
    weights = other.net.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in one.net.state_dict().items())


def test_rewards_are_those_of_evaluation(done):
    """Where it matters, with dropout or a class of one's own; and training goes on in training."""

    class Mine(nn.Module):
        def forward(self, x):
            modes.append((dropout.training, self.training))
            return x

    modes, s, dropout = [], new(), nn.Dropout(0.0)
    own = Mine()
    s.net.head.register_forward_hook(lambda head, _, out: own(dropout(out)))
    s.net.head.add_module("own", nn.Sequential(own, dropout))
    s.history = run(s).history
    assert s.history.archs == done.history.archs
    np.testing.assert_array_equal(s.history.reward, done.history.reward)
    assert modes == [(True, True), (False, False)] * SCHEDULE.steps


@pytest.mark.parametrize("name", ["pooling", "macro", "mobile"])
def test_networks_of_the_kit_have_one_mode(name):
    net = make_supernet(make_space(name), 3, width=4)
    assert search._of_two_modes(net) == []
    net.head.add_module("own", nn.Dropout())
    assert search._of_two_modes(net) == [net.head.own]


# the schedule


@pytest.mark.parametrize("wrong", [{"steps": -1}, {"uniform": -0.1}, {"uniform": 0.8, "warmup": 0.5}])
def test_phases_that_cannot_be_are_refused(wrong):
    with pytest.raises(HnasError, match="shares that are not negative and at most 1 together"):
        Schedule(**{"steps": 100} | wrong)


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


def test_without_phases_learning_and_own_draws_begin_at_once():
    schedule = Schedule(11, temperature_start=0.2, temperature_end=0.1, phased=False)
    assert (schedule.learns_from, schedule.draws_from(), schedule.draws_from(1)) == (0, 0, 0)
    assert [schedule.temperature(step) for step in (0, 5, 10)] == pytest.approx([0.2, 0.15, 0.1])
    assert [schedule.phase(step) for step in (0, 4, 7)] == [0, 1, 2]  # parts of it have the same names
    phased = replace(schedule, phased=True)
    assert (phased.learns_from, phased.draws_from(), phased.draws_from(1)) == (4, 7, 4)


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
    assert [SPACE.parse(text) for text in frame["architecture"]] == history.archs
    np.testing.assert_array_equal(frame["reward"], history.reward)
    np.testing.assert_array_equal(frame["loss"], history.loss)


def test_statistics_begin_with_the_second_phase_and_selection_with_the_third(done):
    rewarded = list(zip(done.history.archs, done.history.reward, strict=True))
    expected = [("update", *of_step) for of_step in rewarded[16:26]]
    for step in range(26, 40):
        expected += [("sample", SCHEDULE.temperature(step)), ("update", *rewarded[step])]
    assert done.sampler.calls == expected
    assert done.sampler.visits[0] == 10 + 14
    assert done.sampler.visits[1:].max() <= 24


@pytest.mark.parametrize(("own_draws", "first"), [(2, 26), (1, 16)])
def test_own_draws_begin_with_the_phase_that_the_sampler_names(own_draws, first):
    s = new()
    s.sampler.own_draws = own_draws
    run(s)
    sampled = [call for call in s.sampler.calls if call[0] == "sample"]
    assert sampled == [("sample", SCHEDULE.temperature(step)) for step in range(first, 40)]


def test_a_search_without_phases_draws_and_learns_from_the_first_step():
    s = new()
    schedule = replace(SCHEDULE, phased=False)
    history = run(s, schedule).history
    expected = []
    for step, (arch, reward) in enumerate(zip(history.archs, history.reward, strict=True)):
        expected += [("sample", schedule.temperature(step)), ("update", arch, reward)]
    assert s.sampler.calls == expected
    fresh = MCTS(TREE)
    terms = search.term_spread(history.frame(SPACE, schedule), SPACE, fresh, schedule, looks=1)
    assert terms.index.tolist() == [40]
    np.testing.assert_array_equal(fresh.value, s.sampler.value)


def test_architectures_are_algorithm_1s_for_these_rewards(done):
    rng = Generators(0).numpy("architectures")
    uniform, mcts = Uniform(ARCHS), MCTS(TREE)
    for step in range(40):
        mcts.temperature = SCHEDULE.temperature(step)
        arch = (uniform if step < 26 else mcts).sample(rng)
        assert arch == done.history.archs[step], step
        if step >= 16:
            mcts.update(arch, done.history.reward[step])
    np.testing.assert_array_equal(mcts.value, done.sampler.value)


def test_replay_comes_to_the_same_statistics(done):
    frame = done.history.frame(SPACE, SCHEDULE)
    fresh = MCTS(TREE)
    looked = []
    fresh.sibling_spread = lambda: looked.append(int(fresh.visits[0])) or (0.0, 0.0)
    terms = search.term_spread(frame, SPACE, fresh, SCHEDULE, looks=8)
    assert list(zip(terms.index, looked, strict=True)) == [(20, 4), (25, 9), (30, 14), (35, 19), (40, 24)]
    np.testing.assert_array_equal(fresh.value, done.sampler.value)
    np.testing.assert_array_equal(fresh.visits, done.sampler.visits)
    assert fresh.temperature == SCHEDULE.temperature(39)


def test_the_spread_of_terms_is_that_of_the_sampler_at_every_look(done):
    frame, fresh = done.history.frame(SPACE, SCHEDULE), MCTS(TREE)
    spread = search.term_spread(frame, SPACE, fresh, SCHEDULE, looks=8)
    assert spread.index.tolist() == [20, 25, 30, 35, 40]
    np.testing.assert_array_equal(spread.loc[40, ["C", "exploration"]], fresh.sibling_spread())


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
    assert first != done.history.archs[:16]


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


# what the sampler learns from


class NoBatches:
    """Validation batches that nobody may ask for."""

    def __next__(self):
        raise AssertionError("a validation batch was drawn")

    def state_dict(self) -> dict:
        return {}


@pytest.mark.parametrize("name", [name for name in REWARDS if "training" in name])
def test_a_reward_of_training_draws_no_validation_batch(done, name):
    s = new()
    s.valid = NoBatches()
    run(s, reward=Reward(name))
    losses, rewards = s.history.loss.astype(float), s.history.reward
    if name == "absolute training loss":  # that of the step, before its update
        np.testing.assert_allclose(rewards, -losses, rtol=1e-6)
    elif name == "relative training loss":
        average = losses[0]
        for loss, reward in zip(losses, rewards, strict=True):
            average = 0.96 * average + 0.04 * loss
            assert reward == pytest.approx(average / loss, rel=1e-5)
    else:
        assert np.all(np.isfinite(rewards) & (rewards >= 0))
        assert rewards.max() > 0
    # neither phase before the third looks at rewards
    assert s.history.archs[:26] == done.history.archs[:26]
    np.testing.assert_array_equal(s.history.loss[:26], done.history.loss[:26])


@pytest.mark.parametrize("name", [name for name in REWARDS if "validation" in name])
def test_a_reward_of_validation_is_that_of_the_weights_after_the_update(name):
    """Recomputed with the weights that every step left behind."""
    s, states, batches = new(), [], []

    class Seen(data.Batches):
        def __init__(self, batches: data.Batches) -> None:
            self.__dict__.update(batches.__dict__)

        def __next__(self):
            batches.append(super().__next__())
            states.append({k: v.clone() for k, v in s.net.state_dict().items()})  # asked for after the update
            return batches[-1]

    s.valid = Seen(s.valid)
    trained = [{k: v.clone() for k, v in s.net.state_dict().items()}]

    def progress(steps: int) -> None:
        if steps:
            trained.append({k: v.clone() for k, v in s.net.state_dict().items()})

    run(s, reward=Reward(name, beta=0.5), progress=progress)
    assert len(states) == 40
    net, again = new().net.to(memory_format=torch.channels_last), Reward(name, beta=0.5)
    stale = Reward(name, beta=0.5)
    by_stale = []
    for step in range(40):
        assert all(torch.equal(v, trained[step + 1][k]) for k, v in states[step].items())
        x, y = batches[step]
        arch = s.history.archs[step]
        with torch.no_grad():
            net.load_state_dict(trained[step])
            by_stale.append(stale(net(x, arch), y))
            net.load_state_dict(trained[step + 1])
            assert s.history.reward[step] == pytest.approx(again(net(x, arch), y), rel=1e-5)
    assert not np.allclose(by_stale, s.history.reward, rtol=1e-3)  # before the update it was another


@pytest.mark.parametrize("name", ["absolute validation loss", "relative validation accuracy"])
def test_a_reward_of_parts_is_that_of_their_mean(name):
    """Each part with BatchNorm statistics of its own; the moving average is of what the mean is."""
    s, seen = new(), []
    s.net.register_forward_hook(lambda module, args, out: seen.append((args[0], out.detach())))
    s.valid.train, labels, draw = False, [], type(s.valid).__next__

    class Seen(data.Batches):
        def __next__(self):
            x, y = draw(self)
            labels.append(y)
            return x, y

    s.valid.__class__ = Seen
    run(s, reward=Reward(name, beta=0.5), parts=4)
    assert len(seen) == 40 * 8  # four parts to train on, four to be rewarded for
    assert {len(x) for x, _ in seen} == {8}
    again = Reward(name, beta=0.5)
    for step, y in enumerate(labels):
        parts = [
            Reward("absolute " + name.split(" ", 1)[1])(logits, of_part)
            for (_, logits), of_part in zip(seen[8 * step + 4 : 8 * step + 8], y.split(8), strict=True)
        ]
        mean = np.mean(parts) if "accuracy" in name else -np.mean(parts)
        assert s.history.reward[step] == pytest.approx(again.of(mean), rel=1e-5)


@pytest.mark.parametrize("name", ["absolute validation accuracy", "relative validation loss"])
def test_a_mixture_is_rewarded_in_the_supernet_that_was_trained(new_net, name):
    s, paths = new(), []
    s.net, s.sampler = mixture([new_net(seed=seed) for seed in range(3)]), Mixture(ARCHS, models=3)
    s.net.register_forward_hook(lambda module, args, out: paths.append(args[1]))
    run(s, reward=Reward(name))
    assert len(paths) == 80
    assert paths[::2] == paths[1::2]  # trained, then validated
    assert [path[1:] for path in paths[::2]] == s.history.archs
    assert {path[0] for path in paths} == {0, 1, 2}
    value = np.ones((36, 3))
    statistics = zip(paths[32::2], s.history.archs[16:], s.history.reward[16:], strict=True)
    for (model, *_), arch, reward in statistics:
        cell = ARCHS.index(arch), model
        value[cell] = 0.95 * value[cell] + 0.05 * reward
    np.testing.assert_allclose(s.sampler.value, value, rtol=1e-12)


def test_the_papers_reward_is_the_default(done):
    assert_same(run(new(), reward=Reward("absolute validation accuracy")), done)


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


def test_what_prefers_no_architecture_has_all_scored_for_a_path(done):
    arch, accuracy = search.choose_final(
        done.net, Uniform(ARCHS), done.x, done.y, np.random.default_rng(2), "path", samples=5
    )
    assert set(accuracy.index) == set(ARCHS)
    assert accuracy[arch] == accuracy.max()


@pytest.mark.parametrize("how", ["path", "samples"])
def test_every_architecture_of_a_mixture_is_scored_in_its_best_supernet(new_net, done, how):
    nets, sampler = [new_net(seed=seed) for seed in range(3)], Mixture(ARCHS, models=3)
    sampler.value[:], sampler.visits[:] = np.random.default_rng(3).random((36, 3)), 1000
    arch, accuracy = search.choose_final(
        mixture(nets), sampler, done.x, done.y, np.random.default_rng(2), how, samples=36
    )
    assert len(accuracy) == 36
    each = [evaluation.accuracy(net, ARCHS, done.x, done.y) for net in nets]
    for i, arch_scored in enumerate(ARCHS):
        assert accuracy[arch_scored] == each[int(np.argmax(sampler.value[i]))][i]
    assert accuracy[arch] == accuracy.max()
    _, few = search.choose_final(
        mixture(nets), sampler, done.x, done.y, np.random.default_rng(2), "samples", samples=5
    )
    assert 1 < len(few) <= 5
    assert all(few[a] == accuracy[a] for a in few.index)


@pytest.mark.parametrize(
    ("sampler", "options", "complaint"),
    [
        (MCTS(TREE), {"how": "paths"}, r"unknown final choice 'paths' \(did you mean 'path'\?\)"),
        (MCTS(TREE), {"samples": 0}, "samples is 0.*at least 1"),
        (Uniform(ARCHS), {"samples": 0}, "samples is 0.*at least 1"),
        (Mixture(ARCHS), {"samples": 0}, "samples is 0.*at least 1"),
    ],
)
def test_no_final_choice_is_refused_in_one_line(done, sampler, options, complaint):
    with pytest.raises(HnasError, match=rf"\A.*{complaint}.*\Z"):
        search.choose_final(done.net, sampler, done.x, done.y, np.random.default_rng(0), **options)


# a whole trial

FOREST = {
    "learned": TREE,
    "default": trees.default(SPACE),
    "random": trees.random(ARCHS, seed=1),
    "accuracy": trees.accuracy(np.arange(36.0), ARCHS),
}
SHORT = Schedule(20, temperature_start=0.05, temperature_end=0.01)  # phases of 8, 5 and 7 steps


DIGITS = {"dataset": "digits", "image_size": 0, "seed": 0}


def few_to_validate() -> Problem:
    """The digits, few of them to validate on, which makes the final choice quick."""
    problem = Problem.of({"space": "pooling", "width": 2} | DIGITS)
    return replace(problem, valid=problem.valid.take(torch.arange(100)))


def trial(
    sampler: Sampler, problem: Problem | None = None, schedule: Schedule = SHORT, **options
) -> search.Result:
    settings = {"seed": 0, "batch_size": BATCH, "lr": 0.05, "weight_decay": 1e-3} | options
    return search.trial(problem or few_to_validate(), sampler, schedule, **settings)


def assert_same_result(one: search.Result, other: search.Result) -> None:
    """Bit for bit the same weights, history, statistics and final architecture."""
    pd.testing.assert_frame_equal(one.history, other.history, check_exact=True)
    pd.testing.assert_series_equal(one.scores, other.scores, check_exact=True)
    assert one.arch == other.arch
    assert torch_bytes(one.sampler.state_dict()) == torch_bytes(other.sampler.state_dict())
    weights = other.net.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in one.net.state_dict().items())


@pytest.mark.parametrize("name", METHODS)
def test_a_trial_of_every_method_goes_from_weights_to_architecture(name):
    sampler = METHODS[name].make(SPACE, FOREST, models=2)
    result = trial(sampler, final_samples=10)
    steps = 40 if name == "mixture" else 20
    assert len(result.history) == steps
    assert result.history["phase"].value_counts(sort=False).to_dict() == {
        "uniform": 8 * steps // 20,
        "warm-up": 5 * steps // 20,
        "search": 7 * steps // 20,
    }
    assert np.isfinite(result.history[["loss", "reward"]]).all(axis=None)
    assert result.sampler is sampler
    assert result.arch in ARCHS
    assert result.arch == result.scores.index[0]
    assert 1 <= len(result.scores) <= 10
    assert result.scores.is_monotonic_decreasing
    assert result.seconds > 0
    # its scores are of all validation images, of which it trained on none
    x, y = data.load("digits").fixed(few_to_validate().valid)
    path = sampler.exploit().path(result.arch)
    assert result.scores.iloc[0] == evaluation.accuracy(result.net, [path], x, y)[0]


def test_trials_that_differ_in_the_sampler_start_alike():
    histories = [
        trial(METHODS[name].make(SPACE, FOREST)).history for name in ("learned", "default", "boltzmann")
    ]
    for history in histories[1:]:  # the phases without preference are the same to the bit
        pd.testing.assert_frame_equal(history.head(13), histories[0].head(13), check_exact=True)


@functools.cache
def phased(name: str) -> Schedule:
    return SHORT if comparable()[name].make(SPACE, FOREST).phased else replace(SHORT, phased=False)


def shared(begun: dict, sampler: Sampler, **options) -> tuple[search.Result, int]:
    """A trial, and how many of its 20 steps it was spared."""
    steps = []
    return trial(sampler, **options, begun=begun, progress=steps.append), steps[0]


@pytest.mark.parametrize("reward", ["absolute validation accuracy", "relative training loss"])
def test_what_trials_begin_with_alike_is_trained_once_to_the_same_bits(reward):
    """Two phases of tree searches, 13 steps; and uniform sampling has no draws of its own."""
    begun, problem, spared = {}, few_to_validate(), {}
    for name in ("learned", "uniform", "default", "regularised", "relearned"):
        method, options = comparable()[name], {"reward": reward, "final_samples": 5}
        if method.relearned:
            options["relearn"] = {"every": 0.5, "images": 8, "measure": "kl", "linkage": "ward"}
        options |= {"problem": problem, "schedule": phased(name)}
        one, spared[name] = shared(begun, method.make(SPACE, FOREST), **options)
        alone, none = shared({}, method.make(SPACE, FOREST), **options)
        assert none == 0
        assert_same_result(one, alone)
    assert spared == {"learned": 0, "uniform": 13, "default": 13, "regularised": 13, "relearned": 13}


class Own(MCTS):
    """Draws by itself in the first two phases as well."""

    def sample_uniform(self, rng):
        return self.archs[rng.integers(2)]


class Elsewhere(MCTS):
    """The network runs another architecture than the one that was drawn."""

    def path(self, arch):
        return self.archs[0]


@pytest.mark.parametrize(
    ("sampler", "options"),
    [
        (MCTS(TREE), {"seed": 1}),
        (MCTS(TREE), {"reward": "relative validation loss"}),
        (MCTS(TREE), {"lr": 0.04}),
        (MCTS(TREE), {"batch_size": 16}),
        (MCTS(TREE), {"precision": "bfloat16"}),
        (MCTS(TREE), {"schedule": replace(SHORT, steps=30)}),
        (MCTS(TREE), {"schedule": replace(SHORT, warmup=0.3)}),
        (MCTS(TREE), {"schedule": replace(SHORT, phased=False)}),
        (MCTS(TREE), {"problem": few_to_validate()}),
        (MCTS(TREE, warmup="branches"), {}),
        (MCTS(trees.random(ARCHS[::-1], seed=0)), {}),
        (Own(TREE), {}),
        (Elsewhere(TREE), {}),
        (Mixture(ARCHS), {}),
    ],
)
def test_what_may_begin_otherwise_is_spared_nothing(sampler, options):
    begun, problem = {}, few_to_validate()
    shared(begun, MCTS(TREE), problem=problem)
    assert shared(begun, MCTS(TREE), problem=problem)[1] == 13
    assert shared(begun, sampler, **{"problem": problem} | options)[1] == 0


def test_a_trial_that_began_as_another_did_goes_on_where_it_broke_off_and_took_as_long(tmp_path):
    begun, problem, rest = {}, few_to_validate(), []
    slow = trial(MCTS(TREE), problem, begun=begun, progress=lambda steps: time.sleep(0.02))

    def power_cut(steps: int) -> None:
        rest.append(steps)
        if sum(rest) == 18:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trial(MCTS(TREE), problem, begun=begun, checkpoints=Checkpoints(tmp_path, 4), progress=power_cut)
    assert rest[0] == 13
    resumed, spared = shared(begun, MCTS(TREE), problem=problem, checkpoints=Checkpoints(tmp_path, 4))
    assert spared == 16
    assert_same_result(resumed, slow)
    assert resumed.seconds > 13 * 0.02
    assert shared(begun, MCTS(TREE), problem=problem)[0].seconds > 13 * 0.02


def test_a_trial_is_the_run_and_the_choice_made_one_by_one():
    result = trial(MCTS(TREE), final="path", reward="relative training loss")
    generators, problem = Generators(0), few_to_validate()
    net, digits = problem.supernet(generators), problem.dataset
    sampler = MCTS(TREE)
    history = search.run(
        net,
        sampler,
        digits.batches(problem.train, BATCH, generators),
        digits.batches(problem.valid, BATCH, generators, "validation", train=False),
        SHORT,
        generators=generators,
        reward=Reward("relative training loss"),
        lr=0.05,
        weight_decay=1e-3,
    )
    arch, scores = search.choose_final(
        net, sampler, *digits.fixed(problem.valid), generators.numpy("final"), "path"
    )
    assert_same_result(
        result, search.Result(net, sampler, history.frame(SPACE, SHORT), arch, scores, seconds=0.0)
    )


def test_a_trial_of_a_mixture_of_one_is_that_of_uniform_sampling():
    uniform, one = trial(Uniform(ARCHS)), trial(Mixture(ARCHS, models=1))
    pd.testing.assert_frame_equal(one.history, uniform.history, check_exact=True)
    pd.testing.assert_series_equal(one.scores, uniform.scores, check_exact=True)
    assert one.arch == uniform.arch
    assert len(one.scores) == 36
    weights = list(uniform.net.state_dict().values())
    inside = list(one.net.state_dict().values())
    assert len(inside) == len(weights)
    assert all(torch.equal(a, b) for a, b in zip(inside, weights, strict=True))


def test_a_mixture_trains_one_supernet_a_step_and_each_from_weights_of_its_own():
    sampler = Mixture(ARCHS, models=3)
    result = trial(sampler)
    assert len(result.history) == 60
    nets = [
        [layer.models[m] for layer in (result.net.layers[0], *result.net.layers[1:], result.net.head)]
        for m in range(3)
    ]
    first = [next(net[0].parameters()) for net in nets]
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(first, 2))
    assert (sampler.value != 1).sum() > 20


@functools.cache
def unbroken(method: Method, reward: str) -> search.Result:
    return trial(method.make(SPACE, FOREST, models=2, coefficient=0.5), reward=reward, final_samples=5)


@pytest.mark.parametrize(("broken_off_at", "saved"), [(11, 8), (19, 16)], ids=["warm-up", "search"])
@pytest.mark.parametrize(
    ("method", "reward"),
    [
        (METHODS["mixture"], "relative validation loss"),
        (METHODS["regularised"], "absolute validation accuracy"),
        (Method("mcts_reg", "default", "equivalent_nodes"), "relative training accuracy"),
        (METHODS["independent"], "relative validation accuracy"),
        (METHODS["learned"], "relative training loss"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_a_trial_that_broke_off_goes_on_bit_for_bit(tmp_path, method, reward, broken_off_at, saved):
    def go(progress) -> search.Result:
        sampler = method.make(SPACE, FOREST, models=2, coefficient=0.5)
        checkpoints = Checkpoints(tmp_path, every=4 * sampler.rounds)
        return trial(sampler, reward=reward, final_samples=5, checkpoints=checkpoints, progress=progress)

    rounds, progressed = method.make(SPACE, FOREST, models=2).rounds, []

    def power_cut(steps: int) -> None:
        progressed.append(steps)
        if sum(progressed) == broken_off_at * rounds:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(power_cut)
    rest = []
    resumed = go(rest.append)
    assert rest[0] == saved * rounds
    assert_same_result(resumed, unbroken(method, reward))
    assert resumed.history["reward"].nunique() > 5


def test_an_unknown_reward_is_refused_before_a_step():
    with pytest.raises(HnasError, match="unknown reward 'accuracy'"):
        trial(MCTS(TREE), reward="accuracy")


# a space too large to list

WINDOW = cost.BudgetSampler(make_space("mobile"), 99e6, 100e6)


def mobile_trial(name: str, **options) -> search.Result:
    return search.trial(
        Problem.of({"space": "mobile", "width": 1} | DIGITS),
        make_sampler(name, budget=WINDOW),
        Schedule(10),
        seed=0,
        batch_size=16,
        lr=0.05,
        weight_decay=1e-3,
        **options,
    )


@pytest.mark.parametrize("name", ["uniform", "mcts_reg"])
@pytest.mark.parametrize("final", search.FINAL_CHOICES)
def test_a_search_stays_inside_its_window(name, final):
    result, space = mobile_trial(name, final=final, final_samples=4), make_space("mobile")
    drawn = [space.parse(text) for text in result.history["architecture"]] + [
        result.arch,
        *result.scores.index,
    ]
    assert all(99e6 <= cost.macs(space, arch) <= 100e6 for arch in drawn)
    assert len(set(drawn)) > 5
    assert len(result.scores) == (1 if (name, final) == ("mcts_reg", "path") else 4)


def test_a_search_in_a_window_that_broke_off_goes_on_bit_for_bit(tmp_path):
    whole, progressed = mobile_trial("mcts_reg", final_samples=3), []

    def power_cut(steps: int) -> None:
        progressed.append(steps)
        if sum(progressed) == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mobile_trial("mcts_reg", checkpoints=Checkpoints(tmp_path, every=3), progress=power_cut)
    rest = []
    resumed = mobile_trial(
        "mcts_reg", final_samples=3, checkpoints=Checkpoints(tmp_path, every=3), progress=rest.append
    )
    assert rest[0] == 6
    pd.testing.assert_frame_equal(resumed.history, whole.history)
    pd.testing.assert_series_equal(resumed.scores, whole.scores)
    weights = zip(resumed.net.parameters(), whole.net.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in weights)

"""Rewards: each of the eight by hand, their moving averages, and what is finite whatever comes."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from hnas_kit.errors import HnasError
from hnas_kit.files import torch_bytes, torch_value
from hnas_kit.rewards import REWARDS, Reward

# with beta 0.5 the average of 0.4, 0.8, 0.2 is 0.4, then 0.2 + 0.4 = 0.6, then 0.3 + 0.1 = 0.4
BY_HAND = {
    "absolute validation accuracy": [0.4, 0.8, 0.2],
    "absolute validation loss": [-0.4, -0.8, -0.2],
    "absolute training accuracy": [0.4, 0.8, 0.2],
    "absolute training loss": [-0.4, -0.8, -0.2],
    "relative validation accuracy": [1.0, 0.8 / 0.6, 0.2 / 0.4],  # accuracy over its average
    "relative validation loss": [1.0, 0.6 / 0.8, 0.4 / 0.2],  # the average over the loss
    "relative training accuracy": [1.0, 0.8 / 0.6, 0.2 / 0.4],
    "relative training loss": [1.0, 0.6 / 0.8, 0.4 / 0.2],
}


def test_there_are_eight_and_the_first_is_the_papers():
    assert set(REWARDS) == set(BY_HAND)
    assert len(REWARDS) == 8
    assert next(iter(REWARDS)) == Reward().name == "absolute validation accuracy"


@pytest.mark.parametrize(("name", "rewards"), BY_HAND.items())
def test_three_steps_by_hand(name, rewards):
    reward = Reward(name, beta=0.5)
    assert [reward.of(value) for value in (0.4, 0.8, 0.2)] == pytest.approx(rewards, rel=1e-14)
    assert (reward.relative, reward.on_training) == ("relative" in name, "training" in name)


@pytest.mark.parametrize("name", REWARDS)
def test_a_reward_is_measured_on_logits(name):
    logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 3.0], [0.0, 1.0, 0.0]])
    labels = torch.tensor([0, 1, 1, 1])  # three of four are right
    exp = math.exp
    # -log softmax: log(1 + 2 e^-2), log(1 + 2 e^-1) twice, and 3 + log(1 + 2 e^-3)
    loss = (math.log(1 + 2 * exp(-2)) + 2 * math.log(1 + 2 * exp(-1)) + 3 + math.log(1 + 2 * exp(-3))) / 4
    reward = Reward(name)
    first = reward(logits.requires_grad_(), labels)
    assert type(first) is float
    if "relative" in name:
        assert first == 1
        assert reward.average == pytest.approx(0.75 if "accuracy" in name else loss, rel=1e-6)
    else:
        assert first == pytest.approx(0.75 if "accuracy" in name else -loss, rel=1e-6)


def test_half_precision_loses_nothing_of_a_loss():
    logits = torch.randn(64, 10, generator=torch.Generator().manual_seed(0)).bfloat16()
    labels = torch.arange(64) % 10
    reward = Reward("absolute training loss")(logits, labels)
    assert reward == pytest.approx(-F.cross_entropy(logits.double(), labels).item(), rel=1e-6)


@given(st.lists(st.floats(0.01, 5), min_size=1, max_size=50), st.sampled_from([0.5, 0.96, 0.0]))
def test_an_average_starts_at_the_first_value_and_is_updated_before_it_is_used(values, beta):
    by_accuracy, by_loss = Reward("relative training accuracy", beta), Reward("relative training loss", beta)
    for n, value in enumerate(values, start=1):
        weights = [(1 - beta) * beta ** (n - k) if k > 1 else beta ** (n - 1) for k in range(1, n + 1)]
        average = math.fsum(w * v for w, v in zip(weights, values, strict=False))
        assert by_accuracy.of(value) == pytest.approx(value / average, rel=1e-9)
        assert by_loss.of(value) == pytest.approx(average / value, rel=1e-9)
        assert by_accuracy.average == by_loss.average == pytest.approx(average, rel=1e-9)


@pytest.mark.parametrize("name", REWARDS)
@pytest.mark.parametrize("values", list(itertools.product((0.0, 0.5), repeat=3)))
def test_nothing_right_or_no_loss_gives_a_finite_reward(name, values):
    reward = Reward(name)
    assert all(math.isfinite(reward.of(value)) for value in values)


@pytest.mark.parametrize("name", REWARDS)
def test_a_reward_goes_on_from_a_saved_state(name):
    first, second = Reward(name, beta=0.9), Reward(name, beta=0.9)
    second.load_state_dict(torch_value(torch_bytes(first.state_dict())))  # before the first value
    assert [second.of(v) for v in (0.5, 0.7)] == [first.of(v) for v in (0.5, 0.7)]
    third = Reward(name, beta=0.9)
    third.load_state_dict(torch_value(torch_bytes(first.state_dict())))
    assert [third.of(v) for v in (0.1, 0.6)] == [first.of(v) for v in (0.1, 0.6)]


def test_the_average_is_smoothed_as_by_its_authors():
    assert Reward("relative training loss").beta == 0.96


def test_an_unknown_reward_is_refused_with_the_near_miss():
    with pytest.raises(HnasError) as caught:
        Reward("absolute validation acuracy")
    line = str(caught.value)
    near = "unknown reward 'absolute validation acuracy' (did you mean 'absolute validation accuracy'?)"
    assert line.startswith(f"{near}; allowed: ")
    assert all(name in line for name in REWARDS)
    assert "\n" not in line

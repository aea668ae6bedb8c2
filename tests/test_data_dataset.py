"""Splits and batches: every image once an epoch, halves, what is the same at every call."""

from __future__ import annotations

import pytest
import torch
from common import generator
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hnas_kit.data import Batches, Dataset, Split
from hnas_kit.errors import HnasError
from hnas_kit.files import torch_bytes, torch_value
from hnas_kit.randomness import Generators

# splits and fixed sets


def test_halves_are_disjoint_random_and_cover_the_training_set():
    images = torch.arange(11, dtype=torch.uint8).view(11, 1, 1, 1)
    split = Split(images, torch.arange(11) * 10)
    dataset = Dataset("counted", ("a",), split, split, as_it_is, image_size=1)
    halves = dataset.halves(generator(3))
    assert [len(half) for half in halves] == [5, 6]
    for half in halves:
        assert torch.equal(half.images.flatten().long() * 10, half.labels)
    both = torch.cat([half.labels for half in halves])
    assert sorted(both.tolist()) == split.labels.tolist() != both.tolist()
    assert torch.equal(dataset.halves(generator(3))[0].labels, halves[0].labels)
    assert not torch.equal(dataset.halves(generator(4))[0].labels, halves[0].labels)


def test_a_fixed_set_is_the_same_at_every_call(digits):
    torch.manual_seed(1)
    x, y = digits.fixed(digits.test, limit=20)
    torch.manual_seed(2)
    again = digits.fixed(digits.test, limit=20)
    assert torch.equal(x, again[0])
    assert torch.equal(y, again[1])
    assert x.shape == (60, 1, 16, 16)
    assert torch.equal(y, digits.test.labels[:20].repeat(3))
    assert not torch.equal(x[:20], x[20:40])  # three draws of each digit
    assert len(digits.fixed(digits.test)[1]) == 3 * 897


@pytest.mark.parametrize("limit", [898, 10_000])
def test_more_images_than_there_are_are_refused(digits, limit):
    assert len(digits.fixed(digits.test, 897)[1]) == 3 * 897
    with pytest.raises(HnasError, match=f"^{limit} images are asked for, and there are 897$"):
        digits.fixed(digits.test, limit)


# batches


def as_it_is(images: Tensor, generator: torch.Generator, train: bool) -> Tensor:
    return images.float()


def counted(n: int, batch_size: int, seed: int = 0, **options: object) -> Batches:
    """Batches of images whose one pixel is their number, and whose label is twice that."""
    split = Split(torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1), torch.arange(n) * 2)
    options = {"render": as_it_is, "order": generator(seed), "augment": generator(seed + 1)} | options
    return Batches(split, options.pop("render"), batch_size, **options)


def numbers(batches: Batches, steps: int) -> list[int]:
    out = []
    for _ in range(steps):
        x, y = next(batches)
        assert len(y) == batches.batch_size
        assert torch.equal(x.flatten().long() * 2, y)
        out += x.flatten().int().tolist()
    return out


@given(st.integers(1, 20), st.data())
def test_every_epoch_has_every_image_once_and_all_batches_are_full(n, draw):
    batch_size = draw.draw(st.integers(1, n))
    batches = counted(n, batch_size)
    stream = numbers(batches, 3 * -(-n // batch_size))
    for start in range(0, len(stream) - n + 1, n):
        assert sorted(stream[start : start + n]) == list(range(n))


def test_epochs_are_shuffled_anew_and_fixed_by_the_generator():
    stream = numbers(counted(50, 25), 4)
    assert stream[:50] != stream[50:] != list(range(50))
    assert stream == numbers(counted(50, 25), 4) != numbers(counted(50, 25, seed=1), 4)


@pytest.mark.parametrize("batch_size", [0, 11])
def test_a_batch_that_cannot_be_filled_is_refused(batch_size):
    with pytest.raises(HnasError, match=f"^batch_size is {batch_size}; it must be from 1 to the 10 images"):
        counted(10, batch_size)


@pytest.mark.parametrize("train", [True, False])
def test_rendering_is_told_whether_it_is_training(train):
    seen = []

    def render(images: Tensor, source: torch.Generator, train: bool) -> Tensor:
        seen.append((source, train))
        return images

    augment = generator()
    next(counted(5, 2, render=render, augment=augment, train=train))
    assert seen == [(augment, train)]


def test_batches_go_on_from_a_saved_state(digits):
    def new() -> tuple[Generators, Batches]:
        generators = Generators(3)
        return generators, digits.batches(digits.train, 400, generators)

    generators, batches = new()
    for _ in range(3):  # 300 of the 900 images of the second epoch are left
        next(batches)
    state = torch_bytes([generators.state_dict(), batches.state_dict()])
    expected = [next(batches) for _ in range(4)]

    generators, resumed = new()
    for part, value in zip((generators, resumed), torch_value(state), strict=True):
        part.load_state_dict(value)
    for x, y in expected:
        again_x, again_y = next(resumed)
        assert torch.equal(x, again_x)
        assert torch.equal(y, again_y)


def test_batches_of_a_name_have_generators_of_their_own(digits):
    def batches(name: str, others: tuple[str, ...] = ()) -> Tensor:
        generators = Generators(3)
        for other in others:
            next(digits.batches(digits.train, 5, generators, other))
        return next(digits.batches(digits.train, 5, generators, name))[0]

    draws = [batches(name) for name in ("", "mcts", "uniform")]
    assert len(torch.unique(torch.stack(draws), dim=0)) == 3
    assert torch.equal(batches("mcts", others=("", "uniform")), draws[1])

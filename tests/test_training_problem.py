"""A space, halves of images and a width, as a notebook's parameters name them."""

from __future__ import annotations

import pytest
import torch

from hnas_kit import data
from hnas_kit.errors import HnasError
from hnas_kit.randomness import Generators
from hnas_kit.training.problem import Problem

PARAMS = {"space": "pooling", "dataset": "digits", "image_size": 0, "width": 3, "seed": 4, "epochs": 9}


def test_halves_and_supernet_are_those_of_seed_and_width():
    problem, whole = Problem.of(PARAMS), data.load("digits")
    for mine, half in zip(
        (problem.train, problem.valid), whole.halves(Generators(4).torch("split")), strict=True
    ):
        assert torch.equal(mine.images, half.images)
    net = problem.supernet(Generators(1))
    assert net.stem[0][0].weight.shape[:2] == (3, 1)
    again = problem.supernet(Generators(1)).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in net.state_dict().items())
    assert not torch.equal(problem.supernet(Generators(2)).stem[0][0].weight, net.stem[0][0].weight)


def test_the_last_batch_of_an_epoch_counts_whole():
    assert [Problem.of(PARAMS).steps(2, size) for size in (450, 449, 100)] == [2, 4, 10]


@pytest.mark.parametrize(("name", "value"), [("space", "cells"), ("dataset", "cifar")])
def test_a_name_that_nobody_knows_is_refused(name, value):
    with pytest.raises(HnasError, match=f"{value}.*allowed: "):
        Problem.of(PARAMS | {name: value})

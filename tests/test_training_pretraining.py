"""Uniform pre-training: the loop written out as the oracle."""

from __future__ import annotations

from collections import Counter

import torch

from hnas_kit.randomness import Generators
from hnas_kit.training import pretrain, train
from hnas_kit.training.problem import Problem

PROBLEM = Problem.of({"space": "pooling", "dataset": "digits", "image_size": 8, "width": 2, "seed": 0})
HOW = {"seed": 3, "epochs": 2, "batch_size": 50}
SGD = {"lr": 0.03, "weight_decay": 1e-3}


def test_it_is_training_with_uniform_draws():
    net, losses = pretrain(PROBLEM, **HOW, **SGD)
    generators, archs = Generators(3), PROBLEM.space.enumerate()
    plain, rng = PROBLEM.supernet(generators), generators.numpy("architectures")
    batches = PROBLEM.dataset.batches(PROBLEM.train, 50, generators)
    expected = train(plain, batches, lambda step: archs[rng.integers(36)], 18, **SGD)
    assert losses.tolist() == expected.tolist()
    for name, value in net.state_dict().items():
        assert torch.equal(value, plain.state_dict()[name])


def test_another_draw_takes_its_place():
    drawn, archs = Counter(), PROBLEM.space.enumerate()

    def draw(rng):
        drawn[arch := archs[3 * rng.integers(2)]] += 1
        return arch

    pretrain(PROBLEM, draw=draw, **HOW, **SGD)
    assert set(drawn) == {archs[0], archs[3]}
    assert drawn.total() == 18

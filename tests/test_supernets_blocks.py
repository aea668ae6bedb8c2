"""Convolution blocks against the same thing written with torch's functions."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from hnas_kit.spaces import PoolingSpace
from hnas_kit.supernets.blocks import BasicBlock, Classifier, InvertedResidual, OptionalPool, batch_norm


def images(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def norm(x: torch.Tensor) -> torch.Tensor:
    return F.batch_norm(x, None, None, training=True)


def test_shared_batch_norm_has_no_weights_and_no_statistics():
    assert batch_norm(4, shared=True).state_dict() == {}
    assert set(batch_norm(4, shared=False).state_dict()) >= {"weight", "bias", "running_mean", "running_var"}


@pytest.mark.parametrize("training", [True, False])
def test_shared_batch_norm_always_uses_the_batch(training):
    x = images(8, 4, 3, 3) * 5 + 2
    out = batch_norm(4, shared=True).train(training)(x)
    torch.testing.assert_close(out.mean((0, 2, 3)), torch.zeros(4), atol=1e-6, rtol=0)
    torch.testing.assert_close(out.var((0, 2, 3), correction=0), torch.ones(4), atol=1e-5, rtol=0)


@pytest.mark.parametrize("width", [3, 4])
def test_basic_block_is_two_convolutions_and_a_shortcut(width):
    x = images(5, 3, 6, 6)
    before = x.clone()
    block = BasicBlock(3, width, shared=True)
    weights = dict(block.named_parameters())
    assert len(weights) == (2 if width == 3 else 3)  # a convolution on the shortcut where the width changes
    out = F.relu(norm(F.conv2d(x, weights["conv1.0.weight"], padding=1)))
    out = norm(F.conv2d(out, weights["conv2.0.weight"], padding=1))
    shortcut = x if width == 3 else norm(F.conv2d(x, weights["shortcut.0.weight"]))
    torch.testing.assert_close(block(x), F.relu(out + shortcut))
    assert torch.equal(x, before)  # the prefix cache of evaluation hands the same input to several blocks


def test_a_pool_stands_before_the_block_and_both_choices_share_it():
    x = images(2, 3, 6, 6)
    block = BasicBlock(3, 3, shared=True)
    layer = OptionalPool(block)
    pooled = x.unfold(2, 2, 2).unfold(3, 2, 2).amax((-2, -1))
    assert torch.equal(layer(x, PoolingSpace.IDENTITY), block(x))
    assert torch.equal(layer(x, PoolingSpace.POOL), block(pooled))
    assert layer.alone(PoolingSpace.IDENTITY) is layer.alone(PoolingSpace.POOL)[1] is block


@pytest.mark.parametrize(("width", "stride"), [(4, 1), (6, 1), (4, 2)])
@pytest.mark.parametrize("squeeze", [False, True])
@pytest.mark.parametrize("expansion", [1, 3])
def test_inverted_residual_expands_filters_weighs_and_projects(width, stride, squeeze, expansion):
    x = images(5, 4, 6, 6)
    before, hidden = x.clone(), 4 * expansion
    block = InvertedResidual(4, width, 5, stride, expansion, True, torch.nn.Hardswish, squeeze)
    weights, out = dict(block.named_parameters()), x
    assert len(weights) == 2 + (expansion > 1) + 4 * squeeze
    if expansion > 1:
        out = F.hardswish(norm(F.conv2d(out, weights["expand.0.weight"])))
    out = F.conv2d(out, weights["filter.0.weight"], stride=stride, padding=2, groups=hidden)
    out = F.hardswish(norm(out))
    if squeeze:
        assert weights["squeeze.fc1.weight"].shape == (hidden // 4, hidden, 1, 1)
        gate = out.mean((2, 3), keepdim=True)
        gate = F.relu(F.conv2d(gate, weights["squeeze.fc1.weight"], weights["squeeze.fc1.bias"]))
        gate = F.conv2d(gate, weights["squeeze.fc2.weight"], weights["squeeze.fc2.bias"])
        out = out * F.hardsigmoid(gate)
    out = norm(F.conv2d(out, weights["project.0.weight"]))
    torch.testing.assert_close(block(x), out + x if (width, stride) == (4, 1) else out)
    assert torch.equal(x, before)


def test_classifier_averages_over_the_image():
    x = images(2, 3, 4, 5)
    head = Classifier(3, 7)
    expected = x.flatten(2).mean(2) @ head.linear.weight.T + head.linear.bias
    torch.testing.assert_close(head(x), expected)

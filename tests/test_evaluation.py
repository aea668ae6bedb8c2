"""Evaluating many architectures at once against evaluating them one by one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from common import ARCHS

from hnas_kit import cost, evaluation
from hnas_kit.spaces import make_space
from hnas_kit.supernets import Supernet, make_supernet

SHUFFLED = [ARCHS[i] for i in (35, 3, 17, 3, 0, 20, 35, 4)]  # with duplicates


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(50, 1, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def labels() -> torch.Tensor:
    return torch.randint(10, (50,), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def net(new_net, images) -> Supernet:
    """A network that, untrained, does not give all images the same class."""
    net = new_net()
    with torch.no_grad():
        net.head.linear.bias -= net(images, ARCHS[0]).mean(0)
    return net


def one_by_one(net, archs, x) -> torch.Tensor:
    net.eval()
    with torch.no_grad():
        return torch.stack([torch.softmax(net(x, arch), dim=1) for arch in archs])


@pytest.mark.parametrize("archs", [ARCHS, SHUFFLED, ARCHS[:1]], ids=["all", "shuffled", "one"])
@pytest.mark.parametrize("shared", [True, False])
def test_outputs_are_those_of_the_loop(new_net, images, archs, shared):
    net = new_net(shared=shared).train()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    out = evaluation.outputs(net, archs, images)
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert torch.equal(out, one_by_one(net, archs, images))
    assert out.shape == (len(archs), 50, 10)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out.sum(2), torch.ones(len(archs), 50))


def some_architectures(space):
    if space.name == "macro":
        return [*space.enumerate()[::131][::-1], space.parse("22212220"), space.parse("00000000")]
    drawn = cost.BudgetSampler(space, 99e6, 100e6).sample(np.random.default_rng(0), 12)
    return [*drawn, *((*arch[:13], *other[13:]) for arch, other in itertools.pairwise(drawn))]


@pytest.mark.parametrize("name", ["macro", "mobile"])
@pytest.mark.parametrize("shared", [True, False])
def test_outputs_of_other_spaces_are_those_of_the_loop(shared, name):
    space = make_space(name)
    archs = some_architectures(space)
    generator = torch.Generator().manual_seed(0)
    net = make_supernet(space, 3, width=4, shared=shared, generator=generator)
    x = torch.randn(12, 3, 32, 32, generator=generator)
    out = evaluation.outputs(net, archs, x)
    assert torch.equal(out, one_by_one(net, archs, x))
    y = out[3].argmax(1)
    accuracy = evaluation.accuracy(net, archs, x, y)
    assert accuracy[3] == 1
    np.testing.assert_array_equal(accuracy, (out.argmax(2) == y).double().mean(1))


@pytest.mark.parametrize("archs", [ARCHS, SHUFFLED], ids=["all", "shuffled"])
def test_accuracies_are_those_of_the_loop(net, images, labels, archs):
    expected = (one_by_one(net, archs, images).argmax(2) == labels).double().mean(1)
    out = evaluation.accuracy(net, archs, images, labels)
    assert out.dtype == np.float64
    np.testing.assert_array_equal(out, expected)
    assert len(set(out)) > 2


@pytest.mark.parametrize(
    ("count", "batch_size", "parts"),
    [(50, 50, [50]), (50, 49, [25, 25]), (50, 16, [13, 13, 12, 12]), (13, 4, [4, 3, 3, 3])],
)
def test_accuracy_over_equal_parts_is_that_of_the_loop_over_them(
    net, images, labels, count, batch_size, parts
):
    archs, seen = SHUFFLED, []
    correct = torch.zeros(len(archs))
    for x, y in zip(images[:count].split(parts), labels[:count].split(parts), strict=True):
        correct += (one_by_one(net, archs, x).argmax(2) == y).sum(1)
    net.stem.register_forward_hook(lambda module, args, out: seen.append(len(out)))
    out = evaluation.accuracy(net, archs, images[:count], labels[:count], batch_size)
    np.testing.assert_array_equal(out, correct.double() / count)
    assert seen == parts


@pytest.mark.parametrize("archs", [ARCHS, SHUFFLED], ids=["all", "shuffled"])
def test_a_common_prefix_is_computed_once(net, images, archs):
    calls = []
    net.stem.register_forward_hook(lambda module, args, out: calls.append("stem"))
    for layer in net.layers:
        layer.register_forward_hook(lambda module, args, out: calls.append("layer"))
    evaluation.outputs(net, archs, images)
    prefixes = {arch[:length] for arch in archs for length in range(1, 10)}
    assert calls.count("layer") == len(prefixes) < 9 * len(set(archs))
    assert calls.count("stem") == 1


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_of_the_network_is_put_back(net, images, labels, training):
    net.train(training)
    evaluation.outputs(net, ARCHS[:2], images)
    evaluation.accuracy(net, ARCHS[:2], images, labels)
    with pytest.raises(ValueError, match="zip"):
        evaluation.outputs(net, [(0, 1)], images)
    assert all(module.training is training for module in net.modules())

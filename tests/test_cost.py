"""MACs and parameters against counts taken from the built network while it runs on an image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from hnas_kit import cost
from hnas_kit.errors import HnasError
from hnas_kit.spaces import make_space
from hnas_kit.supernets import Supernet, make_supernet

SPACE = make_space("pooling")
ARCHS = SPACE.enumerate()


def counted_macs(net: Supernet, arch: tuple[int, ...], image: torch.Tensor) -> int:
    """One multiply-accumulate for each weight that meets each output value."""
    counts = []

    def count(module: nn.Module, args: tuple, out: torch.Tensor) -> None:
        places = out[0, 0].numel() if isinstance(module, nn.Conv2d) else 1
        counts.append(module.weight.numel() * places)

    counted = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    handles = [module.register_forward_hook(count) for module in counted]
    with torch.inference_mode():
        net(image, arch)
    for handle in handles:
        handle.remove()
    assert len(counts) == len(counted) == 22
    return sum(counts)


@pytest.mark.parametrize(
    ("width", "image_size", "in_channels", "num_classes"), [(16, 32, 3, 10), (3, 20, 1, 7)]
)
def test_costs_of_all_architectures_are_those_of_the_built_network(
    width, image_size, in_channels, num_classes
):
    net = make_supernet(SPACE, in_channels, num_classes, width, shared=False).eval()
    image = torch.zeros(1, in_channels, image_size, image_size)
    sizes = {"width": width, "in_channels": in_channels, "num_classes": num_classes}
    weights = sum(p.numel() for p in net.parameters())
    for arch in ARCHS:
        assert cost.macs(SPACE, arch, image_size=image_size, **sizes) == counted_macs(net, arch, image)
        assert cost.params(SPACE, arch, **sizes) == weights


def test_resnet20_has_its_published_number_of_parameters():
    assert {cost.params(SPACE, arch) for arch in ARCHS} == {272_474}


def test_the_defaults_are_cifar10_and_the_papers_width():
    sizes = {"width": 16, "in_channels": 3, "num_classes": 10}
    assert cost.macs(SPACE, ARCHS[0]) == cost.macs(SPACE, ARCHS[0], image_size=32, **sizes)
    assert cost.params(SPACE, ARCHS[0]) == cost.params(SPACE, ARCHS[0], **sizes)


def test_a_later_pool_costs_more():
    early, middle, late = (cost.macs(SPACE, SPACE.parse(text)) for text in ("[1,1,8]", "[4,3,3]", "[8,1,1]"))
    assert early < middle < late


@pytest.mark.parametrize("count", [cost.macs, cost.params])
def test_any_integers_are_taken_and_any_other_code_is_refused(count):
    assert count(SPACE, np.array(ARCHS[3])) == count(SPACE, ARCHS[3])
    with pytest.raises(HnasError, match="exactly two pools"):
        count(SPACE, (1,) * 9)

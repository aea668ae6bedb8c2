"""Multiply-accumulates (MACs) and parameters of architectures, read off the network itself."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hnas_kit.spaces import Arch, SearchSpace, make_space
from hnas_kit.supernets import Supernet, make_supernet


class CostTable:
    """Cost of every layer choice, each computed once per input shape on PyTorch's meta device.

    Counted as for one network alone (BatchNorm with affine parameters): MACs of convolutions and linear
    layers for one image, biases and normalisation left out; parameters of all kinds.

    Args:
        net: a supernet whose parameters lie on the meta device.
        image_size: height and width of the input, pixels.
        in_channels: channels of the input.
    """

    def __init__(self, net: Supernet, image_size: int, in_channels: int) -> None:
        self.net = net
        self._input = (1, in_channels, image_size, image_size)
        self._known: dict[tuple, tuple[int, tuple[int, ...]]] = {}

    def _run(self, key: object, module: nn.Module, shape: tuple[int, ...], *args: int) -> tuple:
        """MACs of one module on an input of that shape, and the shape of its output."""
        if (key, shape, args) not in self._known:
            counter = FlopCounterMode(display=False)
            with counter, torch.no_grad():
                out = module(torch.empty(shape, device="meta"), *args)
            self._known[key, shape, args] = (counter.get_total_flops() // 2, tuple(out.shape))
        return self._known[key, shape, args]

    def parts(self, arch: Arch) -> list[int]:
        """MACs of the stem, of each layer and of the head."""
        macs, shape = self._run("stem", self.net.stem, self._input)
        parts = [macs]
        for i, (layer, op) in enumerate(zip(self.net.layers, arch, strict=True)):
            macs, shape = self._run(i, layer, shape, op)
            parts.append(macs)
        return [*parts, self._run("head", self.net.head, shape)[0]]

    def macs(self, arch: Arch) -> int:
        return sum(self.parts(arch))

    def params(self, arch: Arch) -> int:
        used = [self.net.stem, self.net.head]
        used += [layer.active(op) for layer, op in zip(self.net.layers, arch, strict=True)]
        return sum(p.numel() for module in used for p in module.parameters())


@lru_cache(maxsize=16)
def table(
    space: str, width: int | None = None, image_size: int = 32, in_channels: int = 3, num_classes: int = 10
) -> CostTable:
    """The costs of a space's network of that size."""
    with torch.device("meta"):
        net = make_supernet(make_space(space), in_channels, num_classes, width, shared=False)
    return CostTable(net.eval(), image_size, in_channels)


def macs(
    space: SearchSpace,
    arch: Arch,
    *,
    width: int | None = None,
    image_size: int = 32,
    in_channels: int = 3,
    num_classes: int = 10,
) -> int:
    """Multiply-accumulates of one architecture for one image (the paper's "FLOPs")."""
    return table(space.name, width, image_size, in_channels, num_classes).macs(space.canonical(arch))


def params(
    space: SearchSpace,
    arch: Arch,
    *,
    width: int | None = None,
    in_channels: int = 3,
    num_classes: int = 10,
) -> int:
    """Number of weights of one architecture trained alone, BatchNorm's affine ones included."""
    return table(space.name, width, 32, in_channels, num_classes).params(space.canonical(arch))

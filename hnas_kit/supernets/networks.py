"""Weight-sharing networks, all of one shape: stem, chain of layers with a choice each, head."""

import copy
import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hnas_kit.errors import HnasError
from hnas_kit.spaces import Arch, MacroSpace, MobileSpace, PoolingSpace, SearchSpace, make_space
from hnas_kit.supernets import chains
from hnas_kit.supernets.blocks import (
    BasicBlock,
    Choice,
    Classifier,
    ConvBN,
    InvertedResidual,
    Only,
    OptionalPool,
    Supernet,
)


def _pooling(in_channels: int, num_classes: int, width: int, shared: bool) -> Supernet:
    """ResNet20 with widths w, 2w, 4w; all convolutions at stride 1, the pools alone reduce resolution."""
    widths = [width] * 4 + [2 * width] * 3 + [4 * width] * 3
    stem = nn.Sequential(ConvBN(in_channels, widths[0], 3, shared), nn.ReLU())
    layers = [OptionalPool(BasicBlock(a, b, shared)) for a, b in itertools.pairwise(widths)]
    return Supernet(stem, layers, Classifier(widths[-1], num_classes))


def _macro(in_channels: int, num_classes: int, width: int, shared: bool) -> Supernet:
    """NAS-Bench-Macro: stages of widths 2w, 4w, 8w behind a stem of w; each begins with stride 2."""

    def layer(a: int, b: int, stride: int) -> Choice:
        identity = nn.Identity() if stride == 1 and a == b else ConvBN(a, b, 1, shared, stride)
        kinds = (3, 3), (5, 6)  # kernel and expansion
        return Choice([identity, *(InvertedResidual(a, b, k, stride, e, shared) for k, e in kinds)])

    layers, before = [], width
    for stage, length in enumerate(MacroSpace.stages, 1):
        for i in range(length):
            layers.append(layer(before, before := width * 2**stage, 1 if i else 2))
    stem = ConvBN(in_channels, width, 3, shared, activation=nn.ReLU)
    features = ConvBN(before, 40 * width, 1, shared, activation=nn.ReLU)
    return Supernet(stem, layers, nn.Sequential(features, Classifier(40 * width, num_classes)))


def _mobile(in_channels: int, num_classes: int, width: int, shared: bool) -> Supernet:
    """The ImageNet network (Sec. 5.4): stem and a fixed block, six stages, 1280 features; w is 32.

    Another w scales all channels alike, rounded.
    """

    def channels(of_32: int) -> int:
        return max(round(of_32 * width / 32), 1)

    def layer(a: int, b: int, stride: int) -> Choice:
        blocks = [
            InvertedResidual(a, b, kernel, stride, expansion, shared, nn.Hardswish, squeeze)
            for expansion in (3, 6)
            for squeeze in (False, True)
            for kernel in (3, 5, 7)
        ]
        identity = nn.Identity() if stride == 1 and a == b else ConvBN(a, b, 1, shared, stride)
        return Choice([*blocks, identity])

    layers, before = [], channels(16)
    stages = zip(MobileSpace.stages, (32, 40, 80, 96, 192, 320), (2, 2, 2, 1, 2, 1), strict=True)
    for length, out, stride in stages:
        for i in range(length):
            layers.append(layer(before, before := channels(out), 1 if i else stride))
    stem = nn.Sequential(
        ConvBN(in_channels, width, 3, shared, stride=2, activation=nn.Hardswish),
        InvertedResidual(width, channels(16), 3, 1, 1, shared, nn.Hardswish),
    )
    features = ConvBN(before, channels(1280), 1, shared, activation=nn.Hardswish)
    return Supernet(stem, layers, nn.Sequential(features, Classifier(channels(1280), num_classes)))


class _Each(nn.Module):
    """The same place in M supernets; passes on which of them is running: (x, model) -> (x, model)."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        super().__init__()
        self.models = nn.ModuleList(modules)

    def forward(self, state: tuple[Tensor, int], op: int) -> tuple[Tensor, int]:
        x, model = state
        return self.models[model](x, op), model


class _Enter(_Each):
    """The first choice of a mixture: in which supernet the images go."""

    def forward(self, x: Tensor, model: int) -> tuple[Tensor, int]:
        return self.models[model](x), model


class _Leave(_Each):
    """The head of the supernet that is running."""

    def forward(self, state: tuple[Tensor, int]) -> Tensor:
        x, model = state
        return self.models[model](x)


def mixture(nets: Sequence[Supernet]) -> Supernet:
    """M supernets of a space as one, run by ``(model, *architecture)``: the first choice is the supernet."""
    layers = [_Each(places) for places in zip(*(net.layers for net in nets), strict=True)]
    enter, leave = _Enter([net.stem for net in nets]), _Leave([net.head for net in nets])
    return Supernet(nn.Identity(), [enter, *layers], leave)


class Skeleton(NamedTuple):
    """What surrounds the choices of a space, with the paper's sizes."""

    build: Callable[..., Supernet]
    width: int  # channels of the stem
    image_size: int  # height and width of an image, pixels
    num_classes: int


SKELETONS = {
    PoolingSpace.name: Skeleton(_pooling, width=16, image_size=32, num_classes=10),
    MacroSpace.name: Skeleton(_macro, width=32, image_size=32, num_classes=10),
    MobileSpace.name: Skeleton(_mobile, width=32, image_size=224, num_classes=1000),
}


def skeleton(space: SearchSpace) -> Skeleton:
    """What surrounds the choices of a space, the paper's or one that was registered."""
    if space.name in SKELETONS:
        return SKELETONS[space.name]

    return Skeleton(partial(chains.build, space), space.width, space.image_size, num_classes=10)


def make_supernet(
    space: SearchSpace,
    in_channels: int = 3,
    num_classes: int = 10,
    width: int | None = None,
    shared: bool = True,
    generator: torch.Generator | None = None,
) -> Supernet:
    """A new supernet of a space, on the CPU.

    Args:
        space: the search space.
        in_channels: channels of an image.
        num_classes: number of classes.
        width: channels of the stem; the others follow (default: the paper's, 16 for Pooling, 32 for the
            other spaces).
        shared: True for BatchNorm fit for shared weights; False for the ordinary one, with which one
            architecture is trained alone (see :func:`hnas_kit.supernets.blocks.batch_norm`).
        generator: draws the initial weights; default: PyTorch's global generator.

    Raises:
        HnasError: if a size is not at least 1.
    """
    outline = skeleton(space)
    width = outline.width if width is None else width
    for name, value in (("in_channels", in_channels), ("num_classes", num_classes), ("width", width)):
        if value < 1:
            raise HnasError(f"{name} is {value}; it must be at least 1")
    with torch.random.fork_rng(devices=[]):  # what is no convolution and no linear layer draws from there
        if generator is not None:
            ahead = generator.clone_state()  # so that the generator draws the rest as without
            torch.default_generator.manual_seed(int(torch.randint(2**63 - 1, (), generator=ahead)))
        net = outline.build(in_channels, num_classes, width, shared)
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            # PyTorch's own initialisation, drawn from the given generator
            nn.init.kaiming_uniform_(module.weight, a=5**0.5, generator=generator)
            if module.bias is not None:
                bound = module.weight[0].numel() ** -0.5
                nn.init.uniform_(module.bias, -bound, bound, generator=generator)
    return net


def smallest_features(space: str, image_size: int) -> int:
    """Values a channel and image where BatchNorm sees fewest, of a space's first architecture.

    Raises:
        HnasError: if nothing is left of an image.
    """
    made = make_space(space)
    with torch.random.fork_rng(devices=[]):
        net = skeleton(made).build(1, 2, 2, False).eval()
    seen: list[int] = []
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda m, x, out: seen.append(out.shape[2] * out.shape[3]))
    try:
        # not on the meta device: its BatchNorm imports PyTorch's compiler, for longer than this takes
        with torch.no_grad():
            net(torch.zeros(1, 1, image_size, image_size), made.first)
    except RuntimeError:
        raise HnasError(f"image_size is {image_size}: nothing is left of it in the {space} network") from None
    return min(seen, default=image_size**2)


def prune(net: Supernet, arch: Arch) -> Supernet:
    """A supernet of which one architecture is left: to be trained or scored as any other.

    It has the operations of ``arch`` alone, and shares their weights with ``net``, which is of one space.
    """
    layers = [Only(layer.alone(op)) for layer, op in zip(net.layers, arch, strict=True)]
    return Supernet(net.stem, layers, net.head)


def extract(net: Supernet, arch: Arch) -> nn.Sequential:
    """One architecture as a plain network of its own, without the others; equal in output.

    Args:
        net: a supernet of one space (no mixture). Weights are copied from it; for fresh ones take a new
            supernet. One made with ``shared=False`` gives the ordinary BatchNorm of a network alone; with
            shared weights the network goes on normalising by the statistics of each batch.
        arch: the architecture.

    Returns:
        Stem, one module a layer, head; (B, C, H, W) -> logits (B, num_classes). In the mode (training or
        evaluation) and on the device of ``net``.
    """
    layers = [layer.alone(op) for layer, op in zip(net.layers, arch, strict=True)]
    return copy.deepcopy(nn.Sequential(net.stem, *layers, net.head)).train(net.training)

"""A supernet, and the convolution blocks that it is built from."""

from collections.abc import Iterable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hnas_kit.errors import HnasError
from hnas_kit.spaces import PoolingSpace


class BatchNorm(nn.BatchNorm2d):
    """PyTorch's, with one line for what it cannot normalise: a single value a channel."""

    def forward(self, x: Tensor) -> Tensor:
        if (self.training or not self.track_running_stats) and x.numel() == x.shape[1]:
            raise HnasError(
                "BatchNorm would see one value a channel: one image, and features of 1x1; take a larger "
                "batch_size or image_size, or fewer parts"
            )
        return super().forward(x)


def batch_norm(channels: int, shared: bool) -> nn.BatchNorm2d:
    """BatchNorm for weights that architectures share, or for one architecture alone.

    Shared: no affine parameters and no running statistics, since the statistics of one architecture are
    wrong for another. The batch's own are used always, in evaluation too, so an accuracy depends on the
    evaluation batch (facts of the Pooling benchmark's code: Roshtkhari et al., AutoML 2023).
    """
    return BatchNorm(channels, affine=not shared, track_running_stats=not shared)


class ConvBN(nn.Sequential):
    """Convolution (no bias, same padding), BatchNorm and an activation, if one is given.

    (B, C_in, H, W) -> (B, C_out, H / s, W / s), rounded up.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        shared: bool,
        stride: int = 1,
        groups: int = 1,
        activation: type[nn.Module] | None = None,
    ) -> None:
        padding = kernel // 2
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False),
            batch_norm(out_channels, shared),
            *([activation(inplace=True)] if activation else []),
        )


class BasicBlock(nn.Module):
    """ResNet's basic block (He et al., 2016) at stride 1; a 1x1 shortcut where the width changes."""

    def __init__(self, in_channels: int, out_channels: int, shared: bool) -> None:
        super().__init__()
        self.conv1 = ConvBN(in_channels, out_channels, 3, shared)
        self.conv2 = ConvBN(out_channels, out_channels, 3, shared)
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else ConvBN(in_channels, out_channels, 1, shared)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv2(F.relu(self.conv1(x), inplace=True))
        return F.relu(out + self.shortcut(x), inplace=True)


class OptionalPool(nn.Module):
    """A block that a 2x2 max-pool may precede: both choices share all of the block's weights."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor, op: int) -> Tensor:
        return self.block(F.max_pool2d(x, 2) if op == PoolingSpace.POOL else x)

    def alone(self, op: int) -> nn.Module:
        """Choice ``op`` as a module that takes no choice; it shares the weights."""
        return nn.Sequential(nn.MaxPool2d(2), self.block) if op == PoolingSpace.POOL else self.block


class InvertedResidual(nn.Module):
    """MobileNetV2's block (Sandler et al., 2018): expand, filter each channel, project.

    With squeeze-excitation (Hu et al., 2018), channels are weighed before the projection, by what a quarter
    as many know of all. (B, C_in, H, W) -> (B, C_out, H / s, W / s); a shortcut where the shape stays.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int,
        expansion: int,
        shared: bool,
        activation: type[nn.Module] = nn.ReLU,
        squeeze: bool = False,
    ) -> None:
        super().__init__()
        hidden = expansion * in_channels
        self.expand = nn.Identity()
        if expansion > 1:
            self.expand = ConvBN(in_channels, hidden, 1, shared, activation=activation)
        self.filter = ConvBN(hidden, hidden, kernel, shared, stride, groups=hidden, activation=activation)
        self.squeeze = nn.Identity()
        if squeeze:
            # not before it is needed: torchvision takes a second to import
            from torchvision.ops import SqueezeExcitation

            self.squeeze = SqueezeExcitation(
                hidden, max(hidden // 4, 1), scale_activation=partial(nn.Hardsigmoid, inplace=True)
            )
        self.project = ConvBN(hidden, out_channels, 1, shared)
        self.shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        out = self.project(self.squeeze(self.filter(self.expand(x))))
        return out + x if self.shortcut else out


class Choice(nn.Module):
    """One layer with a module for each of its operations, which share no weights."""

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        super().__init__()
        self.choices = nn.ModuleList(modules)

    def forward(self, x: Tensor, op: int) -> Tensor:
        return self.choices[op](x)

    def alone(self, op: int) -> nn.Module:
        """Choice ``op`` as a module that takes no choice."""
        return self.choices[op]


class Only(nn.Module):
    """What is left of a layer with one operation, whichever is asked for."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor, op: int) -> Tensor:
        return self.module(x)

    def alone(self, op: int) -> nn.Module:
        return self.module


class Classifier(nn.Module):
    """Global average pool and a linear layer; (B, C, H, W) -> logits (B, num_classes)."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(torch.mean(x, dim=(2, 3)))


class Supernet(nn.Module):
    """All architectures of a search space in one network; a forward pass runs one of them.

    Args:
        stem: the fixed first layers, (B, in_channels, H, W) -> features.
        layers: one module per searched layer: ``layer(x, op)`` runs operation ``op``, and
            ``layer.alone(op)`` is a module that runs it and nothing else, with the same weights.
        head: features -> logits (B, num_classes).
    """

    def __init__(self, stem: nn.Module, layers: Sequence[nn.Module], head: nn.Module) -> None:
        super().__init__()
        self.stem = stem
        self.layers = nn.ModuleList(layers)
        self.head = head

    def forward(self, x: Tensor, arch: Sequence[int]) -> Tensor:
        x = self.stem(x)
        for layer, op in zip(self.layers, arch, strict=True):
            x = layer(x, op)
        return self.head(x)

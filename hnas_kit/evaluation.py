"""Outputs and accuracies of many architectures on the same images, common prefixes computed once."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from hnas_kit.spaces import Arch
from hnas_kit.supernets import Supernet


def _logits(net: Supernet, archs: Sequence[Arch], x: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield (position in ``archs``, logits (B, C)), the network in evaluation mode meanwhile.

    Walks the trie of the architectures depth first, with a stack of activations: what two neighbours
    have in common is computed once. Memory: one activation per layer.
    """
    training, previous = net.training, ()
    net.eval()
    try:
        stack = [net.stem(x)]
        for i in sorted(range(len(archs)), key=lambda i: archs[i]):
            arch = archs[i]
            shared = next(
                (k for k, (a, b) in enumerate(zip(arch, previous, strict=False)) if a != b), len(previous)
            )
            del stack[shared + 1 :]
            for layer, op in zip(net.layers[shared:], arch[shared:], strict=True):
                stack.append(layer(stack[-1], op))
            yield i, net.head(stack[-1])
            previous = arch
    finally:
        net.train(training)


@torch.inference_mode()
def outputs(net: Supernet, archs: Sequence[Arch], x: Tensor) -> Tensor:
    """Class probabilities of every architecture for one batch of images (Algorithm 1, "output vector").

    Args:
        net: the supernet; BatchNorm uses this batch's statistics, so all are compared on the same batch.
        archs: N architectures, at least one.
        x: (B, in_channels, H, W), on the network's device.

    Returns:
        (N, B, num_classes) float32 on the CPU; rows sum to 1.
    """
    result = None
    for i, logits in _logits(net, archs, x):
        if result is None:
            result = torch.empty(len(archs), *logits.shape)
        result[i] = torch.softmax(logits.float(), dim=1)
    return result


@torch.inference_mode()
def accuracy(
    net: Supernet, archs: Sequence[Arch], x: Tensor, y: Tensor, batch_size: int = 1024
) -> np.ndarray:
    """Accuracy of every architecture on the same images.

    Args:
        net: the supernet.
        archs: N architectures.
        x: (M, in_channels, H, W) images; y: (M,) labels.
        batch_size: at most this many images at once; the M images are cut into equal parts, which are
            the same for every architecture (BatchNorm uses each part's own statistics).

    Returns:
        (N,) float64, fractions from 0 to 1.
    """
    correct = torch.zeros(len(archs), dtype=torch.int64, device=y.device)
    parts = -(-len(y) // batch_size)
    for part_x, part_y in zip(x.tensor_split(parts), y.tensor_split(parts), strict=True):
        for i, logits in _logits(net, archs, part_x):
            correct[i] += (logits.argmax(1) == part_y).sum()
    return correct.cpu().numpy() / len(y)

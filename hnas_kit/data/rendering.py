"""How images become the network's input: augmentation and normalisation as batched tensor operations."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

# (images uint8 (B, C, H, W), generator on their device, training?) -> network input float32 (B, C, H', W')
Render = Callable[[Tensor, torch.Generator, bool], Tensor]


def layout(device: torch.device) -> torch.memory_format:
    """Of networks and batches in memory: channels last, which CPUs and NVIDIA's GPUs are fastest with.

    Apple's are slow with it, and wrong without a word where a batch is cut into parts (issues 174345 and
    180984 of PyTorch).
    """
    return torch.contiguous_format if device.type == "mps" else torch.channels_last


def crop(
    images: Tensor, pad: int, top: Tensor, left: Tensor, size: int, flip: Tensor | None = None
) -> Tensor:
    """A window (B, C, size, size) of each image, mirrored where ``flip`` (B,), in memory by :func:`layout`.

    First ``pad`` zeros are added on every side; ``top`` and ``left`` (B,) are the window's corner after that.
    """
    windows = F.pad(images, (pad, pad, pad, pad)).unfold(2, size, 1).unfold(3, size, 1)
    cut = windows[torch.arange(len(images), device=images.device), :, top, left]
    if flip is not None:
        cut = torch.where(flip[:, None, None, None], cut.flip(3), cut)
    return cut.contiguous(memory_format=layout(images.device))


def _integers(high: int, n: int, generator: torch.Generator) -> Tensor:
    return torch.randint(high, (n,), generator=generator, device=generator.device)


def digits_render(images: Tensor, generator: torch.Generator, train: bool) -> Tensor:
    """Each 8x8 digit at a random place of a 16x16 canvas with Gaussian noise (sigma 0.25), always random."""
    n = len(images)
    canvas = crop(images, 8, _integers(9, n, generator), _integers(9, n, generator), 16) / 255
    return canvas.add_(torch.empty_like(canvas).normal_(0.0, 0.25, generator=generator))


def textures_render(images: Tensor, generator: torch.Generator, train: bool) -> Tensor:
    """Random mirroring (training only), each patch to mean 0 and deviation 1, fresh noise (sigma 0.1)."""
    if train:
        flip = _integers(2, len(images), generator).bool()
        images = torch.where(flip[:, None, None, None], images.flip(3), images)
    x = images / 255
    std, mean = torch.std_mean(x, dim=(1, 2, 3), keepdim=True)
    x = (x - mean) / std.clamp_min(1 / 255)  # a patch may be of one level only
    return x.add_(torch.empty_like(x).normal_(0.0, 0.1, generator=generator))


def photo_render(mean: Tensor, std: Tensor) -> Render:
    """Random crop after padding by an eighth, random mirroring (both for training only), normalisation."""
    # (image / 255 - mean) / std as one multiplication and one subtraction
    scale, shift = (1 / (255 * std)).view(1, -1, 1, 1), (mean / std).view(1, -1, 1, 1)

    def render(images: Tensor, generator: torch.Generator, train: bool) -> Tensor:
        if train:
            n, size = len(images), images.shape[-1]
            pad = size // 8
            top, left = (_integers(2 * pad + 1, n, generator) for _ in range(2))
            images = crop(images, pad, top, left, size, _integers(2, n, generator).bool())
        return (images * scale).sub_(shift).contiguous(memory_format=layout(images.device))

    return render


def shrunk(images: Tensor, size: int) -> Tensor:
    """Images uint8 (N, C, H, W) to ``size`` pixels (bilinear, antialiased), rounded to uint8."""
    made = torch.empty(*images.shape[:2], size, size, dtype=torch.uint8, device=images.device)
    for part, out in zip(images.split(4096), made.split(4096), strict=True):  # no float copy of them all
        out.copy_(F.interpolate(part.float(), size=(size, size), mode="bilinear", antialias=True).round_())
    return made


def resized(inner: Render, size: int) -> Render:
    """As ``inner``, then resized (bilinear) to ``size`` pixels."""

    def render(images: Tensor, generator: torch.Generator, train: bool) -> Tensor:
        x = F.interpolate(inner(images, generator, train), size=(size, size), mode="bilinear", antialias=True)
        return x.contiguous(memory_format=layout(images.device))

    return render

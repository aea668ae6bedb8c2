"""What several test files share: the Pooling space, devices, random images."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from hnas_kit.spaces import make_space

SPACE = make_space("pooling")
ARCHS = SPACE.enumerate()
NAMES = [SPACE.format(arch) for arch in ARCHS]
TRUTH = pd.Series(np.linspace(80, 90, 36), index=NAMES)  # made up

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.cuda,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
        ],
    ),
]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_images(*shape: int, low: int = 0) -> Tensor:
    return torch.randint(low, 256, shape, generator=generator(), dtype=torch.uint8)


def texts(things: Iterable) -> list[str]:
    """What the texts of a figure say."""
    return [thing.get_text() for thing in things]

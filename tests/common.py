"""What several test files share: the Pooling space, devices, random images, commands at tiny values."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
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

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
in_browser = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="there is no Chromium or no chromedriver here"),
]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_images(*shape: int, low: int = 0) -> Tensor:
    return torch.randint(low, 256, shape, generator=generator(), dtype=torch.uint8)


def texts(things: Iterable) -> list[str]:
    """What the texts of a figure say."""
    return [thing.get_text() for thing in things]


def options(**values):
    return [part for name, value in values.items() for part in ("-p", name, str(value))]


SMALL = options(dataset="digits", epochs=2, batch_size=128, width=2, images=32, run="tiny", device="cpu")
FOUR = [*SMALL, *options(simulated=2)]  # notebooks 01 to 04
SIX = options(pretrain_epochs=0, pool=4, methods="[learned, uniform]", scored=0, tested=0)
SIX += ["-p", "06_imagenet.image_size", "16"]
TINY = [*FOUR, *options(seeds=1, simulated_seeds=2), *SIX]


def clean_environment() -> dict[str, str]:
    """The environment without what is set for this kit."""
    return {name: value for name, value in os.environ.items() if not name.startswith("HNAS_")}


def call(command, folder, **environment):
    """Run a command from a folder; its outputs go to ``outputs`` in there."""
    environment = {"HNAS_OUTPUTS": "outputs", "HNAS_QUIET": "1", "OMP_NUM_THREADS": "1"} | environment
    command = [sys.executable, "-m", *map(str, command)]
    return subprocess.run(
        command, cwd=folder, env=clean_environment() | environment, capture_output=True, text=True
    )

"""What several test files share: small networks with seeded weights, and folders that are empty."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hnas_kit.spaces import make_space
from hnas_kit.supernets import Supernet, make_supernet

torch.set_num_threads(1)  # networks this small gain nothing from more, and lose on a busy machine


@pytest.fixture
def new_net() -> Callable[..., Supernet]:
    """Makes a Pooling supernet for gray images, two channels wide, its weights drawn from ``seed``."""

    def new(seed: int = 0, width: int = 2, **options: object) -> Supernet:
        generator = torch.Generator().manual_seed(seed)
        return make_supernet(make_space("pooling"), 1, width=width, generator=generator, **options)

    return new


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty outputs folder, on a machine without CUDA."""
    for name in ("HNAS_REFERENCE", "HNAS_DEVICE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HNAS_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return tmp_path / "outputs"


@pytest.fixture
def empty_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data and cache folders are new and empty, inside the folder returned."""
    monkeypatch.setenv("HNAS_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path

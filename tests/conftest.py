"""Fixtures that several test files share, and the order of the files."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import torch
from common import ARCHS, SPACE, TINY, call, generator
from filelock import FileLock
from PIL import Image

from hnas_kit import data, plugins, training
from hnas_kit.data.textures import patches
from hnas_kit.randomness import Generators
from hnas_kit.supernets import Supernet, make_supernet
from hnas_kit.training import Checkpoints

torch.set_num_threads(1)  # networks this small gain nothing from more, and lose on a busy machine

# Files that take minutes go first, so that at the end no process waits long for the other. Before them stands
# the one that forks: autograd's threads do not outlive a fork, so its process must not have trained yet.
FIRST = [
    *("test_faults", "05_ablations", "06_imagenet", "04_mcts", "test_cli", "test_runs_sweeps"),
    *("test_failures", "test_runs_brought", "test_processes_distributed", "test_studies_imagenet"),
    *("test_jupyterlab", "test_samplers_budget", "test_extend", "01_pretrain", "02_distances", "03_tree"),
    "test_wheel",
]

PETS = {"train": {"cat": 9, "dog": 6, "eel": 6}, "val": {"cat": 2, "dog": 2, "eel": 1}}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(FIRST)))


def _picture(seed: int, height: int, width: int) -> np.ndarray:
    """A smooth picture: JPEG keeps it, and every window of it is another one."""
    coarse = np.random.default_rng(seed).integers(256, size=(4, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """What a test trains with more threads leaves no mark: sums of another order are other numbers."""
    yield
    torch.set_num_threads(1)


@pytest.fixture
def forget() -> Iterator[None]:
    """What a test registers is gone after it."""
    yield
    for path in list(plugins._digests):
        plugins._forget(path)


@pytest.fixture(scope="session")
def digits() -> data.Dataset:
    return data.load("digits")


@pytest.fixture(scope="session")
def pets(tmp_path_factory) -> Path:
    """A folder of three classes: JPEG and PNG files of many sizes, some gray or transparent, and others."""
    root, seed = tmp_path_factory.mktemp("data") / "pets", 0
    for part, classes in PETS.items():
        for name, count in classes.items():
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                image = Image.fromarray(_picture(seed, 20 + seed, 40 - seed))
                image = image.convert({3: "L", 5: "RGBA"}.get(seed, "RGB"))
                image.save(root / part / name / f"{i}.{'png' if seed % 2 else 'JPEG'}")
                seed += 1
    (root / "train" / "cat" / "list.txt").write_text("no image")
    (root / "README.txt").write_text("no class")
    return root


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory) -> tuple[Path, CompletedProcess]:
    """A folder outside the project with a run of the quick profile at tiny values, and what it printed.

    Made once for all processes of these tests. Nothing may be written there.
    """
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    folder, said = root / "elsewhere", root / "elsewhere.json"
    with FileLock(root / "elsewhere.lock"):
        if not said.exists():
            folder.mkdir()
            said.write_text(json.dumps(vars(call(["hnas_kit.cli", "run", "quick", *TINY], folder))))
    return folder, CompletedProcess(**json.loads(said.read_text()))


@pytest.fixture(scope="session")
def by_class(tmp_path_factory) -> Path:
    """Textures as PNG files: 12 classes of 16x16 pixels, 250 images of each to train and to test."""
    root, made = tmp_path_factory.mktemp("data") / "by_class", patches(250)
    for part, name, count in (("train", "train", 125), ("train", "validation", 125), ("val", "test", 250)):
        for label in range(12):
            (root / part / f"{label:02}").mkdir(parents=True, exist_ok=True)
            x, y = made[name]
            for i, (image,) in enumerate(x[y == label][:count]):
                Image.fromarray(image).save(root / part / f"{label:02}" / f"{name}{i:03}.png")
    return root


@pytest.fixture(scope="session")
def shared_weights(by_class) -> Supernet:
    """A Pooling supernet after 500 steps on them, one architecture each: it ranks architectures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(by_class.parent / "cache"))
        dataset = data.load(f"folder:{by_class}")
    rng = np.random.default_rng(0)
    net = make_supernet(SPACE, dataset.in_channels, 12, width=8, generator=generator())
    batches = dataset.batches(dataset.train, 64, Generators(0))
    training.train(net, batches, lambda step: ARCHS[rng.integers(36)], 500, lr=0.05, weight_decay=1e-3)
    return net


@pytest.fixture
def new_net() -> Callable[..., Supernet]:
    """Makes a Pooling supernet for gray images, two channels wide, its weights drawn from ``seed``."""

    def new(seed: int = 0, width: int = 2, **options: object) -> Supernet:
        return make_supernet(SPACE, 1, width=width, generator=generator(seed), **options)

    return new


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty outputs folder, on a machine without a GPU."""
    for name in ("HNAS_REFERENCE", "HNAS_DEVICE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HNAS_OUTPUTS", str(tmp_path / "outputs"))
    for backend in (torch.cuda, torch.backends.mps):
        # cached, as PyTorch's own: what it imports later looks inside
        monkeypatch.setattr(backend, "is_available", cache(lambda: False))
    return tmp_path / "outputs"


@pytest.fixture
def drawn() -> Iterator[None]:
    """The notebooks' style; every figure is drawn, so that what only fails then does, and closed."""
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    from hnas_kit import figures

    mpl.use("Agg")
    with mpl.rc_context():
        figures.use_style()
        yield
        for number in plt.get_fignums():
            plt.figure(number).canvas.draw()
    plt.close("all")


@pytest.fixture
def empty_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data and cache folders are new and empty, inside the folder returned."""
    monkeypatch.setenv("HNAS_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


class Recorder(Checkpoints):
    """Keeps the state after every step but the last in memory."""

    def __init__(self) -> None:
        super().__init__(Path(), every=1)
        self.states = []

    def restore(self, parts) -> int:
        return 0

    def save(self, step, parts) -> None:
        self.states.append({name: copy.deepcopy(part.state_dict()) for name, part in parts.items()})


@pytest.fixture
def recorder() -> Recorder:
    """Checkpoints of which every one is kept, in ``states``."""
    return Recorder()

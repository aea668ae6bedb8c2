"""Data sets by name: embedded ones, CIFAR-10, and one's own folders of images."""

import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from os.path import expanduser  # that of Path raises where there is no such user
from pathlib import Path
from typing import Any

import numpy as np
import torch
from platformdirs import user_cache_path
from torch import Tensor

from hnas_kit.data import sources
from hnas_kit.data.dataset import Dataset, Split
from hnas_kit.data.images import fingerprint, load_images
from hnas_kit.data.rendering import digits_render, photo_render, resized, shrunk, textures_render
from hnas_kit.data.sources import Part
from hnas_kit.data.streaming import SIZE, StreamedDataset
from hnas_kit.errors import HnasError, foreign, require_one_of
from hnas_kit.names import DATASETS, LAYOUTS

SHUFFLED = ("digits", "textures", "cifar10")  # they come in random order, and keep it
JPEGS = ("cifar10_jpeg", "cifar10_jpeg.tar.xz")
# the fingerprint of cifar10_jpeg
PUBLISHED = "60000 images, sha256 bad7b27d2c9885695a27874c33988db0b4e4b6bc0814b04c1707f67ef0d974b8"


def digits(device: torch.device, _: int) -> Dataset:
    """The 1,797 digits that scikit-learn ships: 900 to train, the rest, drawn three times each, to test."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.from_numpy(np.round(bunch.images * (255 / 16)).astype(np.uint8))[:, None].to(device)
    labels = torch.from_numpy(bunch.target).long().to(device)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))  # writers come in blocks
    whole = Split(images, labels)
    train, test = whole.take(order[:900]), whole.take(order[900:])
    return Dataset("digits", tuple("0123456789"), train, test, digits_render, image_size=16, views=3)


def textures(device: torch.device, _: int) -> Dataset:
    """Four textures at three zooms, 8,004 patches each to train, validate and test, from separate parts."""
    from hnas_kit.data.textures import CLASSES, SIZE, patches

    made = patches(667)
    both = map(np.concatenate, zip(made["train"], made["validation"], strict=True))
    train, test = (Split(*(torch.from_numpy(a).to(device) for a in part)) for part in (both, made["test"]))
    half = len(train) // 2
    return Dataset("textures", CLASSES, train, test, textures_render, image_size=SIZE, first_half=half)


def from_arrays(
    name: str,
    arrays: dict[str, Tensor],
    classes: Sequence[str],
    device: str | torch.device = "cpu",
    image_size: int = 0,
) -> Dataset:
    """A data set of images in memory: random crops, mirrored, for training; normalised by their own moments.

    Args:
        name: that it goes by.
        arrays: ``train_x`` and ``test_x``, uint8 (N, C, H, H); ``train_y`` and ``test_y``, int64 (N,), labels
            from 0.
        classes: their names, by label.
        device: where batches are used.
        image_size: to a smaller one they are resized here, once: then a batch is augmented at that size.
    """
    classes, device = tuple(classes), torch.device(device)
    if 0 < image_size < arrays["train_x"].shape[-1]:
        arrays = arrays | {key: shrunk(arrays[key], image_size) for key in ("train_x", "test_x")}
    train = Split(arrays["train_x"].to(device), arrays["train_y"].to(device))
    test = Split(arrays["test_x"].to(device), arrays["test_y"].to(device))
    pixels = train.images.transpose(0, 1).flatten(1)
    # moments from a histogram: exact, and no float copy of the whole data set
    counts = torch.stack([torch.bincount(c.int(), minlength=256) for c in pixels])
    counts = counts.cpu().double()  # which Apple's GPUs do not have
    level = torch.arange(256, dtype=torch.float64) / 255
    mean = (counts * level).sum(1) / counts.sum(1)
    std = ((counts * level**2).sum(1) / counts.sum(1) - mean**2).clamp_min(1e-12).sqrt()
    render = photo_render(mean.float().to(device), std.float().to(device))
    return Dataset(name, classes, train, test, render, image_size=train.images.shape[-1])


def data_folders() -> list[Path]:
    """Where data files are looked for, in order: ``HNAS_DATA_DIR``, then the user's cache folder."""
    given = os.environ.get("HNAS_DATA_DIR")
    return ([Path(given)] if given else []) + [user_cache_path("hnas_kit")]


def find(*names: str) -> Path | None:
    """The first of these files or folders that a data folder has, None if there is none."""
    candidates = (folder / name for folder in data_folders() for name in names)
    return next((path for path in candidates if path.exists()), None)


def cifar10(device: torch.device, image_size: int) -> Dataset:
    """CIFAR-10, downloaded and checksummed by torchvision unless a data folder has it already."""
    from torchvision.datasets import CIFAR10

    found = find("cifar-10-batches-py")
    root = found.parent if found else data_folders()[-1]
    try:
        parts = {name: CIFAR10(root, train=name == "train", download=not found) for name in ("train", "test")}
    except Exception as error:
        folders, reason = " or ".join(map(str, data_folders())), " ".join(str(error).split())
        raise HnasError(
            f"data set cifar10 is not in {folders} and cannot be downloaded ({reason}); "
            "put the folder cifar-10-batches-py there, or set HNAS_DATA_DIR to the folder that holds it"
        ) from error
    arrays = {}
    for name, part in parts.items():
        arrays[f"{name}_x"] = torch.from_numpy(part.data).permute(0, 3, 1, 2)
        arrays[f"{name}_y"] = torch.tensor(part.targets)
    return from_arrays("cifar10", arrays, tuple(parts["train"].classes), device, image_size)


def cifar10_jpeg(device: torch.device, image_size: int) -> Dataset:
    """CIFAR-10 as JPEG files, which a data folder must have."""
    source = find(*JPEGS)
    if source is None:
        folders = " or ".join(map(str, data_folders()))
        raise HnasError(
            f"data set cifar10_jpeg is not in {folders}; put the folder cifar10_jpeg (train/<class>/*.jpg, "
            "test/<class>/*.jpg) or cifar10_jpeg.tar.xz there, or set HNAS_DATA_DIR to where it is"
        )
    if (found := fingerprint(source)) != PUBLISHED:
        raise HnasError(
            f"{source} is not data set cifar10_jpeg: it has {found}, and there should be {PUBLISHED}"
        )
    return from_arrays("cifar10_jpeg", *load_images(source, image_size), device, image_size)


def fixed_order(images: int) -> Tensor:
    """The order in which so many images are used, int64 (images,): random, and always the same.

    Shared weights are judged with BatchNorm statistics of the images at hand. A folder lists its images
    class by class: a part of them, or the first so many, would be of one class, with statistics of its own.
    """
    return torch.from_numpy(np.random.default_rng(0).permutation(images))


def _own_folder(name: str) -> tuple[str, Path] | None:
    """Layout and folder of a data set called ``LAYOUT:PATH``, None for a named one."""
    layout, _, path = name.partition(":")
    if not path or layout not in LAYOUTS:
        return None
    folder = Path(expanduser(path))
    if not folder.exists():
        raise HnasError(f"data set {name!r}: there is no {folder}")
    return layout, folder


def version(name: str) -> str:
    """Number and checksum of the images of a data set in files, see :func:`fingerprint`.

    Empty for what is part of a package, for CIFAR-10, whose files torchvision compares with their checksums,
    and for what is not there.
    """
    own = _own_folder(name)
    source = own[1] if own else find(*JPEGS) if name == "cifar10_jpeg" else None
    return fingerprint(source) if source else ""


def register(name: str, loader: Callable[[torch.device], Dataset]) -> None:
    """Make a data set of one's own known by a name.

    Args:
        name: a new one.
        loader: device -> :class:`Dataset`, for instance of :func:`from_arrays`. Its images are put into one
            random order, always the same, unless it says its ``first_half``.

    Raises:
        HnasError: one line, if it cannot be called so, or its name is taken.
    """
    DATASETS.register(name, loader)


def check_loader(name: str, loader: Any) -> None:
    """What is asked of a loader before it is called; raises :class:`HnasError` with one line."""
    try:
        inspect.signature(loader).bind(torch.device("cpu"))
    except (TypeError, ValueError) as error:
        raise HnasError(f"data set {name}: its loader must be called as loader(device): {error}") from None


def _brought(name: str, device: torch.device) -> Dataset:
    """What a loader of one's own gives; raises :class:`HnasError` if it is no sound data set."""
    with foreign(f"data set {name}: its loader raised "):
        dataset = DATASETS[name](device)
    if not isinstance(dataset, Dataset):
        raise HnasError(f"data set {name}: its loader gives a {type(dataset).__name__}, not a data.Dataset")
    if mistake := dataset.mistake():
        raise HnasError(f"data set {name}: {mistake}")
    return replace(dataset, name=name)


def _check_classes(name: str, dataset: Dataset) -> None:
    """Raise :class:`HnasError` unless there are two classes, and each has images to train and to test."""
    if dataset.num_classes < 2:
        raise HnasError(f"data set {name}: it has one class, {dataset.classes[0]!r}; two are needed")
    for part in ("train", "test"):
        there = set(getattr(dataset, part).labels.unique().tolist())
        if absent := [cls for label, cls in enumerate(dataset.classes) if label not in there]:
            raise HnasError(f"data set {name}: class {absent[0]!r} has no image to {part} on")


def load(name: str, device: str | torch.device = "cpu", image_size: int = 0, workers: int = 0) -> Dataset:
    """A data set on the device: a name of ``DATASETS``, or one's own images as ``LAYOUT:PATH``.

    Training and test images are in random order, the same at every call (:func:`fixed_order`).

    Args:
        name: ``folder:PATH`` for images that fit in memory; ``imagefolder:PATH`` and ``ffcv:PATH`` for more,
            see :mod:`hnas_kit.data.streaming`.
        device: where batches are used.
        image_size: height and width of the network's input, pixels; 0: as the images are, and 224 where they
            do not fit in memory.
        workers: processes that read images that do not fit in memory; 0: this one.

    Raises:
        HnasError: unknown name, data absent and not downloadable, or images that cannot be used.
    """
    if image_size < 0:
        raise HnasError(f"image_size is {image_size}; it must be at least 0")
    device, own = torch.device(device), _own_folder(name)
    if own and own[0] != "folder":
        if workers < 0:
            raise HnasError(f"workers is {workers}; it must be at least 0")
        classes, *both = sources.LAYOUTS[own[0]](own[1])
        parts = [Part(one, torch.arange(len(one.labels)), one.labels) for one in both]
        more = image_size or SIZE, device, workers, both[0].channels
        dataset = StreamedDataset(own[1].name, classes, *parts, *more)
    elif own:
        dataset = from_arrays(own[1].name, *load_images(own[1], image_size), device, image_size)
    elif name in DATASETS.brought:
        dataset = _brought(name, device)
    else:
        require_one_of("data set", name, (*DATASETS, *(f"{layout}:PATH" for layout in LAYOUTS)))
        dataset = DATASETS[name](device, image_size)
    if own or name in DATASETS.brought:
        _check_classes(name, dataset)
    if name not in SHUFFLED and getattr(dataset, "first_half", None) is None:
        parts = {part: getattr(dataset, part) for part in ("train", "test")}
        dataset = replace(dataset, **{part: s.take(fixed_order(len(s))) for part, s in parts.items()})
    if image_size in (0, dataset.image_size):
        return dataset
    return replace(dataset, render=resized(dataset.render, image_size), image_size=image_size)

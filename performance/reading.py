"""How many images a second one core reads, for training on images that are too many for memory.

The same JPEG pictures (parts of photographs that ship with scikit-image, 500x375 pixels), the same transforms
(random crop to 224 pixels, mirroring, normalisation) and batches of 64, four ways:

- ``ffcv``: FFCV's own loader (its crops are resized by area, torchvision's bilinearly);
- ``kit ffcv:`` and ``kit imagefolder:``: the kit's streamed reader on FFCV's file and on the folder; every
  image has randomness of its own, which FFCV's and torchvision's ways have not;
- ``torchvision``: ``ImageFolder`` in a ``DataLoader``.

The process is bound to one core, each way reads inside it, and what counts is the time that it computes, so
that others on the machine hardly matter. The ways take turns, after a first pass that is not timed and fills
the system's cache of files; FFCV's ways are left out where FFCV is not installed. Prints one JSON object.

    python performance/reading.py [--quick] [--repeats N]
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage import data as photographs
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from hnas_kit import data
from hnas_kit.data.sources import write_betons
from hnas_kit.data.streaming import MEAN, STD
from hnas_kit.provenance import provenance
from hnas_kit.randomness import Generators

SIZE = 224  # of the network's input, pixels
Reader = Callable[[], Iterator]  # batches without end


def draw_pictures(folder: Path, count: int) -> None:
    """``count`` JPEG files of two classes to train, and one of each to test."""
    rng = np.random.default_rng(0)
    photos = [photographs.astronaut(), photographs.coffee(), photographs.cat()]
    for part, number in (("train", count), ("val", 2)):
        for i in range(number):
            photo = photos[i % len(photos)]
            top, left = (int(rng.integers(0, side - 200)) for side in photo.shape[:2])
            picture = Image.fromarray(photo[top : top + 200, left : left + 267]).resize((500, 375))
            path = folder / part / "ab"[i % 2] / f"{i}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path, quality=90)


def kit(name: str, batch_size: int) -> Reader:
    dataset = data.load(name, image_size=SIZE)
    batches = dataset.batches(dataset.train, batch_size, Generators(0))
    return lambda: iter(lambda: next(batches), None)


def torchvision(folder: Path, batch_size: int) -> Reader:
    steps = [v2.PILToTensor(), v2.RandomResizedCrop(SIZE), v2.RandomHorizontalFlip()]
    steps += [v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    loader = DataLoader(
        ImageFolder(folder / "train", v2.Compose(steps)), batch_size, shuffle=True, drop_last=True
    )
    return lambda: itertools.chain.from_iterable(iter(lambda: iter(loader), None))


def ffcv(folder: Path, batch_size: int) -> Reader:
    from ffcv.fields.basics import IntDecoder
    from ffcv.fields.rgb_image import RandomResizedCropRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import NormalizeImage, RandomHorizontalFlip, Squeeze, ToTensor, ToTorchImage

    mean, std = (255 * np.array(values) for values in (MEAN, STD))
    # without a GPU normalisation stands before ToTensor, or compiling these steps never ends
    image = [
        RandomResizedCropRGBImageDecoder((SIZE, SIZE)),
        RandomHorizontalFlip(),
        NormalizeImage(mean, std, np.float32),
        ToTensor(),
        ToTorchImage(),
    ]
    loader = Loader(
        str(folder / "train.beton"),
        batch_size,
        num_workers=1,
        order=OrderOption.RANDOM,
        pipelines={"image": image, "label": [IntDecoder(), ToTensor(), Squeeze()]},
    )
    return lambda: itertools.chain.from_iterable(iter(lambda: iter(loader), None))


def per_second(reader: Reader, steps: int, batch_size: int) -> float:
    batches, start = reader(), time.process_time()
    for x, _ in itertools.islice(batches, steps):
        assert x.shape == (batch_size, 3, SIZE, SIZE)
        assert x.dtype == torch.float32
    return steps * batch_size / (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few pictures, to see it work")
    parser.add_argument("--repeats", type=int, help="turns of each way (default: 5)")
    options = parser.parse_args()
    parameters = {
        "quick": options.quick,
        "images": 16 if options.quick else 512,
        "batch_size": 4 if options.quick else 64,
        "repeats": options.repeats or (2 if options.quick else 5),
    }
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    size, steps = parameters["batch_size"], parameters["images"] // parameters["batch_size"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_pictures(folder, parameters["images"])
        readers = {
            "kit imagefolder:": kit(f"imagefolder:{folder}", size),
            "torchvision": torchvision(folder, size),
        }
        if importlib.util.find_spec("ffcv"):
            write_betons(folder, folder, workers=1)
            readers |= {"kit ffcv:": kit(f"ffcv:{folder}", size), "ffcv": ffcv(folder, size)}
        for reader in readers.values():
            per_second(reader, steps, size)
        speeds: dict[str, list[float]] = {way: [] for way in readers}
        for _ in range(parameters["repeats"]):
            for way, reader in readers.items():
                speeds[way].append(per_second(reader, steps, size))
    packages = ["torch", "torchvision", "pillow", *(["ffcv"] if "ffcv" in readers else [])]
    result = {
        "benchmark": "reading",
        "parameters": parameters,
        "threads": torch.get_num_threads(),
        "images_per_second_of_a_core": {way: round(statistics.median(v), 1) for way, v in speeds.items()},
        "images_per_second_of_each_turn": {way: [round(x, 1) for x in v] for way, v in speeds.items()},
        "packages": {package: version(package) for package in packages},
        "provenance": provenance(),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()

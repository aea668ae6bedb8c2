"""Where pictures come from that are too many for memory: folders of classes, or FFCV's files."""

import importlib
import io
import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hnas_kit.data.images import TOO_DEEP, eight_bit, files_of, gray
from hnas_kit.errors import HnasError
from hnas_kit.files import first_line

JPEG = 0  # FFCV's code of a picture kept as JPEG; any other is kept as pixels
QUALITY = 90  # of JPEG that is written (FFCV's default, and that of its ImageNet files)
PAGE = 2**23  # bytes that FFCV writes at a time (its default); a picture must fit in one


class ClassFolders:
    """The pictures that :func:`image_files` found in a folder; ``classes`` are their names, by label."""

    channels = 3

    def __init__(self, folder: Path, found: dict[str, list[Path]], classes: Sequence[str]) -> None:
        files = [(path, label) for label, name in enumerate(classes) for path in found.get(name, ())]
        # one block of bytes: a list of names would be copied into every process that reads images
        self.names = np.array([os.fsencode(os.path.relpath(path, folder)) for path, _ in files])
        self.labels = torch.tensor([label for _, label in files])
        self.folder = folder

    def name(self, i: int) -> str:
        return str(self.folder / os.fsdecode(bytes(self.names[i])))

    def read(self, i: int) -> Image.Image:
        with Image.open(self.name(i)) as image:
            return eight_bit(image).convert("L" if self.channels == 1 else "RGB")

    def gray(self) -> bool:
        """Whether all pictures are; the first coloured one ends the search."""
        for i in range(len(self.labels)):
            try:
                with Image.open(self.name(i)) as image:
                    if not gray(image):
                        return False
            except Exception:  # a broken file may raise anything; it is named when it is read
                return False
        return True


def image_files(folder: Path) -> dict[str, list[Path]]:
    """Files whose ending Pillow knows, in order, by the folder of their class, in order; none lies deeper."""
    Image.init()
    endings = tuple(ending for ending, kind in Image.EXTENSION.items() if kind in Image.OPEN)
    found: dict[str, list[Path]] = {}
    for path in files_of(folder) if folder.is_dir() else ():
        name, *below = path.relative_to(folder).parts
        if len(below) > 1:
            raise HnasError(f"{path} {TOO_DEEP}")
        if below and path.name.lower().endswith(endings):
            found.setdefault(name, []).append(path)
    if not found:
        must = "must hold images as train/<class>/* and val/<class>/*"
        raise HnasError(f"{folder.parent} {must}; there is no image of a class in {folder}")
    return found


def ffcv(name: str) -> ModuleType:
    """A module of FFCV; raises :class:`HnasError` where it is not installed."""
    try:
        return importlib.import_module(f"ffcv.{name}")
    except (ImportError, OSError) as error:
        raise HnasError(
            f"the package ffcv is needed and cannot be imported ({error}); it is the extra ffcv, built with "
            "OpenCV, libturbojpeg, pkg-config and a C++ compiler: pip install --no-build-isolation ffcv"
        ) from error


class Beton:
    """The pictures of a ``.beton`` file with FFCV's usual fields ``image`` and ``label``.

    FFCV reads the file's tables. Its own loader is not used: there an image's augmentation depends on the
    threads, and a stream cannot be taken up in the middle of an epoch.
    """

    channels = 3

    def __init__(self, path: Path) -> None:
        read = ffcv("reader").Reader
        try:
            reader = read(str(path))
            image, label = (f"f{reader.field_names.index(name)}" for name in ("image", "label"))
            pictures, labels = reader.metadata[image], reader.metadata[label].astype(np.int64)
            pages = np.sort(reader.alloc_table, order="ptr")
            sizes = pages["size"][np.searchsorted(pages["ptr"], pictures["data_ptr"])]
        except Exception as error:  # FFCV reads whatever bytes there are
            reason = first_line(error)
            raise HnasError(f"{path} is no FFCV file with fields image and label ({reason})") from error
        self.path, self.labels = path, torch.from_numpy(labels)
        self._pictures, self._sizes = pictures.copy(), sizes.copy()

    def name(self, i: int) -> str:
        return f"{self.path}, image {i}"

    def read(self, i: int) -> Image.Image:
        mode, width, height, start = self._pictures[i].tolist()
        with open(self.path, "rb") as file:
            file.seek(start)
            data = file.read(int(self._sizes[i]))
        if mode == JPEG:
            return Image.open(io.BytesIO(data)).convert("RGB")
        return Image.frombytes("RGB", (width, height), data)


# where pictures come from: ``labels`` (int64), ``channels`` (1 where all are gray, else 3), ``name(i)`` and
# ``read(i)``, a picture in mode L or RGB; whatever that raises is shown as the reason why it cannot be read
Source = ClassFolders | Beton


@dataclass(frozen=True)
class Part:
    """Some of a source's pictures: their positions in it and their labels, int64 (N,), on the CPU."""

    source: Source
    index: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.index)

    def take(self, index: Tensor) -> "Part":
        return Part(self.source, self.index[index], self.labels[index])


def _test_images(folder: Path, ending: str = "") -> Path:
    """``val`` or ``test`` of a folder, whichever there is."""
    found = [path for name in ("val", "test") if (path := folder / f"{name}{ending}").exists()]
    if len(found) != 1:
        has = f"both val{ending} and" if found else f"neither val{ending} nor"
        raise HnasError(f"{folder} has {has} test{ending}; one of them gives the test images")
    return found[0]


def _folders(folder: Path) -> tuple[tuple[str, ...], Source, Source]:
    """``train/<class>/*``, and ``val/<class>/*`` or ``test/<class>/*``."""
    train = image_files(folder / "train")
    test = image_files(place := _test_images(folder))
    if strangers := test.keys() - train.keys():
        raise HnasError(f"{place}: class {min(strangers)} is not one of train/")
    classes = tuple(train)
    parts = ClassFolders(folder / "train", train, classes), ClassFolders(place, test, classes)
    if all(part.gray() for part in parts):
        for part in parts:
            part.channels = 1
    return classes, *parts


def _betons(folder: Path) -> tuple[tuple[str, ...], Source, Source]:
    """``train.beton``, and ``val.beton`` or ``test.beton``; classes have numbers only."""
    train, test = Beton(folder / "train.beton"), Beton(_test_images(folder, ".beton"))
    classes = int(train.labels.max()) + 1
    if int(test.labels.max()) >= classes:
        raise HnasError(f"{test.path}: class {int(test.labels.max())} is not one of train.beton")
    return tuple(map(str, range(classes))), train, test


LAYOUTS = {"imagefolder": _folders, "ffcv": _betons}


def _unusable(source: Source, i: int, error: Exception) -> HnasError:
    return HnasError(f"{source.name(i)} is not an image that can be kept ({first_line(error)})")


def _write(source: Source, path: Path, workers: int) -> None:
    """Write a file with FFCV's own parts, in this process: FFCV's processes wait for ever if one has died."""
    fields, writer = ffcv("fields"), ffcv("writer")
    image = fields.RGBImageField(write_mode="jpg", jpeg_quality=QUALITY)
    made = writer.DatasetWriter(str(path), {"image": image, "label": fields.IntField()}, page_size=PAGE)
    made.num_samples = len(source.labels)

    def read(i: int) -> np.ndarray:
        try:
            return np.asarray(source.read(i).convert("RGB"))
        except Exception as error:  # a broken file may raise anything
            raise _unusable(source, i, error) from error

    made.prepare()
    made.metadata_sm.close()  # meant for its processes
    made.metadata_sm.unlink()
    metadata = np.zeros(made.num_samples, made.metadata_type)
    allocator = writer.MemoryAllocator(str(path), made.data_region_start, PAGE)
    # FFCV's own "with" leaves the file open if its last page cannot be written
    with path.open("ab", buffering=0) as allocator.fp, ThreadPoolExecutor(workers) as readers:
        for some in np.array_split(range(made.num_samples), -(-made.num_samples // (16 * workers))):
            for i, pixels in zip(some.tolist(), readers.map(read, some.tolist()), strict=True):
                sample = pixels, int(source.labels[i])
                try:
                    writer.handle_sample(sample, i, metadata.dtype.names, metadata, allocator, made.fields)
                except ValueError as error:
                    raise _unusable(source, i, error) from error
        allocator.flush_page()
    made.metadata_sm = SimpleNamespace(buf=metadata.view(np.uint8))
    made.finalize(allocator.allocations)


def write_betons(folder: Path, target: Path, workers: int) -> list[Path]:
    """Write ``train.beton`` and ``val.beton``, both or neither, of the images of ``imagefolder:FOLDER``.

    They are for ``ffcv:TARGET``, pictures as JPEG; ``workers`` threads read images. Raises
    :class:`HnasError` if FFCV or images are missing, one cannot be read, or there is no space.
    """
    ffcv("writer")
    _, *sources = _folders(folder)
    paths = [target / f"{part}.beton" for part in ("train", "val")]
    try:
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".ffcv-", dir=target) as made:
            for source, path in zip(sources, paths, strict=True):
                _write(source, Path(made) / path.name, workers)
            for path in paths:
                os.replace(Path(made) / path.name, path)
    except OSError as error:
        raise HnasError(f"cannot write to {target}: {error.strerror}; choose another folder") from error
    return paths

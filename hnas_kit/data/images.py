"""Folders and archives of images, decoded once to tensors."""

import contextlib
import hashlib
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from hnas_kit.errors import Failure, HnasError
from hnas_kit.files import sha256, torch_bytes, torch_value, write_atomic

# what a damaged archive or image raises
_UNREADABLE = (OSError, EOFError, tarfile.TarError, lzma.LZMAError, zlib.error, Image.DecompressionBombError)


def members(source: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """(relative name, reader) of every file of a folder, or of a tar archive."""
    if source.is_dir():
        for path in sorted(p for p in source.rglob("*") if p.is_file()):
            yield path.relative_to(source).as_posix(), path.read_bytes
        return
    try:
        with tarfile.open(source) as archive:
            for member in archive:
                if member.isfile():
                    yield member.name, lambda m=member: archive.extractfile(m).read()
            # tarfile takes the end of a file, or what it cannot read, for the end of the archive
            archive.fileobj.seek(archive.offset)
            if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError("it was cut short: its end is not marked")
    except _UNREADABLE as error:
        reason = str(error).partition("\n")[0].rstrip(":")  # tarfile lists every format it tried
        raise HnasError(f"{source} is no folder and no tar archive that can be read ({reason})") from error


def decode_images(source: Path) -> tuple[dict, tuple[str, ...]]:
    """Decode ``train/<class>/*`` and ``test/<class>/*`` (or ``val/``) of a folder or tar archive.

    Returns:
        Arrays as for a data set (RGB uint8 (N, 3, H, W), in the order of names), and the class names.

    Raises:
        HnasError: if there are no such images, one cannot be read, or their sizes differ.
    """
    found: dict[str, list[tuple[str, str, np.ndarray]]] = {"train": [], "test": []}
    size = None
    for name, read in members(source):
        parts = name.split("/")
        if len(parts) < 3 or parts[-3] not in ("train", "test", "val") or parts[-1].startswith("."):
            continue
        try:
            pixels = np.asarray(Image.open(io.BytesIO(read())).convert("RGB"))
        except _UNREADABLE as error:
            raise HnasError(f"{source}: {name} is not an image that can be read ({error})") from error
        size = size or pixels.shape
        if pixels.shape != size or size[0] != size[1]:
            raise HnasError(
                f"{source}: {name} is {pixels.shape[1]}x{pixels.shape[0]}; images must be square and alike"
            )
        found["train" if parts[-3] == "train" else "test"].append((parts[-2], name, pixels))
    classes = tuple(sorted({cls for cls, _, _ in found["train"]}))
    if not found["train"] or not found["test"] or {cls for cls, _, _ in found["test"]} - set(classes):
        raise HnasError(
            f"{source} must hold images as train/<class>/* and test/<class>/*, the same classes in both"
        )
    arrays = {}
    for part, rows in found.items():
        rows.sort(key=lambda row: row[:2])
        arrays[f"{part}_x"] = (
            torch.from_numpy(np.stack([px for _, _, px in rows])).permute(0, 3, 1, 2).contiguous()
        )
        arrays[f"{part}_y"] = torch.tensor([classes.index(cls) for cls, _, _ in rows])
    return arrays, classes


def _key(source: Path, files: Iterable[Path]) -> str:
    stats = [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    return hashlib.sha256(repr((str(source.resolve()), stats)).encode()).hexdigest()[:16]


def source_key(source: Path) -> str:
    """Changes when the images may have: names, sizes and times of change of the files."""
    files = sorted(source.rglob("*")) if source.is_dir() else [source]
    return _key(source, (f for f in files if f.is_file()))


def load_images(source: Path, cache: Path) -> tuple[dict, tuple[str, ...]]:
    """What :func:`decode_images` gives, kept in a tensor file with its checksum in the ``cache`` folder.

    The file is made again when names, sizes or times of change of the images differ, or it is corrupt.
    """
    stem = cache / f"{source.name.split('.')[0]}-{source_key(source)}"
    cached, digest = stem.with_suffix(".pt"), stem.with_suffix(".sha256")
    if cached.exists() and digest.exists():
        data = cached.read_bytes()
        if sha256(data) == digest.read_text().strip():
            with contextlib.suppress(Failure, KeyError, TypeError):
                value = torch_value(data)
                return value["arrays"], tuple(value["classes"])
        print(f"{cached} is corrupt; decoding {source} again")
    arrays, classes = decode_images(source)
    data = torch_bytes({"arrays": arrays, "classes": list(classes)})
    with contextlib.suppress(Failure):  # they are decoded again where they cannot be kept
        write_atomic(cached, data)
        write_atomic(digest, sha256(data).encode())
    return arrays, classes

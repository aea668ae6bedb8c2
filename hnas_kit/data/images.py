"""Folders and archives of images: what is in them, decoded once to tensors, and a checksum of it."""

import contextlib
import hashlib
import io
import json
import lzma
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from platformdirs import user_cache_path

from hnas_kit.errors import Failure, HnasError
from hnas_kit.files import first_line, json_value, sha256, torch_bytes, torch_value, write_atomic

TOO_DEEP = "lies in a folder within its class; put it into the class's own"
# what a damaged archive or image raises
_UNREADABLE = (OSError, EOFError, tarfile.TarError, lzma.LZMAError, zlib.error, Image.DecompressionBombError)


def hidden(name: str) -> bool:
    """Whether a name, or a folder's in it, begins with a dot or is a system's own: none of the images."""
    parts = [part.lower() for part in name.split("/") if part not in (".", "..")]
    return any(part.startswith(".") or part in ("thumbs.db", "desktop.ini") for part in parts)


def files_of(folder: Path) -> list[Path]:
    """Every file below a folder that is not :func:`hidden`, in order; links are followed, not in circles."""

    def refuse(error: OSError) -> None:
        raise HnasError(f"{error.filename} cannot be read ({error.strerror})") from error

    found = []
    for place, below, names in os.walk(folder, followlinks=True, onerror=refuse):
        around = os.path.realpath(place) + os.sep
        below[:] = [
            name
            for name in below
            if not hidden(name) and not around.startswith(os.path.realpath(f"{place}/{name}") + os.sep)
        ]
        found += [Path(place, name) for name in names if not hidden(name)]
    for path in found:
        _check_name(str(path))
    return sorted(found)


def _check_name(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise HnasError(f"the name {name!a} is not UTF-8; rename it") from None


def members(source: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """(relative name, reader) of every file of a folder, or of a tar archive, that is not :func:`hidden`."""
    if source.is_dir():
        for path in files_of(source):
            yield path.relative_to(source).as_posix(), path.read_bytes
        return
    try:
        with tarfile.open(source) as archive:
            for member in archive:
                if member.isfile() and not hidden(member.name):
                    _check_name(member.name)
                    yield member.name, lambda m=member: archive.extractfile(m).read()
            # tarfile takes the end of a file, or what it cannot read, for the end of the archive
            archive.fileobj.seek(archive.offset)
            if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError("it was cut short: its end is not marked")
    except _UNREADABLE as error:
        reason = str(error).partition("\n")[0].rstrip(":")  # tarfile lists every format it tried
        raise HnasError(f"{source} is no folder and no tar archive that can be read ({reason})") from error


def _place(source: Path, name: str) -> tuple[str, str] | None:
    """An image's class and the folder of its part: ``train``, ``test`` or ``val``; None if it is in none."""
    parts = [part for part in name.split("/") if part != "."]
    at = next((i for i, part in enumerate(parts) if part in ("train", "test", "val")), len(parts))
    if len(parts) - at > 3:
        raise HnasError(f"{source}: {name} {TOO_DEEP}")
    return (parts[-2], "/".join(parts[: at + 1])) if len(parts) - at == 3 else None


def gray(image: Image.Image) -> bool:
    """Whether an image has one channel; of one with a palette its colours say it."""
    if image.mode in ("P", "PA"):
        colours = np.asarray(image.convert("RGB")).reshape(-1, 3)
        return bool((colours == colours[:, :1]).all())
    return image.mode in ("1", "L", "LA", "La", "F", "I") or image.mode.startswith("I;")


def eight_bit(image: Image.Image) -> Image.Image:
    """An image in mode L or RGB; 65,536 levels become 256, rounded; transparency is dropped."""
    if image.mode.startswith("I"):
        levels = np.asarray(image).astype(np.int64)
        sixteen = image.mode.startswith("I;16") or image.format in ("PNG", "PPM")
        if not sixteen or levels.min() < 0 or levels.max() > 65_535:
            raise ValueError(
                f"it has 32 bits a channel, from {levels.min()} to {levels.max()}; save it with 8 or 16"
            )
        return Image.fromarray(((levels * 255 + 32_767) // 65_535).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("its channel holds floating point numbers; save it with 8 or 16 bits")
    return image.convert("L" if gray(image) else "RGB")


def squared(pixels: np.ndarray, size: int) -> np.ndarray:
    """Pixels (H, W) or (H, W, 3), the shorter side resized to ``size`` (bilinear), cut from their middle."""
    image = Image.fromarray(pixels)
    scale = size / min(image.size)
    image = image.resize([max(round(side * scale), size) for side in image.size], Image.Resampling.BILINEAR)
    left, top = ((side - size) // 2 for side in image.size)
    return np.asarray(image.crop((left, top, left + size, top + size)))


def decode_images(source: Path, image_size: int = 0) -> tuple[dict, tuple[str, ...]]:
    """Decode ``train/<class>/*`` and ``test/<class>/*`` (or ``val/``) of a folder or tar archive.

    Images that are not square, or differ in size, are resized to ``image_size`` and cut, see :func:`squared`.
    Gives arrays as for :func:`hnas_kit.data.from_arrays`, in the order of names, and the class names; C is 1
    if all are gray, else 3.
    """
    found: dict[str, list[tuple[str, str, str, np.ndarray]]] = {"train": [], "test": []}
    seen, size, cut = set(), None, False
    for name, read in members(source):
        if not (where := _place(source, name)):
            continue
        if name in seen:
            raise HnasError(f"{source}: {name} is there twice")
        seen.add(name)
        try:
            pixels = np.asarray(eight_bit(Image.open(io.BytesIO(read()))))
        except Exception as error:  # a broken file may raise anything
            unknown = isinstance(error, UnidentifiedImageError)
            reason = "it is in no format that Pillow knows" if unknown else first_line(error)
            raise HnasError(f"{source}: {name} is not an image that can be read ({reason})") from error
        size = size or pixels.shape[:2]
        if not cut and (pixels.shape[:2] != size or size[0] != size[1]):
            if not image_size:
                raise HnasError(
                    f"{source}: {name} is {pixels.shape[1]}x{pixels.shape[0]}; images must be square and "
                    "alike, or image_size be set, for instance to 32, to resize them and cut their middle"
                )
            cut = True
            for rows in found.values():
                rows[:] = [(*row, squared(px, image_size)) for *row, px in rows]
        cls, folder = where
        part = "train" if folder.endswith("train") else "test"
        found[part].append((cls, name, folder, squared(pixels, image_size) if cut else pixels))
    classes = tuple(sorted({row[0] for row in found["train"]}))
    if not classes or {row[0] for row in found["test"]} != set(classes):
        raise HnasError(
            f"{source} must hold images as train/<class>/* and test/<class>/*, the same classes in both"
        )
    arrays, coloured = {}, any(px.ndim == 3 for rows in found.values() for *_, px in rows)
    for part, rows in found.items():
        if len(folders := sorted({folder for _, _, folder, _ in rows})) > 1:
            where = " and ".join(folders)
            raise HnasError(f"{source}: images to {part} on lie in {where}; one must be left")
        rows.sort(key=lambda row: row[:2])
        # (H, W, C); a gray image among coloured ones has its level three times
        whole = [
            np.broadcast_to(px.reshape(*px.shape[:2], -1), (*px.shape[:2], 3 if coloured else 1))
            for *_, px in rows
        ]
        arrays[f"{part}_x"] = torch.from_numpy(np.stack(whole)).permute(0, 3, 1, 2).contiguous()
        arrays[f"{part}_y"] = torch.tensor([classes.index(row[0]) for row in rows])
    return arrays, classes


def source_key(source: Path) -> str:
    """Changes when the images may have: names, sizes and times of change of the files."""
    said = []
    try:
        for path in files_of(source) if source.is_dir() else [source]:
            stat = path.stat()
            said.append((str(path), stat.st_size, stat.st_mtime_ns))
    except OSError as error:
        raise HnasError(f"{error.filename} cannot be read ({error.strerror})") from error
    return hashlib.sha256(repr((str(source.resolve()), said)).encode()).hexdigest()[:32]


def fingerprint(source: Path) -> str:
    """Number and checksum of the files of a folder or tar archive, but hidden ones.

    The checksum is of a line ``part/class/name sha256`` for each image in the order of these names, so that a
    folder and an archive of it have the same one; other files stand with their own path. It is kept in the
    user's cache, under names, sizes and times of change of the files.
    """
    kept = user_cache_path("hnas_kit") / "fingerprints" / f"{source_key(source)}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        value = json_value(kept)
        return f"{value['count']} images, sha256 {value['sha256']}"
    lines = []
    for name, read in members(source):
        parts = name.split("/")
        short = "/".join(parts[-3:]) if len(parts) > 2 and parts[-3] in ("train", "test", "val") else name
        try:
            lines.append(f"{short} {sha256(read())}\n")
        except OSError as error:
            raise HnasError(f"{source}: {name} cannot be read ({error.strerror or error})") from None
    digest = sha256("".join(sorted(lines)).encode())
    with contextlib.suppress(Failure):  # it is computed again where it cannot be kept
        write_atomic(kept, json.dumps({"count": len(lines), "sha256": digest}).encode())
    return f"{len(lines)} images, sha256 {digest}"


def load_images(source: Path, image_size: int = 0) -> tuple[dict, tuple[str, ...]]:
    """What :func:`decode_images` gives, kept in a tensor file with its checksum in the user's cache.

    The file is made again when names, sizes or times of change of the images differ, or it is corrupt. What
    was cut to a size has that in its name; images that are alike are kept as they are, for every size.
    """
    stem = f"{source.name.split('.')[0]}-2-{source_key(source)}"  # 2: gray ones have one channel
    folder = user_cache_path("hnas_kit") / "images"
    whole, sized = folder / f"{stem}.pt", folder / f"{stem}-{image_size}.pt"
    for cached in (whole, sized) if image_size else (whole,):
        digest = cached.with_suffix(".sha256")
        if cached.exists() and digest.exists():
            data = cached.read_bytes()
            if sha256(data) == digest.read_text().strip():
                with contextlib.suppress(Failure, KeyError, TypeError):
                    value = torch_value(data)
                    return value["arrays"], tuple(value["classes"])
            print(f"{cached} is corrupt; decoding {source} again")
    arrays, classes = decode_images(source, image_size)
    cached = sized if arrays["train_x"].shape[-1] == image_size else whole
    data = torch_bytes({"arrays": arrays, "classes": list(classes)})
    with contextlib.suppress(Failure):  # they are decoded again where they cannot be kept
        write_atomic(cached, data)
        write_atomic(cached.with_suffix(".sha256"), sha256(data).encode())
    return arrays, classes

"""Folders and archives of images: order, cache, and what cannot be used."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hnas_kit.data import images
from hnas_kit.data.images import decode_images, load_images
from hnas_kit.errors import HnasError

NAMES = [f"train/{cls}/{i}.png" for cls in ("cat", "dog") for i in (1, 10, 2)]
NAMES += ["test/cat/1.png", "test/dog/1.png"]


def pixels(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(256, size=shape or (6, 6, 3), dtype=np.uint8)


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def source(tmp_path):
    """A folder with six training and two test images; the i-th of NAMES has the pixels of seed i."""
    folder = tmp_path / "pets.small"
    for seed, name in reversed(list(enumerate(NAMES))):
        save(folder / name, pixels(seed))
    (folder / "README.txt").write_text("not an image, and not in a class")
    (folder / "train" / "cat" / ".hidden").write_text("not an image either")
    return folder


def same(a: tuple, b: tuple) -> bool:
    (arrays, classes), (others, other_classes) = a, b
    equal = [torch.equal(arrays[key], others[key]) for key in arrays]
    return all(equal) and arrays.keys() == others.keys() and classes == other_classes


def archive(source: Path, path: Path, mode: str = "w", prefix: str = "") -> Path:
    with tarfile.open(path, mode) as tar:
        for file in sorted(source.rglob("*"), reverse=True):
            if file.is_file():
                tar.add(file, f"{prefix}{file.relative_to(source)}")
    return path


# decoding


def test_images_come_in_the_order_of_classes_and_names(source):
    arrays, classes = decode_images(source)
    assert classes == ("cat", "dog")
    assert arrays["train_y"].tolist() == [0, 0, 0, 1, 1, 1]
    assert arrays["test_y"].tolist() == [0, 1]
    expected = torch.from_numpy(np.stack([pixels(seed) for seed in range(8)])).permute(0, 3, 1, 2)
    assert torch.equal(torch.cat([arrays["train_x"], arrays["test_x"]]), expected)
    assert arrays["train_x"].is_contiguous()


def test_the_test_images_may_lie_in_val(source):
    expected = decode_images(source)
    (source / "test").rename(source / "val")
    assert same(decode_images(source), expected)


def test_gray_images_become_rgb(source):
    gray = pixels(0, 6, 6)
    save(source / "train/cat/1.png", gray)
    for channel in decode_images(source)[0]["train_x"][0]:
        assert torch.equal(channel, torch.from_numpy(gray))


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
@pytest.mark.parametrize("prefix", ["", "./", "pets/"])
def test_an_archive_equals_the_folder(source, tmp_path, mode, prefix):
    assert same(decode_images(archive(source, tmp_path / "a.tar", mode, prefix)), decode_images(source))


# what cannot be used


def other_size(source: Path) -> None:
    save(source / "train/dog/2.png", pixels(0, 7, 7, 3))


def not_square(source: Path) -> None:
    for name in NAMES:
        save(source / name, pixels(0, 6, 7, 3))


def broken(source: Path) -> None:
    path = source / "train/dog/2.png"
    path.write_bytes(path.read_bytes()[:60])


def not_an_image(source: Path) -> None:
    (source / "train/dog/labels.csv").write_text("1, 2")


def no_test_folder(source: Path) -> None:
    (source / "test").rename(source / "tests")


def no_train_folder(source: Path) -> None:
    (source / "train").rename(source / "val")


def unknown_class(source: Path) -> None:
    (source / "test/cat").rename(source / "test/bird")


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (other_size, "train/dog/2.png is 7x7; images must be square and alike"),
        (not_square, "test/cat/1.png is 7x6; images must be square and alike"),
        (broken, "train/dog/2.png is not an image that can be read"),
        (not_an_image, "train/dog/labels.csv is not an image that can be read"),
        (no_test_folder, "must hold images as train/<class>/* and test/<class>/*"),
        (no_train_folder, "must hold images as train/<class>/* and test/<class>/*"),
        (unknown_class, "the same classes in both"),
    ],
)
def test_images_that_cannot_be_used_give_one_line(source, tmp_path, spoil, line):
    spoil(source)
    with pytest.raises(HnasError) as caught:
        load_images(source, tmp_path / "cache")
    assert str(source) in str(caught.value)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("share", [0, 0.3, 0.7])
def test_an_archive_that_is_cut_short_gives_one_line(source, tmp_path, mode, share):
    for seed, name in enumerate(NAMES):
        save(source / name, pixels(seed, 40, 40, 3))
    path = archive(source, tmp_path / "a.tar", mode)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(HnasError, match=r"^.*a\.tar.*(can be read|must hold images).*$") as caught:
        decode_images(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_archive_gives_one_line(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8 no archive" * 100)
    with pytest.raises(HnasError, match=r"photo\.jpg is no folder and no tar archive that can be read"):
        decode_images(tmp_path / "photo.jpg")


def test_an_image_that_claims_to_be_huge_gives_one_line(source):
    content = io.BytesIO()
    Image.fromarray(pixels(0)).save(content, "bmp")
    header = bytearray(content.getvalue())
    header[18:26] = (60_000).to_bytes(4, "little") * 2  # its width and height
    (source / "train/dog/3.bmp").write_bytes(header)
    with pytest.raises(HnasError, match=r"3\.bmp is not an image that can be read"):
        decode_images(source)


# the cache


@pytest.fixture
def decodings(monkeypatch):
    """The sources decoded so far."""
    sources = []

    def decode(source: Path) -> tuple:
        sources.append(source)
        return decode_images(source)

    monkeypatch.setattr(images, "decode_images", decode)
    return sources


def test_images_are_decoded_once(source, tmp_path, decodings):
    expected = decode_images(source)
    for _ in range(2):
        assert same(load_images(source, tmp_path / "cache"), expected)
    assert decodings == [source]
    assert sorted(path.suffix for path in (tmp_path / "cache").iterdir()) == [".pt", ".sha256"]


def add(source: Path) -> None:
    save(source / "train/dog/3.png", pixels(9))


def remove(source: Path) -> None:
    (source / NAMES[0]).unlink()


def rename(source: Path) -> None:
    (source / NAMES[0]).rename(source / "train/cat/3.png")


def touch(source: Path) -> None:
    times = (source / NAMES[0]).stat().st_mtime_ns + 1_000_000
    save(source / NAMES[0], pixels(9))
    os.utime(source / NAMES[0], ns=(times, times))


@pytest.mark.parametrize("change", [add, remove, rename, touch])
def test_changed_images_are_decoded_again(source, tmp_path, decodings, change):
    load_images(source, tmp_path / "cache")
    change(source)
    assert same(load_images(source, tmp_path / "cache"), decode_images(source))
    assert len(decodings) == 2


@pytest.mark.parametrize("damage", ["flip", "cut", "foreign checksum"])
def test_a_corrupt_cache_is_named_and_made_again(source, tmp_path, decodings, capsys, damage):
    expected = load_images(source, tmp_path / "cache")
    digest, cached = sorted((tmp_path / "cache").iterdir(), key=lambda path: path.suffix, reverse=True)
    sound = cached.read_bytes()
    if damage == "foreign checksum":
        digest.write_text("0" * 64)
    else:
        cut = len(sound) // 2
        cached.write_bytes(
            sound[:cut] + (b"" if damage == "cut" else bytes([sound[cut] ^ 1]) + sound[cut + 1 :])
        )
    assert capsys.readouterr().out == ""
    assert same(load_images(source, tmp_path / "cache"), expected)
    assert capsys.readouterr().out == f"{cached} is corrupt; decoding {source} again\n"
    assert cached.read_bytes() == sound
    load_images(source, tmp_path / "cache")
    assert len(decodings) == 2


def test_a_cache_without_its_checksum_is_not_trusted(source, tmp_path, decodings):
    load_images(source, tmp_path / "cache")
    next((tmp_path / "cache").glob("*.sha256")).unlink()
    load_images(source, tmp_path / "cache")
    assert len(decodings) == 2

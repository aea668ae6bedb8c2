"""Folders and archives of images: order, cache, and what cannot be used."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hnas_kit import data
from hnas_kit.data import images
from hnas_kit.data.images import decode_images, load_images
from hnas_kit.errors import HnasError

NAMES = [f"train/{cls}/{i}.png" for cls in ("cat", "dog") for i in (1, 10, 2)]
NAMES += ["test/cat/1.png", "test/dog/1.png"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch) -> Path:
    """The folder where decoded images are kept, with the test's own files."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user_cache"))
    return tmp_path / "user_cache" / "hnas_kit" / "images"


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


MODES = {"1": 1, "L": 1, "LA": 1, "I;16": 1, "P": 3, "RGB": 3, "RGBA": 3, "CMYK": 3, "YCbCr": 3}
LAYOUTS = ("folder", "imagefolder")


@pytest.fixture
def sixteen_bits(tmp_path) -> Path:
    """Two classes of one gray image each, of 1,024 levels of 16 bits."""
    ramp = (np.arange(1024) * 64).astype(np.uint16).reshape(32, 32)
    for part in ("train", "test"):
        for cls in ("a", "b"):
            save(tmp_path / "ramps" / part / cls / "0.png", ramp)
    return tmp_path / "ramps"


def test_sixteen_bits_are_scaled_and_not_cut(sixteen_bits):
    (image, _), *_ = decode_images(sixteen_bits)[0].values()
    expected = np.round(np.arange(1024) * 64 / 65_535 * 255).reshape(32, 32)  # 257 to a level: no ties
    assert np.array_equal(image[0].numpy(), expected)
    assert len(image.unique()) == 256


@pytest.mark.parametrize("layout", LAYOUTS)
def test_sixteen_bits_are_gray_in_both_layouts(sixteen_bits, layout):
    dataset = data.load(f"{layout}:{sixteen_bits}", image_size=32)
    assert dataset.in_channels == 1
    x, _ = dataset.fixed(dataset.train)
    assert len(x.unique()) > 200


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("mode", MODES)
def test_any_size_and_mode_is_resized_and_cut(tmp_path, layout, mode):
    ending = {"CMYK": "tif", "YCbCr": "tif"}.get(mode, "png")
    for part in ("train", "test"):
        for i, size in enumerate(((40, 20), (11, 30), (16, 16))):
            image = Image.fromarray(pixels(i, size[1], size[0], 3))
            image = Image.new("I;16", size, 9_000) if mode == "I;16" else image.convert(mode)
            for cls in ("a", "b"):
                (folder := tmp_path / "own" / part / cls).mkdir(parents=True, exist_ok=True)
                image.save(folder / f"{i}.{ending}")
    dataset = data.load(f"{layout}:{tmp_path}/own", image_size=16)
    assert (dataset.in_channels, dataset.classes) == (MODES[mode], ("a", "b"))
    x, y = dataset.fixed(dataset.train)
    assert x.shape == (6, MODES[mode], 16, 16)
    assert sorted(y.tolist()) == [0, 0, 0, 1, 1, 1]


def test_the_middle_of_the_shorter_side_is_kept(source):
    image = np.zeros((8, 20, 3), np.uint8)
    image[:, 6:14] = 200  # the square in the middle
    save(source / "train/cat/1.png", image)
    arrays, _ = decode_images(source, image_size=8)
    assert (arrays["train_x"][0] == 200).all()
    assert arrays["train_x"].shape == (6, 3, 8, 8)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (Image.new("F", (9, 9)), "its channel holds floating point numbers"),
        (Image.new("I", (9, 9), 70_000), "it has 32 bits a channel, from 70000 to 70000"),
        (None, "is not an image that can be read"),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_name(source, layout, image, reason):
    path = source / "train/cat/3.tif"
    path.write_text("no image") if image is None else image.save(path)

    with pytest.raises(HnasError) as caught:
        (dataset := data.load(f"{layout}:{source}", image_size=8)).fixed(dataset.train)
    assert "train/cat/3.tif is not an image that can be read" in str(caught.value)
    assert reason in str(caught.value)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_hidden_files_and_folders_and_empty_classes_are_left_out(source, layout):
    for part in ("train", "test"):
        (source / part / "cat" / "._1.png").write_text("of macOS")
        save(source / part / ".ipynb_checkpoints" / "1.png", pixels(0))
        save(source / part / "dog" / ".ipynb_checkpoints" / "1.png", pixels(0))
        (source / part / "empty").mkdir()
    dataset = data.load(f"{layout}:{source}", image_size=8)
    assert dataset.classes == ("cat", "dog")
    assert (len(dataset.train), len(dataset.test)) == (6, 2)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_links_are_followed_and_files_of_the_system_left_out(source, tmp_path, layout):
    (source / "train" / "cat").rename(tmp_path / "cats")
    (source / "train" / "cat").symlink_to(tmp_path / "cats")
    (source / "train" / "dog" / "again").symlink_to(source)  # in a circle
    for name in ("Thumbs.db", "desktop.ini"):
        (source / "train" / "dog" / name).write_text("of Windows")
    dataset = data.load(f"{layout}:{source}", image_size=8)
    assert (dataset.classes, len(dataset.train), len(dataset.test)) == (("cat", "dog"), 6, 2)
    before = data.version(f"{layout}:{source}")
    save(tmp_path / "cats" / "1.png", pixels(9))
    assert data.version(f"{layout}:{source}") != before


UNTESTED = "the same classes in both|class 'cat' has no image to test on"
MISTAKES = {
    "below": (
        lambda f: save(f / "train/dog/puppies/1.png", pixels(0)),
        "dog/puppies/1.png lies in a folder within its class",
    ),
    "alone": (
        lambda f: [shutil.rmtree(f / part / "cat") for part in ("train", "test")],
        "it has one class, 'dog'; two are needed",
    ),
    "untested": (lambda f: shutil.rmtree(f / "test/cat"), UNTESTED),
    "empty": (lambda f: (f / "test/cat/1.png").unlink(), UNTESTED),
    "both": (
        lambda f: shutil.copytree(f / "test", f / "val"),
        "images to test on lie in test and val|has both val and test",
    ),
    "foreign name": (
        lambda f: (f / "train/dog/1.png").rename(os.fsdecode(os.fsencode(f) + b"/train/dog/\xff.png")),
        r"the name '.*/train/dog/.udcff.png' is not UTF-8",
    ),
    "nowhere": (
        lambda f: (f / "train/dog/3.png").symlink_to("nowhere.png"),
        r"train/dog/3.png cannot be read \(No such file or directory\)",
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("spoil", "said"), MISTAKES.values(), ids=MISTAKES)
def test_no_image_is_left_out_or_taken_twice_without_a_word(source, layout, spoil, said):
    spoil(source)

    def use() -> None:
        data.version(f"{layout}:{source}")
        data.load(f"{layout}:{source}", image_size=8)

    with pytest.raises(HnasError, match=said):
        use()


@pytest.mark.parametrize("name", ["train", "test"])
def test_images_of_a_part_lie_in_one_place(source, name):
    shutil.copytree(source / name, source / "backup" / name)
    with pytest.raises(HnasError, match=f"images to {name} on lie in backup/{name} and {name}; one must be"):
        decode_images(source)


def test_an_image_that_an_archive_holds_twice_is_refused(source, tmp_path):
    path = archive(source, tmp_path / "a.tar")
    with tarfile.open(path, "a") as tar:
        tar.add(source / NAMES[0], NAMES[0])
    with pytest.raises(HnasError, match=r"a\.tar: train/cat/1\.png is there twice"):
        decode_images(path)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
@pytest.mark.parametrize("prefix", ["", "./", "pets/"])
def test_an_archive_equals_the_folder(source, tmp_path, mode, prefix):
    assert same(decode_images(archive(source, tmp_path / "a.tar", mode, prefix)), decode_images(source))


# what cannot be used


ALIKE = "images must be square and alike"
BOTH = "must hold images as train/<class>/* and test/<class>/*, the same classes in both"
UNUSABLE = {
    "other size": (
        lambda f: save(f / "train/dog/2.png", pixels(0, 7, 7, 3)),
        f"train/dog/2.png is 7x7; {ALIKE}",
    ),
    "not square": (
        lambda f: [save(f / name, pixels(0, 6, 7, 3)) for name in NAMES],
        f"test/cat/1.png is 7x6; {ALIKE}",
    ),
    "broken": (
        lambda f: os.truncate(f / "train/dog/2.png", 60),
        "train/dog/2.png is not an image that can be read",
    ),
    "no image": (
        lambda f: (f / "train/dog/labels.csv").write_text("1, 2"),
        "train/dog/labels.csv is not an image that can be read",
    ),
    "no test": (lambda f: (f / "test").rename(f / "tests"), BOTH),
    "no train": (lambda f: (f / "train").rename(f / "val"), BOTH),
    "unknown class": (lambda f: (f / "test/cat").rename(f / "test/bird"), BOTH),
}


@pytest.mark.parametrize(("spoil", "line"), UNUSABLE.values(), ids=UNUSABLE)
def test_images_that_cannot_be_used_give_one_line(source, own_cache, spoil, line):
    spoil(source)
    with pytest.raises(HnasError) as caught:
        load_images(source)
    assert str(source) in str(caught.value)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not own_cache.exists()


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

    def decode(source: Path, image_size: int) -> tuple:
        sources.append(source)
        return decode_images(source, image_size)

    monkeypatch.setattr(images, "decode_images", decode)
    return sources


def test_images_are_decoded_once(source, own_cache, decodings):
    expected = decode_images(source)
    for _ in range(2):
        assert same(load_images(source), expected)
    assert decodings == [source]
    assert sorted(path.suffix for path in own_cache.iterdir()) == [".pt", ".sha256"]


def touch(source: Path) -> None:
    times = (source / NAMES[0]).stat().st_mtime_ns + 1_000_000
    save(source / NAMES[0], pixels(9))
    os.utime(source / NAMES[0], ns=(times, times))


CHANGES = {
    "add": lambda f: save(f / "train/dog/3.png", pixels(9)),
    "remove": lambda f: (f / NAMES[0]).unlink(),
    "rename": lambda f: (f / NAMES[0]).rename(f / "train/cat/3.png"),
    "touch": touch,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changed_images_are_decoded_again(source, tmp_path, decodings, change):
    load_images(source)
    change(source)
    assert same(load_images(source), decode_images(source))
    assert len(decodings) == 2


@pytest.mark.parametrize("damage", ["flip", "cut", "foreign checksum"])
def test_a_corrupt_cache_is_named_and_made_again(source, own_cache, decodings, capsys, damage):
    expected = load_images(source)
    digest, cached = sorted(own_cache.iterdir(), key=lambda path: path.suffix, reverse=True)
    sound = cached.read_bytes()
    if damage == "foreign checksum":
        digest.write_text("0" * 64)
    else:
        cut = len(sound) // 2
        cached.write_bytes(
            sound[:cut] + (b"" if damage == "cut" else bytes([sound[cut] ^ 1]) + sound[cut + 1 :])
        )
    assert capsys.readouterr().out == ""
    assert same(load_images(source), expected)
    assert capsys.readouterr().out == f"{cached} is corrupt; decoding {source} again\n"
    assert cached.read_bytes() == sound
    load_images(source)
    assert len(decodings) == 2


def test_a_cache_without_its_checksum_is_not_trusted(source, own_cache, decodings):
    load_images(source)
    next(own_cache.glob("*.sha256")).unlink()
    load_images(source)
    assert len(decodings) == 2

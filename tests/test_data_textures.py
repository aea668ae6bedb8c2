"""Patches of photographs: parts share no pixel, and all patches are the same every time."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pytest
from PIL import Image

from hnas_kit.data import textures
from hnas_kit.data.textures import CLASSES, PARTS, PICTURES, SIDES, patches

SHA256 = {
    "train": "d4663fcdf9962107fd0ee42983c5aa4a39d5bfa85880f4e93a1af1dac50e2b5d",
    "validation": "0393c1c4369c46389e19f523a49802713d320036119d83dd58ab00f13517c1b1",
    "test": "dd2f81f67301300c967e6c0f3c8afd6fcfa038eb5aef3a809115a6e8dcc28dc5",
}


@pytest.fixture(scope="module")
def pictures() -> dict[str, Image.Image]:
    return {name: textures._picture(name) for name in PICTURES}


@pytest.fixture
def few(monkeypatch, pictures) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    monkeypatch.setattr(textures, "_picture", pictures.__getitem__)
    return patches(8)


def test_parts_cover_a_picture_from_left_to_right_once():
    assert [*PARTS] == ["train", "validation", "test"]
    borders = [*PARTS.values()]
    assert (borders[0][0], borders[-1][1]) == (0, 1)
    assert all(end == start for (_, end), (start, _) in itertools.pairwise(borders))


@pytest.mark.parametrize("part", PARTS)
def test_a_patch_has_no_pixel_of_another_part(monkeypatch, pictures, part):
    """The other parts are painted over: the patches stay as they are."""

    def painted(name: str) -> Image.Image:
        pixels = 255 - np.array(pictures[name])
        first, last = (round(share * pixels.shape[1]) for share in PARTS[part])
        pixels[:, first:last] = 255 - pixels[:, first:last]
        return Image.fromarray(pixels)

    made = []
    for source in (pictures.__getitem__, painted):
        monkeypatch.setattr(textures, "_picture", source)
        made.append(patches(200))
    for name in PARTS:
        changed = np.mean(np.any(made[0][name][0] != made[1][name][0], axis=(1, 2, 3)))
        assert changed == 0 if name == part else changed > 0.9


def test_patches_are_small_gray_images_of_all_pictures_alike(few):
    for x, y in few.values():
        assert (x.shape, x.dtype) == ((96, 1, 16, 16), np.uint8)
        assert (y.shape, y.dtype) == ((96,), np.int64)
        assert np.bincount(y).tolist() == [8] * 12
        assert not np.array_equal(y, np.sort(y))  # shuffled
        assert len(np.unique(x, axis=0)) == len(y)


def test_patches_are_the_same_every_time(few):
    again = patches(8)
    for name, (x, y) in few.items():
        np.testing.assert_array_equal(x, again[name][0])
        np.testing.assert_array_equal(y, again[name][1])
    made = {name: hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest() for name, (x, y) in few.items()}
    assert made == SHA256


def test_a_label_says_picture_and_zoom(monkeypatch):
    """Every picture brightens to the right, from a level of its own: a patch's slope tells its side."""

    def picture(name: str) -> Image.Image:
        ramp = 60 * PICTURES.index(name) + (np.arange(600) % 50).astype(np.uint8)
        return Image.fromarray(np.tile(ramp, (300, 1)))

    monkeypatch.setattr(textures, "_picture", picture)
    seen = {}
    for x, y in patches(60).values():
        rows = x.astype(float)[:, 0, 8]
        np.testing.assert_array_equal(rows.min(axis=1) // 60, y // len(SIDES))
        plain = np.all(np.diff(rows, axis=1) > 0, axis=1)  # the ramp does not start anew inside
        sides = 16 * (rows[plain, 14] - rows[plain, 1]) / 13
        for label, side in zip(y[plain].tolist(), sides.tolist(), strict=True):
            seen.setdefault(label, []).append(side)
    for label, sides in seen.items():
        assert CLASSES[label] == f"{PICTURES[label // len(SIDES)]} {SIDES[label % len(SIDES)]}"
        np.testing.assert_allclose(sides, SIDES[label % len(SIDES)], atol=1.5)
    assert {label % len(SIDES) for label in seen} >= {0, 1}  # of the widest patches hardly one is plain


def test_places_of_patches_vary_over_all_that_is_allowed(monkeypatch):
    """The level of a patch tells where it comes from."""
    ramp = np.tile((np.arange(500) // 2).astype(np.uint8), (300, 1))
    monkeypatch.setattr(textures, "_picture", lambda name: Image.fromarray(ramp))
    for part, (x, y) in patches(400).items():
        first, last = (500 * share for share in PARTS[part])
        for zoom, side in enumerate(SIDES):
            middle = 2 * x[y % len(SIDES) == zoom].mean(axis=(1, 2, 3))
            assert middle.min() == pytest.approx(first + side / 2, abs=4)
            assert middle.max() == pytest.approx(last - side / 2, abs=4)
            assert np.histogram(middle, 4)[0].min() > len(middle) / 6


def test_pictures_ship_with_scikit_image_and_are_gray(pictures):
    assert len(set(CLASSES)) == len(PICTURES) * len(SIDES) == 12
    for picture in pictures.values():
        assert picture.mode == "L"
        narrowest = min(last - first for first, last in PARTS.values())
        assert min(narrowest * picture.width, picture.height) > 2 * max(SIDES)
        assert np.ptp(np.array(picture)) > 100

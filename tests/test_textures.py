"""Patches of photographs: parts share no pixel, and all patches are the same every time."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pytest
from PIL import Image

from hnas_kit import textures
from hnas_kit.textures import CROP, PARTS, PICTURES, patches

SHA256 = {
    "train": "20ab1e3a8e9ee7420a0611a08ddc0630f3c751035b3b99fb0bbc53b00ac055f6",
    "validation": "aa2b7e36bed34e34c516c087501ac304173ce58269325005fa6a3c31e9b31f72",
    "test": "46fbb4341358ed1a4afb4de3c80707a7934606381987dda889a5bf4dfdcd8a1a",
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
        made.append(patches(300))
    for name in PARTS:
        changed = np.mean(np.any(made[0][name][0] != made[1][name][0], axis=(1, 2, 3)))
        assert changed == 0 if name == part else changed > 0.9


def test_patches_are_small_gray_images_of_all_pictures_alike(few):
    for x, y in few.values():
        assert (x.shape, x.dtype) == ((80, 1, 16, 16), np.uint8)
        assert (y.shape, y.dtype) == ((80,), np.int64)
        assert np.bincount(y).tolist() == [8] * 10
        assert not np.array_equal(y, np.sort(y))  # shuffled
        assert len(np.unique(x, axis=0)) == len(y)


def test_patches_are_the_same_every_time(few):
    again = patches(8)
    for name, (x, y) in few.items():
        np.testing.assert_array_equal(x, again[name][0])
        np.testing.assert_array_equal(y, again[name][1])
    made = {name: hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest() for name, (x, y) in few.items()}
    assert made == SHA256


def test_a_label_is_the_position_of_the_picture(monkeypatch):
    """Every picture is of one level, and so are its patches."""
    monkeypatch.setattr(
        textures, "_picture", lambda name: Image.new("L", (400, 200), 20 * PICTURES.index(name))
    )
    for x, y in patches(5).values():
        np.testing.assert_array_equal(x, np.broadcast_to(20 * y[:, None, None, None], x.shape))


def test_sides_and_places_of_patches_vary_over_all_that_is_allowed(monkeypatch):
    """A picture that brightens to the right tells a patch's side, by its slope, and its place."""
    ramp = np.tile((np.arange(600) % 250).astype(np.uint8), (300, 1))
    monkeypatch.setattr(textures, "_picture", lambda name: Image.fromarray(ramp))
    rows = patches(300)["test"][0].astype(float)[:, 0, 8]
    plain = rows[np.all(np.diff(rows, axis=1) > 0, axis=1)]  # the ramp does not start anew inside
    sides = 16 * (plain[:, 14] - plain[:, 1]) / 13
    assert len(plain) > 1500
    assert sides.min() == pytest.approx(CROP[0], abs=1)
    assert sides.max() == pytest.approx(CROP[1], abs=1)
    assert np.histogram(sides, bins=4, range=CROP)[0].min() > len(plain) / 6
    assert len(np.unique(plain[:, 0])) > 150


def test_pictures_ship_with_scikit_image_and_are_gray(pictures):
    assert len(set(PICTURES)) == 10
    for picture in pictures.values():
        assert picture.mode == "L"
        narrowest = min(last - first for first, last in PARTS.values())
        assert min(narrowest * picture.width, picture.height) > 2 * CROP[1]
        assert np.ptp(np.array(picture)) > 100

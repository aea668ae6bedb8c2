"""What becomes of an image on its way to the network, against plain loops over pixels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from common import generator, random_images
from PIL import Image
from torch import Tensor

from hnas_kit import data
from hnas_kit.data import rendering
from hnas_kit.data.rendering import crop, digits_render, photo_render, shrunk, textures_render


def drawn(image: Tensor, top: int, left: int) -> Tensor:
    """An 8x8 digit with its corner at (top, left) of a 16x16 canvas, pixel by pixel."""
    canvas = torch.zeros(16, 16)
    for row, column in itertools.product(range(8), range(8)):
        canvas[top + row, left + column] = int(image[row, column]) / 255
    return canvas


def silenced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tensor, "normal_", lambda self, *args, **options: self.zero_())


def test_a_digit_lies_whole_on_its_canvas_at_any_place(monkeypatch):
    silenced(monkeypatch)
    image = random_images(8, 8, low=1)
    places = {place: drawn(image, *place) for place in itertools.product(range(9), range(9))}
    canvases = digits_render(image.expand(800, 1, 8, 8), generator(), False)
    found = [place for c in canvases for place, canvas in places.items() if torch.equal(c[0], canvas)]
    assert len(found) == 800
    assert len(set(found)) == 81


def test_the_noise_of_a_canvas_is_normal_with_deviation_a_quarter():
    noise = digits_render(torch.zeros(400, 1, 8, 8, dtype=torch.uint8), generator(), True) / 0.25
    assert noise.shape == (400, 1, 16, 16)
    assert abs(noise.mean()) < 0.01
    assert noise.std() == pytest.approx(1, abs=0.01)
    assert (noise.abs() < 1).double().mean() == pytest.approx(0.6827, abs=0.005)


def test_patches_for_training_are_mirrored_at_random_and_others_never(monkeypatch):
    silenced(monkeypatch)
    image = random_images(1, 16, 16)
    x = image.double() / 255
    plain = ((x - x.mean()) / x.std()).float()
    out = textures_render(image.expand(400, 1, 16, 16), generator(), True)
    mirrored = [torch.allclose(patch, plain.flip(2), atol=1e-4) for patch in out]
    assert all(m or torch.allclose(patch, plain, atol=1e-4) for m, patch in zip(mirrored, out, strict=True))
    assert 150 < sum(mirrored) < 250
    out = textures_render(image.expand(50, 1, 16, 16), generator(), False)
    torch.testing.assert_close(out, plain.expand(50, 1, 16, 16), atol=1e-4, rtol=0)


def test_a_patch_of_one_level_is_finite():
    x = textures_render(torch.full((20, 1, 16, 16), 200, dtype=torch.uint8), generator(), True)
    assert x.std() == pytest.approx(0.1, rel=0.1)
    assert abs(x.mean()) < 0.01


def cropped(image: Tensor, pad: int, top: int, left: int, size: int, flip: bool) -> Tensor:
    """One window of one zero-padded image, pixel by pixel."""
    out = torch.zeros(len(image), size, size, dtype=image.dtype)
    for row, column in itertools.product(range(size), range(size)):
        y, x = top + row - pad, left + (size - 1 - column if flip else column) - pad
        if 0 <= y < image.shape[1] and 0 <= x < image.shape[2]:
            out[:, row, column] = image[:, y, x]
    return out


@pytest.mark.parametrize(("pad", "size"), [(0, 5), (2, 5), (1, 3), (3, 11)])
@pytest.mark.parametrize("mirror", [True, False])
def test_crop_is_the_loop_over_pixels(pad, size, mirror):
    images = random_images(12, 2, 5, 5)
    top, left = (torch.randint(5 + 2 * pad - size + 1, (12,), generator=generator(s)) for s in (1, 2))
    flip = torch.arange(12) % 2 == 0 if mirror else None
    out = crop(images, pad, top, left, size, flip)
    expected = [
        cropped(image, pad, int(top[i]), int(left[i]), size, mirror and i % 2 == 0)
        for i, image in enumerate(images)
    ]
    assert torch.equal(out, torch.stack(expected))
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_photos_for_training_are_all_windows_mirrored_or_not():
    render = photo_render(torch.zeros(3), torch.ones(3))
    image = random_images(3, 8, 8, low=1)
    windows = {
        which: cropped(image, 1, *which[:2], 8, which[2]) / 255
        for which in itertools.product(range(3), range(3), (False, True))
    }
    out = render(image.expand(400, 3, 8, 8), generator(), True)
    found = [which for x in out for which, window in windows.items() if torch.allclose(x, window, atol=1e-6)]
    assert len(found) == 400
    assert len(set(found)) == 18


@pytest.mark.parametrize("size", [3, 8, 13])
def test_images_are_shrunk_as_pillow_does_it(size):
    images = random_images(5, 3, 16, 16)
    out = shrunk(images, size)
    assert (out.shape, out.dtype) == ((5, 3, size, size), torch.uint8)
    for image, small in zip(images, out, strict=True):
        picture = Image.fromarray(image.permute(1, 2, 0).numpy())
        expected = np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR)).astype(int)
        assert np.abs(small.permute(1, 2, 0).numpy() - expected).max() <= 1  # it rounds twice


def test_images_are_resized_after_they_are_drawn():
    digits = data.load("digits")
    larger = data.load("digits", image_size=40)
    assert (larger.image_size, larger.views, larger.in_channels) == (40, 3, 1)
    x, y = larger.fixed(larger.test, 5)
    small, labels = digits.fixed(digits.test, 5)
    assert x.shape == (15, 1, 40, 40)
    assert torch.equal(y, labels)
    middles = (np.arange(40) + 0.5) * 16 / 40 - 0.5  # of the new pixels, among those of before

    def between(lines):
        return np.interp(middles, np.arange(16), lines)

    for image, before in zip(x[:, 0].numpy(), small[:, 0].numpy(), strict=True):
        expected = np.apply_along_axis(between, 0, np.apply_along_axis(between, 1, before))
        assert image == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("kind", ["cpu", "cuda", "mps"])
def test_batches_are_channels_last_but_on_apples_gpus(monkeypatch, kind):
    """What they get there is computed here: all that a batch goes through asks for the layout."""
    of_kind = rendering.layout(torch.device(kind))
    monkeypatch.setattr(rendering, "layout", lambda device: of_kind)
    images = torch.randint(256, (4, 3, 8, 8), dtype=torch.uint8)
    render = rendering.photo_render(torch.zeros(3), torch.ones(3))
    digits = rendering.digits_render(images, torch.Generator(), True)
    photos = [rendering.resized(render, 16)(images, torch.Generator(), True), render(images, None, False)]
    for x in [digits, *photos]:
        assert x.is_contiguous(memory_format=torch.channels_last) == (kind != "mps")
        assert x.is_contiguous() == (kind == "mps")

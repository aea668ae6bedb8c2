"""Patches of real photographs: which picture is it from? A small task on which shared weights misjudge."""

from __future__ import annotations

import numpy as np
from PIL import Image

# photographs and micrographs that ship inside scikit-image, by the name of the file
PICTURES = (
    "brick", "grass", "gravel", "coffee", "chelsea", "coins", "hubble_deep_field", "ihc", "motorcycle_left",
    "astronaut",
)  # fmt: skip
SIZE = 16
CROP = (16, 48)  # smallest and largest side of a patch in the picture, pixels
# where in a picture patches of each part come from, as shares of its width: what is learned on one part of
# the pictures is judged on another, in the search as in the end
PARTS = {"train": (0.0, 0.3), "validation": (0.3, 0.6), "test": (0.6, 1.0)}


def _picture(name: str) -> Image.Image:
    from skimage import data

    readers = {
        "ihc": data.immunohistochemistry,
        "motorcycle_left": lambda: data.stereo_motorcycle()[0],
    }
    return Image.fromarray(readers.get(name, getattr(data, name, None))()).convert("L")


def patches(count: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Gray patches of all pictures, the same at every call.

    A patch is a square crop at a random place of its part, its side uniform over ``CROP``, resized to
    16x16. No pixel is in patches of two parts.

    Args:
        count: patches of each picture in each part.

    Returns:
        For each of ``PARTS`` images uint8 (N, 1, 16, 16) and labels int64 (N,), shuffled.
    """
    rng = np.random.default_rng(0)
    pictures = [_picture(name) for name in PICTURES]
    made = {}
    for part, shares in PARTS.items():
        x = np.empty((len(pictures), count, 1, SIZE, SIZE), dtype=np.uint8)
        for picture, out in zip(pictures, x, strict=True):
            first, last = (round(share * picture.width) for share in shares)
            sides = rng.integers(CROP[0], CROP[1] + 1, count)
            lefts = rng.integers(first, last - sides + 1)
            tops = rng.integers(0, picture.height - sides + 1)
            for i, (side, left, top) in enumerate(zip(sides, lefts, tops, strict=True)):
                # cropped first: resizing a box of the picture would look beyond its border
                patch = picture.crop((left, top, left + side, top + side))
                out[i, 0] = patch.resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        order = rng.permutation(len(pictures) * count)
        labels = np.repeat(np.arange(len(pictures)), count)
        made[part] = x.reshape(-1, 1, SIZE, SIZE)[order], labels[order]
    return made

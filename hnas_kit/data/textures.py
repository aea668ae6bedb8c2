"""Patches of photographed textures: which texture is it, and how far was it zoomed out?

The scale is part of the answer, and a filter that serves two resolutions sees two scales: here the weights
that architectures share get in each other's way.
"""

import warnings

import numpy as np
from PIL import Image

PICTURES = ("brick", "grass", "gravel", "coins")  # photographs that ship inside scikit-image
SIDES = (20, 31, 48)  # of a patch in the picture, pixels: the zooms
CLASSES = tuple(f"{name} {side}" for name in PICTURES for side in SIDES)
SIZE = 16  # of a patch, pixels
# where in a picture patches of each part come from, as shares of its width: what is learned on one part of
# the pictures is judged on another, in the search as in the end
PARTS = {"train": (0.0, 0.3), "validation": (0.3, 0.6), "test": (0.6, 1.0)}


def _picture(name: str) -> Image.Image:
    with warnings.catch_warnings():
        # pooch, which this imports where there is one, says in a notebook that it misses widgets
        warnings.simplefilter("ignore")
        from skimage import data

        picture = getattr(data, name)
    return Image.fromarray(picture()).convert("L")


def patches(count: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """``count`` gray patches of all pictures at all zooms in each of ``PARTS``, the same at every call.

    A patch is a square crop at a random place of its part, resized to 16x16. No pixel is in patches of two
    parts. Images are uint8 (N, 1, 16, 16), labels int64 (N,), positions in ``CLASSES``; shuffled.
    """
    rng = np.random.default_rng(0)
    pictures = [_picture(name) for name in PICTURES]
    classes = [(picture, side) for picture in pictures for side in SIDES]
    made = {}
    for part, shares in PARTS.items():
        x = np.empty((len(classes), count, 1, SIZE, SIZE), dtype=np.uint8)
        for (picture, side), out in zip(classes, x, strict=True):
            first, last = (round(share * picture.width) for share in shares)
            lefts = rng.integers(first, last - side + 1, count)
            tops = rng.integers(0, picture.height - side + 1, count)
            for i, (left, top) in enumerate(zip(lefts, tops, strict=True)):
                # cropped first: resizing a box of the picture would look beyond its border
                patch = picture.crop((left, top, left + side, top + side))
                out[i, 0] = patch.resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        order = rng.permutation(len(classes) * count)
        labels = np.repeat(np.arange(len(classes)), count)
        made[part] = x.reshape(-1, 1, SIZE, SIZE)[order], labels[order]
    return made

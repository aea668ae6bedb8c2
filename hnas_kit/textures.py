"""Patches of real photographs: which picture is it from? A small task on which shared weights interfere."""

from __future__ import annotations

import numpy as np
from PIL import Image

# photographs and micrographs that ship inside scikit-image, by the name of the file
PICTURES = (
    "brick", "grass", "gravel", "coffee", "chelsea", "coins", "hubble_deep_field", "ihc", "motorcycle_left",
    "astronaut",
)  # fmt: skip
SIZE = 16
CELL = (
    64  # side of the cells that a picture is cut into, pixels; some are for training, the others for testing
)
CROP = (16, 48)  # smallest and largest side of a patch in the picture, pixels


def _picture(name: str) -> Image.Image:
    from skimage import data

    readers = {
        "ihc": data.immunohistochemistry,
        "motorcycle_left": lambda: data.stereo_motorcycle()[0],
    }
    return Image.fromarray(readers.get(name, getattr(data, name, None))()).convert("L")


def cells(width: int, height: int, test: bool) -> np.ndarray:
    """(K, 2) left and top corner of a picture's cells: two of five neighbours are for testing."""
    rows, columns = np.mgrid[: height // CELL, : width // CELL]
    chosen = ((rows + 2 * columns) % 5 < 2) == test
    return CELL * np.column_stack([columns[chosen], rows[chosen]])


def patches(train: int, test: int) -> dict[str, np.ndarray]:
    """Gray patches of all pictures, the same at every call.

    A patch is a square crop at a random place of a random cell, its side uniform over ``CROP``, resized to
    16x16. No pixel is in both a training and a test patch.

    Args:
        train, test: patches of each picture.

    Returns:
        ``train_x``, ``test_x`` uint8 (N, 1, 16, 16), ``train_y``, ``test_y`` int64 (N,), shuffled.
    """
    rng = np.random.default_rng(0)
    pictures = [_picture(name) for name in PICTURES]
    arrays = {}
    for part, count in (("train", train), ("test", test)):
        x = np.empty((len(pictures), count, 1, SIZE, SIZE), dtype=np.uint8)
        for picture, out in zip(pictures, x, strict=True):
            corners = cells(*picture.size, part == "test")
            sides = rng.integers(CROP[0], CROP[1] + 1, count)
            starts = rng.choice(corners, count) + rng.integers(0, (CELL - sides + 1)[:, None], (count, 2))
            for i, (side, (left, top)) in enumerate(zip(sides, starts, strict=True)):
                box = (left, top, left + side, top + side)
                out[i, 0] = picture.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=box)
        order = rng.permutation(len(pictures) * count)
        arrays[f"{part}_x"] = x.reshape(-1, 1, SIZE, SIZE)[order]
        arrays[f"{part}_y"] = np.repeat(np.arange(len(pictures)), count)[order]
    return arrays

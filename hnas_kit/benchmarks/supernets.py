"""What supernets trained for NAS-Bench-Macro say: trees learned from their outputs, and their estimates."""

import io
import json
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from hnas_kit import trees
from hnas_kit.errors import HnasError
from hnas_kit.names import SUPERNETS
from hnas_kit.spaces import make_space


class Estimate(NamedTuple):
    """What the package keeps of a supernet."""

    tree: trees.ArchTree  # over all 3,969 networks
    accuracy: pd.Series  # (%) on validation images, by text form
    record: dict[str, Any]  # how it was made


def supernet(number: int = 0) -> Estimate:
    """A supernet of the package: ``tables/macro-tree.npz``, and beside it ``macro-tree-1.npz`` and so on.

    Accuracies are kept in half precision, as shares of the images that they were measured on. This tells two
    numbers of right answers apart, so they are exact.

    Raises:
        HnasError: if there is no such supernet.
    """
    if number not in range(SUPERNETS):
        raise HnasError(f"there is no supernet {number}; allowed: 0 to {SUPERNETS - 1}")
    table = files("hnas_kit.benchmarks") / "tables" / stem(number)
    content = table.with_suffix(".npz").read_bytes()
    record = json.loads(table.with_suffix(".json").read_text(encoding="utf-8"))
    images, space = record["lineage"]["01_pretrain"]["scored"], make_space("macro")
    with np.load(io.BytesIO(content)) as arrays:
        accuracy = 100 * np.round(arrays["supernet"].astype(float) * images) / images
    names = pd.Index([space.format(arch) for arch in space.enumerate()], name="architecture")
    return Estimate(trees.load(content), pd.Series(accuracy, names, name="supernet"), record)


def stem(number: int) -> str:
    """The name of a supernet's files."""
    return f"macro-tree-{number}" if number else "macro-tree"

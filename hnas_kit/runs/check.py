"""Tolerant regression checks: the same stored notebook passes on CPU and on GPU."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from hnas_kit.errors import HnasError
from hnas_kit.files import json_value
from hnas_kit.places import project_root
from hnas_kit.runs.folders import Stage


def reference(stage: Stage, path: Path | None = None) -> dict[str, object] | None:
    """The values that a notebook is expected to find, None if none are recorded for its parameters.

    The parameters of the notebooks that it reads from count, too.

    Args:
        stage: the running notebook's.
        path: default ``tests/reference/<notebook>.json``.

    Raises:
        HnasError: if the record is not readable.
    """
    path = path or project_root() / "tests" / "reference" / f"{stage.notebook}.json"
    if not path.exists():
        return None
    try:
        record = json_value(path)
        return record["values"] if record["lineage"] == stage.lineage else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HnasError(
            f"{path} is not a readable reference ({error!r}); make it with make notebooks"
        ) from error


def check(name: str, value: ArrayLike, reference: Mapping[str, object] | None, atol: float) -> None:
    """Compare a number or an array with the reference value of that name; prints one constant line.

    Raises:
        HnasError: if it differs by more than ``atol`` anywhere, is not finite, or there is no such reference.
    """
    if reference is None:
        print(f"{name}: not compared, there is no reference for these parameters")
        return
    if name not in reference:
        raise HnasError(f"there is no reference value {name!r}; allowed: {', '.join(reference)}")
    expected, value = np.asarray(reference[name], float), np.asarray(value, float)
    if value.shape != expected.shape or not np.all(np.abs(value - expected) <= atol):
        raise HnasError(f"{name} is {value}, expected {expected} within {atol}")
    print(f"{name}: within {atol} of the reference")

"""Numbers that cannot be what they seem: one line each, for a notebook and the report of its run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    import pandas as pd


def one_class(outputs: ArrayLike) -> list[str]:
    """Architectures that answer the same for every image; (N, B, C) class probabilities."""
    answers = np.asarray(outputs).argmax(axis=2)
    same = int((answers == answers[:, :1]).all(axis=1).sum()) if answers.shape[1] > 1 else 0
    if not same:
        return []
    return [f"{same} of {len(answers)} architectures predict one class for all {answers.shape[1]} images"]


def at_chance(accuracies: ArrayLike, classes: int, images: int, epochs: int) -> list[str]:
    """Accuracies (fractions) that after some epochs are on average no better than guessing.

    Guessing is 1 / ``classes``, and twice its standard error on so many images.
    """
    chance, mean = 1 / classes, float(np.mean(accuracies))
    if not epochs or mean > chance + 2 * math.sqrt(chance * (1 - chance) / images):
        return []
    trained = f"after {epochs} epoch{'s' if epochs > 1 else ''} of pre-training"
    return [f"mean accuracy {100 * mean:.1f} % {trained}: guessing gives {100 * chance:.1f} %"]


def equal_rows(distances: ArrayLike, names: Sequence[str]) -> list[str]:
    """Architectures of an (N, N) distance matrix that no distance tells apart."""
    groups: dict[bytes, list[str]] = {}
    for name, row in zip(names, np.asarray(distances), strict=True):
        groups.setdefault((row + 0.0).tobytes(), []).append(name)
    equal = [group for group in groups.values() if len(group) > 1]
    if not equal:
        return []
    count, (first, second, *_) = sum(map(len, equal)), equal[0]
    return [f"{count} architectures have the distances of another one, as {first}, {second}"]


def never_repeats(
    histories: Mapping[str, pd.DataFrame], archs: float, weighs: Mapping[str, bool]
) -> list[str]:
    """Third phases that never draw an architecture twice, where uniform draws would have done so.

    Args:
        histories: of each search, see :meth:`hnas_kit.search.History.frame`.
        archs: number of architectures that there are.
        weighs: whether the search's sampler prefers some.
    """
    lines = []
    for name, history in histories.items():
        drawn = history.loc[history["phase"] == "search", "architecture"]
        pairs = len(drawn) * (len(drawn) - 1) / 2
        # of uniform draws none would be a repetition with probability exp(-pairs / archs), at most 1 in 20
        if weighs[name] and pairs >= 3 * archs and drawn.nunique() == len(drawn):
            lines.append(f"{name}: the third phase's {len(drawn)} draws are all different, of {archs:g}")
    return lines


def shown(*found: Sequence[str]) -> list[str]:
    """Print lines, marked, and give them as one list."""
    lines = [line for part in found for line in part]
    for line in lines:
        print(f"look at this: {line}")
    return lines

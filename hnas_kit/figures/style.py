"""The look that all figures share, and what several of them draw."""

from collections.abc import Iterable, Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from numpy.typing import ArrayLike

from hnas_kit.training import PHASES

# Okabe and Ito, "Color universal design" (2008): told apart by readers of every kind of colour vision
BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, YELLOW, BLACK, GRAY = "#56B4E9", "#CC79A7", "#F0E442", "#000000", "#6B6B6B"

COLOURS = {
    "learned": BLUE,
    "default": VERMILLION,
    "random": GRAY,
    "uniform": GREEN,
    "regularised": BLACK,
    "boltzmann": PURPLE,
    "independent": ORANGE,
    "mixture": SKY,
    "accuracy": YELLOW,
    "relearned": "#003D66",
}

OTHERS = ("#4d4d4d", "#e3a5b8", "#88c0d0", "#a3be8c", "#d08770")  # of methods with a label of their own

ACCURACY = mpl.colormaps["viridis"]

DRAWN = "validation accuracy of the drawn\narchitecture in the supernet (%)"
TRULY = "true accuracy of the drawn\narchitecture (%)"


def colours(names: Iterable[str]) -> dict[str, str]:
    """A colour for each method, the usual one if it has one."""
    names = list(names)
    own = [name for name in names if name not in COLOURS]
    return {name: COLOURS.get(name) or OTHERS[own.index(name) % len(OTHERS)] for name in names}


def shade(share: float) -> tuple[str, str]:
    """The colour of an accuracy between the worst (0) and the best (1), and one that is read on it."""
    colour = ACCURACY(float(np.clip(share, 0, 1)))
    dark = np.dot(colour[:3], (0.299, 0.587, 0.114)) < 0.55
    return mpl.colors.to_hex(colour), "white" if dark else "black"


def use_style() -> None:
    """The look that all figures share."""
    sns.set_theme(context="notebook", style="ticks", font_scale=0.9)
    mpl.rcParams.update(
        {
            "figure.dpi": 90,
            "savefig.dpi": 110,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": "medium",
            "legend.frameon": False,
            "figure.constrained_layout.use": True,
            "text.parse_math": False,  # a class may be called a$b$
        }
    )


def plain(*axes: Axis) -> None:
    """Plain numbers along logarithmic axes, where Matplotlib writes mathematics, which is not parsed here."""
    for axis in axes:
        axis.set_major_formatter("{x:,g}")
        axis.set_minor_formatter(mpl.ticker.NullFormatter())


def smooth(values: ArrayLike, window: int = 0) -> np.ndarray:
    """Running mean over the last ``window`` values (fewer at the start); 0: over a twentieth of them."""
    window = window or max(len(values) // 20, 1)
    return pd.Series(np.asarray(values, float)).rolling(window, min_periods=1).mean().to_numpy()


def dots(
    axis: Axes,
    groups: Mapping[str, ArrayLike],
    area: float,
    alpha: float,
    spread: float = 0.2,
    colours: Sequence[ArrayLike | str] | None = None,
) -> None:
    """One row of dots a group, the first on top, moved up and down at random so that equal ones are seen.

    The movements are the same at every call: a run that is made again gives the same picture.
    """
    rng, colours = np.random.default_rng(0), colours or [BLUE] * len(groups)
    for place, (values, colour) in enumerate(zip(groups.values(), colours, strict=True)):
        moved = place + rng.uniform(-spread, spread, len(values))
        axis.scatter(values, moved, area, color=colour, alpha=alpha, linewidth=0)
    axis.set_yticks(range(len(groups)), groups)
    axis.set_ylim(len(groups) - 0.5, -0.5)


def mark_phases(axis: Axes, starts: Sequence[int], steps: int) -> None:
    bounds = [*starts, steps]
    for i, name in enumerate(PHASES):
        axis.axvspan(bounds[i], bounds[i + 1], color="0.5", alpha=0.05 * i, linewidth=0)
        middle = (bounds[i] + bounds[i + 1]) / 2
        where = {"transform": axis.get_xaxis_transform(), "ha": "center"}
        axis.text(middle, 1.01, name, size="small", color="0.4", **where)
    axis.set_xlim(0, steps)

"""The look that all figures share, and what several of them draw."""

from collections.abc import Iterable, Sequence

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
}

OTHERS = ("#4d4d4d", "#e3a5b8", "#88c0d0", "#a3be8c", "#d08770")  # of methods with a label of their own

ACCURACY = mpl.colormaps["viridis"]


def colours(names: Iterable[str]) -> dict[str, str]:
    """A colour for each method, the usual one if it has one."""
    names = list(names)
    own = [name for name in names if name not in COLOURS]
    return {name: COLOURS.get(name) or OTHERS[own.index(name) % len(OTHERS)] for name in names}


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


def smooth(values: ArrayLike, window: int) -> np.ndarray:
    """Running mean over the last ``window`` values (fewer at the start)."""
    return pd.Series(np.asarray(values, float)).rolling(window, min_periods=1).mean().to_numpy()


def mark_phases(axis: Axes, starts: Sequence[int], steps: int) -> None:
    bounds = [*starts, steps]
    for i, name in enumerate(PHASES):
        axis.axvspan(bounds[i], bounds[i + 1], color="0.5", alpha=0.05 * i, linewidth=0)
        middle = (bounds[i] + bounds[i + 1]) / 2
        axis.text(
            middle, 1.01, name, transform=axis.get_xaxis_transform(), ha="center", size="small", color="0.4"
        )
    axis.set_xlim(0, steps)

"""Figures of data, architectures, a supernet's training and ranking, and distances."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from hnas_kit.figures.style import ACCURACY, smooth
from hnas_kit.spaces import Arch, PoolingSpace, SearchSpace

SHOWN = 400  # rows of a distance matrix

ROWS = 36  # of a figure of architectures


def images(x: ArrayLike, y: ArrayLike, classes: Sequence[str], rows: int = 2, columns: int = 10) -> Figure:
    """A grid of images as the network sees them; ``x`` is (N, C, H, W), each rescaled to be shown."""
    x, y = np.asarray(x), np.asarray(y)
    figure, axes = plt.subplots(rows, columns, figsize=(columns * 0.85, rows * 1.05))
    for axis, image, label in zip(axes.flat, x, y, strict=False):
        image = (image - image.min()) / (np.ptp(image) or 1)
        axis.imshow(image.transpose(1, 2, 0).squeeze(), cmap="gray")
        axis.set_title(classes[label], size="x-small", pad=2)
        axis.set_axis_off()
    return figure


def architectures(space: SearchSpace, archs: Sequence[Arch]) -> Figure:
    """One row an architecture, one column a layer, coloured by operation; of many architectures some.

    In the Pooling space, where an operation acts on all layers behind it, by the layer's resolution.
    """
    archs = [archs[i] for i in np.linspace(0, len(archs) - 1, min(len(archs), ROWS)).round().astype(int)]
    labels = [space.format(arch) for arch in archs]
    if isinstance(space, PoolingSpace):
        cells = np.array([np.cumsum((0, *arch)) for arch in archs])
        columns, names = ["stem", *map(str, range(1, 10))], ["full", "half", "quarter"]
        title, shades = "resolution of each layer", ["#1f5fa8", "#7fb2d9", "#dcebf5"]
    else:
        cells, columns = np.array(archs), [str(layer) for layer in range(1, space.num_layers + 1)]
        names = max(space.ops, key=len)
        title, shades = "operation of each layer", sns.color_palette("crest", len(names))
        shades = [
            "#e1e7ea" if name == "identity" else shade for name, shade in zip(names, shades, strict=True)
        ]
    figure, axis = plt.subplots(figsize=(5, 6.2))
    colours = mpl.colors.ListedColormap(shades)
    axis.pcolormesh(cells, cmap=colours, vmin=0, vmax=len(names) - 1, edgecolors="white", linewidth=0.6)
    axis.invert_yaxis()
    axis.set_yticks(np.arange(len(labels)) + 0.5, labels, size="xx-small", family="monospace")
    axis.set_xticks(np.arange(len(columns)) + 0.5, columns)
    axis.set(xlabel="layer", title=title)
    handles = [mpl.patches.Patch(color=colours(i), label=name) for i, name in enumerate(names)]
    axis.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.09), ncols=3)
    sns.despine(figure, left=True, bottom=True)
    axis.tick_params(length=0)
    return figure


def loss_curve(losses: ArrayLike, steps_per_epoch: int) -> Figure:
    """Training loss by epoch: every step, and the mean over an epoch."""
    epochs = np.arange(1, len(losses) + 1) / steps_per_epoch
    figure, axis = plt.subplots(figsize=(6, 3))
    axis.plot(epochs, losses, color="#bcd2e8", linewidth=0.6, label="each step (one architecture)")
    axis.plot(epochs, smooth(losses, steps_per_epoch), color="#1f5fa8", label="mean over an epoch")
    axis.set(
        xlabel="epoch",
        ylabel="training loss",
        xlim=(0, max(len(losses), 1) / steps_per_epoch),
        ylim=(0, None),
    )
    axis.legend()
    return figure


def ranking(
    estimate: pd.Series, truth: pd.Series, tau: float, what: str = "accuracy in the supernet (%)"
) -> Figure:
    """Estimated against true accuracy, the estimate's favourite and the truly best one named."""
    figure, axis = plt.subplots(figsize=(6.6, 3.6))
    axis.scatter(truth, estimate, c=truth, cmap=ACCURACY, s=28)
    favourite, best = estimate.idxmax(), truth.idxmax()
    for name, word, colour in ((best, "truly best", "#d9772b"), (favourite, "favourite", "#c22f4e")):
        axis.scatter(truth[name], estimate[name], s=110, facecolors="none", edgecolors=colour, linewidths=1.8)
        axis.scatter(
            [], [], s=60, facecolors="none", edgecolors=colour, linewidths=1.8, label=f"{word}: {name}"
        )
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axis.margins(0.1)
    axis.set(xlabel="true accuracy, trained alone (%)", ylabel=what, title=f"Kendall's tau {tau:.2f}")
    return figure


def distance_matrices(matrices: Mapping[str, np.ndarray], labels: Sequence[str]) -> Figure:
    """Distance matrices side by side, coloured from the smallest to the largest between two (Fig. 4).

    Of more than ``SHOWN`` architectures so many are shown, evenly spaced.
    """
    labels = labels[:: (every := -(-len(labels) // SHOWN))]
    matrices = {name: matrix[::every, ::every] for name, matrix in matrices.items()}
    figure, axes = plt.subplots(1, len(matrices), figsize=(3.7 * len(matrices), 3.6), squeeze=False)
    step = max(len(labels) // 9, 1)
    ticks = np.arange(0, len(labels), step)
    for axis, (name, matrix) in zip(axes.flat, matrices.items(), strict=True):
        between = matrix[~np.eye(len(matrix), dtype=bool)]
        shown = axis.imshow((matrix - between.min()) / (np.ptp(between) or 1), cmap="viridis", vmin=0, vmax=1)
        axis.set_xticks(ticks, [labels[i] for i in ticks], rotation=90, size="x-small", family="monospace")
        axis.set_yticks(ticks, [labels[i] for i in ticks], size="x-small", family="monospace")
        axis.set_title(name)
    figure.colorbar(shown, ax=axes, shrink=0.75, label="from smallest to largest")
    return figure

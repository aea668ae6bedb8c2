"""Figures of data, architectures, a supernet's training and ranking, and distances."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist

from hnas_kit.figures.style import ACCURACY, BLUE, SKY, VERMILLION, smooth
from hnas_kit.spaces import Arch, PoolingSpace, SearchSpace

SHOWN = 400  # rows of a distance matrix

ROWS = 36  # of a figure of architectures


def images(x: ArrayLike, y: ArrayLike, classes: Sequence[str], rows: int = 2, columns: int = 10) -> Figure:
    """A grid of images as the network sees them; ``x`` is (N, C, H, W), each rescaled to be shown."""
    x, y = np.asarray(x), np.asarray(y)
    figure, axes = plt.subplots(rows, columns, figsize=(columns * 0.85, rows * 1.05))
    for axis, image, label in zip(axes.flat, x, y, strict=False):
        _show(axis, image)
        axis.set_title(classes[label], size="x-small", pad=2)
    return figure


def _show(axis: Axes, image: np.ndarray) -> None:
    """An image (C, H, W), from its darkest to its brightest value."""
    image = (image - image.min()) / (np.ptp(image) or 1)
    axis.imshow(image.transpose(1, 2, 0).squeeze(), cmap="gray")
    axis.set_axis_off()


def architectures(space: SearchSpace, archs: Sequence[Arch]) -> Figure:
    """One row an architecture, one column a layer, coloured by operation; of many architectures some.

    In the Pooling space, where an operation acts on all layers behind it, by the layer's resolution.
    """
    archs = [archs[i] for i in np.linspace(0, len(archs) - 1, min(len(archs), ROWS)).round().astype(int)]
    labels = [space.format(arch) for arch in archs]
    if isinstance(space, PoolingSpace):
        cells = np.array([np.cumsum((0, *arch)) for arch in archs])
        columns, names = ["stem", *map(str, range(1, 10))], ["full", "half", "quarter"]
        title, shades = "resolution of each layer", [BLUE, SKY, "#dcebf5"]
    else:
        cells, columns = np.array(archs), [str(layer) for layer in range(1, space.num_layers + 1)]
        names = max(space.ops, key=len)
        title, shades = "operation of each layer", sns.color_palette("crest", len(names))
        if "identity" in names:
            shades[names.index("identity")] = "#e1e7ea"
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
    axis.plot(epochs, losses, color="0.8", linewidth=0.6, label="each step (one architecture)")
    axis.plot(epochs, smooth(losses, steps_per_epoch), color=BLUE, label="mean over an epoch")
    longest = max(len(losses), 1) / steps_per_epoch
    axis.set(xlabel="epoch", ylabel="training loss", xlim=(0, longest), ylim=(0, None))
    axis.legend()
    return figure


def ranking(estimate: pd.Series, truth: pd.Series, tau: float) -> Figure:
    """Estimated against true accuracy; the estimate's favourite and the truly best one are named."""
    figure, axis = plt.subplots(figsize=(6.6, 4.2))
    axis.scatter(truth, estimate, color="0.55", s=28)
    favourite, best = estimate.idxmax(), truth.idxmax()
    for name, word, colour, side, corner in (  # corners that are empty where the estimate orders well
        (best, "truly best", BLUE, "right", (0.98, 0.2)),
        (favourite, "favourite", VERMILLION, "left", (0.02, 0.94)),
    ):
        point, line = (truth[name], estimate[name]), {"arrowstyle": "-", "color": colour}
        axis.scatter(*point, s=60, color=colour, zorder=3)
        text = {"ha": side, "color": colour, "weight": "bold"}
        axis.annotate(f"{word}: {name}", point, corner, textcoords="axes fraction", arrowprops=line, **text)
    axis.margins(0.12)
    rank = int((truth > truth[favourite]).sum()) + 1
    title = f"The favourite is truly number {rank} of {len(truth)} (Kendall's tau {tau:.2f})"
    there = "true accuracy, trained alone (%)"
    axis.set(xlabel=there, ylabel="accuracy in the supernet (%)", title=title)
    return figure


def disagreement(
    outputs: np.ndarray, x: np.ndarray, y: np.ndarray, names: Sequence[str], classes: Sequence[str]
) -> Figure:
    """The image on which networks disagree most, four answers to it, and the KL divergence of each two.

    The first of the four is the surest, each other one the farthest from those before it.

    Args:
        outputs: (N, B, C) class probabilities of N networks.
        x, y: (B, channels, height, width) and (B,), the images and their labels.
        names: of the networks.
        classes: names of the C classes.
    """
    worst = int(outputs.var(axis=0).sum(axis=1).argmax())
    answers = outputs[:, worst].astype(float)
    four = [int(answers.max(axis=1).argmax())]
    while len(four) < min(4, len(answers)):
        far = cdist(answers, answers[four]).min(axis=1)
        far[four] = -1  # none twice, even if all answer alike
        four.append(int(far.argmax()))
    four.sort()
    answers, names = answers[four], [names[i] for i in four]
    kept = np.sort(np.argsort(-answers.max(axis=0), kind="stable")[:6])  # classes that somebody answers
    widths = [1.2, *[1] * len(names), 2]
    figure, axes = plt.subplots(1, len(widths), figsize=(11, 2.9), width_ratios=widths)
    _show(axes[0], x[worst])
    axes[0].set_title(f"it is: {classes[y[worst]]}")
    for axis, name, answer in zip(axes[1:-1], names, answers, strict=True):
        top = answer[kept] == answer.max()
        bars = axis.barh(range(len(kept)), 100 * answer[kept], color=np.where(top, VERMILLION, "0.75"))
        axis.bar_label(bars, fmt="%.0f", padding=2, size="small")
        axis.set_yticks(range(len(kept)), [classes[c] for c in kept] if axis is axes[1] else [])
        axis.set(xlim=(0, 125), ylim=(len(kept) - 0.5, -0.5), title=name, xlabel="probability (%)")
        axis.set_xticks([0, 50, 100])
    logs = np.log(np.maximum(answers, 1e-9))
    kl = np.einsum("ic,ijc->ij", answers, logs[:, None] - logs[None])
    axes[-1].imshow(kl, cmap="Greys", vmin=0, vmax=1.6 * kl.max())
    for (i, j), value in np.ndenumerate(kl):
        axes[-1].text(j, i, f"{value:.1f}", ha="center", va="center")
    axes[-1].set_xticks(range(len(names)), names, size="small", rotation=30)
    axes[-1].set_yticks(range(len(names)), names, size="small")
    axes[-1].set(title="KL(row, column), nats")
    axes[-1].tick_params(length=0)
    count = len({int(answer.argmax()) for answer in answers})
    figure.suptitle(f"{len(names)} networks, one image, {count} different choices", size="medium")
    return figure


def ordered_distances(
    distance: np.ndarray, order: Sequence[int], labels: Sequence[str], truth: ArrayLike | None
) -> Figure:
    """A distance matrix with its rows in the order of a dendrogram, and true accuracies in a strip beside it.

    Args:
        distance: (N, N).
        order: (N,) positions, from top to bottom.
        labels: text of each architecture.
        truth: (N,) true accuracy (%) of each, or None.
    """
    order = np.asarray(order)
    figure, axes = plt.subplots(1, 2, figsize=(8, 6), width_ratios=(20, 1))
    shown = axes[0].imshow(distance[np.ix_(order, order)], cmap="Greys_r", aspect="auto")
    ticks = range(0, len(order), -(-len(order) // ROWS))
    axes[0].set_yticks(ticks, [labels[order[i]] for i in ticks], size="x-small", family="monospace")
    axes[0].set_xticks([])
    axes[0].tick_params(length=0)
    said = "distance; dark: the two answer alike"
    figure.colorbar(shown, ax=axes[0], location="bottom", shrink=0.6, aspect=40, pad=0.02, label=said)
    title = "Architectures that answer alike, side by side"
    if truth is None:
        axes[1].set_axis_off()
    else:
        ordered = np.asarray(truth)[order]
        strip = axes[1].imshow(ordered[:, None], cmap=ACCURACY, aspect="auto")
        axes[1].set(xticks=[], yticks=[])
        said = "strip: true accuracy (%), which no distance knew"
        figure.colorbar(strip, ax=axes, shrink=0.6, aspect=30, pad=0.01, label=said)
        title += f": adjacent rows are {np.abs(np.diff(ordered)).mean():.1f} points of true accuracy apart"
    figure.suptitle(title, size="medium")
    return figure


def distance_matrices(matrices: Mapping[str, np.ndarray], labels: Sequence[str]) -> Figure:
    """Distance matrices side by side, coloured from the smallest to the largest between two (Fig. 4).

    Of more than ``SHOWN`` architectures so many are shown, evenly spaced.
    """
    labels = labels[:: (every := -(-len(labels) // SHOWN))]
    matrices = {name: matrix[::every, ::every] for name, matrix in matrices.items()}
    figure, axes = plt.subplots(1, len(matrices), figsize=(2.4 * len(matrices) + 1, 3), squeeze=False)
    ticks = np.arange(0, len(labels), max(len(labels) // 9, 1))
    said = {"ticks": ticks, "labels": [labels[i] for i in ticks], "size": "x-small", "family": "monospace"}
    for axis, (name, matrix) in zip(axes.flat, matrices.items(), strict=True):
        between = matrix[~np.eye(len(matrix), dtype=bool)]
        shown = axis.imshow((matrix - between.min()) / (np.ptp(between) or 1), cmap="viridis", vmin=0, vmax=1)
        axis.set_xticks(**said, rotation=90)
        axis.set_yticks(**(said if axis is axes[0, 0] else {"ticks": []}))
        axis.set_title(name)
    figure.colorbar(shown, ax=axes, shrink=0.75, label="from smallest to largest")
    return figure

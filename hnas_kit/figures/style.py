"""Every figure of the notebooks and the report; each function returns a Matplotlib figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from hnas_kit import compiled
from hnas_kit.schedule import PHASES
from hnas_kit.spaces import Arch, PoolingSpace, SearchSpace

COLOURS = {
    "learned": "#1f5fa8",
    "default": "#d9772b",
    "random": "#8a8a8a",
    "uniform": "#3a8f5c",
    "regularised": "#8a5a2b",
    "boltzmann": "#7b4fa0",
    "independent": "#c22f4e",
    "mixture": "#2a9d9d",
    "accuracy": "#b59b1c",
}
OTHERS = ("#4d4d4d", "#e3a5b8", "#88c0d0", "#a3be8c", "#d08770")  # of methods with a label of their own
ACCURACY = mpl.colormaps["viridis"]
SHOWN = 400  # rows of a distance matrix
ROWS = 36  # of a figure of architectures
BARS = 60  # of a histogram over ranks


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
        }
    )


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


def smooth(values: ArrayLike, window: int) -> np.ndarray:
    """Running mean over the last ``window`` values (fewer at the start)."""
    return pd.Series(np.asarray(values, float)).rolling(window, min_periods=1).mean().to_numpy()


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


def mark_phases(axis: Axes, starts: Sequence[int], steps: int) -> None:
    bounds = [*starts, steps]
    for i, name in enumerate(PHASES):
        axis.axvspan(bounds[i], bounds[i + 1], color="0.5", alpha=0.05 * i, linewidth=0)
        middle = (bounds[i] + bounds[i + 1]) / 2
        axis.text(
            middle, 1.01, name, transform=axis.get_xaxis_transform(), ha="center", size="small", color="0.4"
        )
    axis.set_xlim(0, steps)


def search_curves(
    histories: Mapping[str, pd.DataFrame],
    starts: Sequence[int],
    steps: int,
    rewards: Mapping[str, str],
    truth: pd.Series | None,
) -> Figure:
    """Over the steps of each search: reward and true accuracy of the drawn architectures (Fig. 3 right).

    A search with more steps than ``steps`` (a mixture) is drawn to the same length. ``rewards`` names the
    reward of each; those that learn from another one than the first are not drawn on the left.
    """
    panels = 1 if truth is None else 2
    figure, axes = plt.subplots(1, panels, figsize=(4.5 * panels + 0.9, 3.4), squeeze=False)
    reward, colour, lines = rewards[next(iter(histories))], colours(histories), {}
    percent = 100 if reward == "absolute validation accuracy" else 1
    for name, history in histories.items():
        step, window = np.linspace(0, steps, len(history)), max(len(history) // 20, 1)
        shown = [(axes[0, 0], percent * history["reward"])] if rewards[name] == reward else []
        if truth is not None:
            shown.append((axes[0, 1], truth[history["architecture"]]))
        for axis, values in shown:
            (lines[name],) = axis.plot(step, smooth(values.to_numpy(), window), color=colour[name])
    what = "validation accuracy of the drawn\narchitecture in the supernet (%)"
    axes[0, 0].set(xlabel="step", ylabel=what if percent == 100 else f"{reward}\nof the drawn architecture")
    if truth is not None:
        axes[0, 1].axhline(truth.mean(), color="0.7", linestyle=":")
        axes[0, 1].set(xlabel="step", ylabel="true accuracy of the drawn\narchitecture (%)")
    for axis in axes.flat:
        mark_phases(axis, starts, steps)
    figure.legend(lines.values(), lines, loc="outside right center")
    return figure


def visits_by_rank(histories: Mapping[str, pd.DataFrame], ranks: pd.Series) -> Figure:
    """How often the third phase drew each architecture, from the truly best to the truly worst.

    Many architectures are taken together, in groups of neighbouring ranks.
    """
    figure, axes = plt.subplots(
        1, len(histories), figsize=(3.4 * len(histories), 2.9), sharey=True, squeeze=False
    )
    order = ranks.sort_values()
    for axis, (name, history) in zip(axes.flat, histories.items(), strict=True):
        drawn = history.loc[history["phase"] == PHASES[2], "architecture"]
        share = drawn.value_counts(normalize=True).reindex(order.index, fill_value=0).to_numpy()
        size = -(-len(order) // BARS)
        starts = np.arange(0, len(order), size)
        axis.bar(
            starts + (1 + size) / 2,
            100 * np.add.reduceat(share, starts),
            color=colours(histories)[name],
            width=0.85 * size,
        )
        axis.axhline(100 * size / len(order), color="0.5", linestyle=":")
        axis.set(xlabel="true rank", title=name)
    axes[0, 0].set_ylabel("draws in the third phase (%)")
    return figure


def bonuses(exploration: float, temperature: float, parent: int = 1000) -> Figure:
    """The exploration bonus of a node by its visits, by Eq. 3 and by Algorithm 1 as typeset; T beside them.

    Args:
        exploration: lambda, above 0.
        temperature: T; a difference between siblings that is larger decides the draw.
        parent: visits of its parent.
    """
    visits = np.unique(np.geomspace(1, parent, 200).astype(int))
    figure, axis = plt.subplots(figsize=(6, 3.4))
    for name, label, linear in (
        ("learned", "Eq. 3: λ sqrt(ln N / n)", False),
        ("default", "Algorithm 1: λ sqrt(ln N) / n", True),
    ):
        added = [compiled.bonus(exploration, linear, np.log(parent), n) for n in visits]
        axis.loglog(visits, added, color=COLOURS[name], label=label)
        there = compiled.bonus(exploration, linear, np.log(parent), parent // 10)
        axis.plot(parent // 10, there, "o", color=COLOURS[name])
        axis.annotate(f"{there:.2g}", (parent // 10, there), (6, 4), textcoords="offset points")
    axis.axhline(temperature, color="0.6", linestyle=":")
    axis.annotate(f"T = {temperature:g}", (1, temperature), (2, 3), textcoords="offset points", color="0.4")
    axis.set(xlabel=f"visits n of a node, of N = {parent:,} of its parent", ylabel="bonus added to C")
    axis.legend()
    return figure


def uct_terms(terms: pd.DataFrame, starts: Sequence[int], steps: int) -> Figure:
    """The two terms of R over the steps, as differences between siblings in units of T.

    Args:
        terms: indexed by step; columns ``C`` and ``exploration``: mean over visited inner nodes of the
            largest difference between siblings, divided by the step's T.
        starts: first step of each phase.
        steps: number of steps.
    """
    figure, axis = plt.subplots(figsize=(6, 3.4))
    axis.semilogy(terms["C"], color=COLOURS["learned"], label="accuracy term C")
    axis.semilogy(terms["exploration"], color=COLOURS["default"], label="exploration term")
    axis.axhline(1, color="0.6", linestyle=":")
    axis.yaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(mpl.ticker.FormatStrFormatter("%g"))
    axis.yaxis.set_minor_formatter(mpl.ticker.NullFormatter())
    axis.set(xlabel="step", ylabel="difference between siblings / T")
    mark_phases(axis, starts, steps)
    axis.legend()
    return figure

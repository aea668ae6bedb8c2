"""Figures of the ImageNet space: architectures (Fig. 6), and what a window of MACs leaves of it."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import ArrayLike

from hnas_kit.figures.style import COLOURS, DRAWN, smooth
from hnas_kit.spaces import Arch, MobileSpace
from hnas_kit.training import PHASES

KERNELS = dict(zip(("k3", "k5", "k7"), sns.color_palette("YlGnBu", 6)[1::2], strict=True))
IDENTITY = "0.88"
HEIGHTS = {"e3": 0.55, "e6": 1.0}  # of a block, by expansion
SQUEEZED, PLAIN = {"edgecolor": "0.1", "linewidth": 2.2}, {"edgecolor": "0.6", "linewidth": 0.5}


def mobile_architectures(archs: Mapping[str, Arch]) -> Figure:
    """Architectures of the ImageNet space as rows of blocks, from the input on the left.

    Colour: kernel size; height: expansion; thick border: squeeze-excitation; flat and gray: identity. Gaps
    part the stages, which have one width and resolution each.

    Args:
        archs: by the title of each row.
    """
    space = MobileSpace()
    figure, axes = plt.subplots(len(archs), 1, figsize=(9.5, 1.25 * len(archs) + 0.5), squeeze=False)
    stage_of = [stage for stage, length in enumerate(space.stages) for _ in range(length)]
    for axis, (title, arch) in zip(axes.flat, archs.items(), strict=True):
        places = [layer + 0.6 * stage_of[layer] for layer in range(space.num_layers)]
        for layer, (place, op) in enumerate(zip(places, arch, strict=True)):
            kernel, *rest = space.ops[layer][op].split()
            height = HEIGHTS[rest[0]] if rest else 0.12
            look = {"color": KERNELS.get(kernel, IDENTITY), **(SQUEEZED if "se" in rest else PLAIN)}
            axis.bar(place, height, bottom=-height / 2, width=0.8, **look)
        axis.axhline(0, color="0.6", linewidth=0.8, zorder=0)
        axis.set_title(title, loc="left", size="small")
        axis.set(ylim=(-0.6, 0.6), yticks=[], xlim=(-1, places[-1] + 1))
        axis.set(xticks=[])
        axis.tick_params(axis="x", length=0, labelsize="x-small")
        sns.despine(ax=axis, left=True, bottom=True)
    axis.set_xticks(places, range(1, 1 + space.num_layers))
    axis.set_xlabel("layer", size="small")
    handles = [Patch(color=colour, label=f"kernel {kernel[1]}") for kernel, colour in KERNELS.items()]
    handles += [
        Patch(color=IDENTITY, label="identity"),
        Patch(facecolor="white", **SQUEEZED, label="squeeze-excitation"),
        Patch(facecolor="white", **PLAIN, label="high: expansion 6, low: 3"),
    ]
    figure.legend(handles=handles, loc="outside right center", fontsize="x-small")
    return figure


def macs_histogram(macs: ArrayLike, low: float, high: float) -> Figure:
    """MACs (millions) of uniform draws from the whole space, and where the window is."""
    figure, axis = plt.subplots(figsize=(6.4, 2.9))
    axis.hist(macs, bins=80, range=(min(*macs, low), max(macs)), color="#bcd2e8")
    axis.axvspan(low, high, color="#c22f4e")
    name, point = f"the window,\n{low:g} to {high:g} M", ((low + high) / 2, 0.55 * axis.get_ylim()[1])
    axis.annotate(name, point, (12, 0), textcoords="offset points", color="#c22f4e", size="small")
    axis.set(xlabel="MACs of a network (millions)", ylabel=f"of {len(macs):,} draws")
    return figure


def operation_shares(shares: Mapping[str, np.ndarray]) -> Figure:
    """How often each operation stands in each layer, (layers, operations) tables side by side."""
    space = MobileSpace()
    figure, axes = plt.subplots(1, len(shares), figsize=(4.9 * len(shares), 3.3), squeeze=False, sharey=True)
    largest = max(table.max() for table in shares.values())
    bounds = np.cumsum(space.stages)[:-1]
    for axis, (title, table) in zip(axes.flat, shares.items(), strict=True):
        shown = axis.pcolormesh(100 * table.T, cmap="Blues", norm=PowerNorm(0.5, 0, 100 * largest))
        for bound in bounds:
            axis.axvline(bound, color="0.35", linewidth=0.8)
        axis.set_xticks(np.arange(space.num_layers) + 0.5, range(1, space.num_layers + 1), size="x-small")
        axis.set(title=title, xlabel="layer")
    axes[0, 0].set_yticks(np.arange(len(space.ops[0])) + 0.5, space.ops[0], size="x-small")
    axes[0, 0].invert_yaxis()
    for axis in axes.flat:
        sns.despine(ax=axis, left=True, bottom=True)
        axis.tick_params(length=0)
    figure.colorbar(shown, ax=axes, label="share (%)", pad=0.01)
    return figure


def draws_and_rewards(histories: Mapping[str, pd.DataFrame], chance: float) -> Figure:
    """Over the steps of each search: reward of the draws, and how many different ones there were so far.

    Args:
        histories: of each method, see :meth:`hnas_kit.search.History.frame`.
        chance: accuracy of guessing, a fraction.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.9, 3.3))
    for i, (name, history) in enumerate(histories.items()):
        left.plot(100 * smooth(history["reward"]), color=COLOURS[name], label=name)
        fresh = ~history["architecture"].duplicated()
        # curves may lie on each other: the later, the thinner
        right.plot(fresh.cumsum(), color=COLOURS[name], linewidth=1.5 + 1.5 * (len(histories) - 1 - i))
    left.axhline(100 * chance, color="0.6", linestyle=":")
    left.set(ylabel=DRAWN)
    right.set(ylabel="different architectures so far")
    phase = next(iter(histories.values()))["phase"]
    for axis in (left, right):
        for name in PHASES[1:]:
            axis.axvline((phase == name).to_numpy().argmax(), color="0.8", linewidth=1, zorder=0)
        axis.set(xlabel="step", xlim=(0, len(phase)), ylim=(0, None))
    figure.legend(*left.get_legend_handles_labels(), loc="outside right center")
    return figure

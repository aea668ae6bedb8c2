"""The figure of an ImageNet architecture (Fig. 6)."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from hnas_kit.spaces import Arch, MobileSpace

KERNELS = dict(zip(("k3", "k5", "k7"), sns.color_palette("YlGnBu", 6)[1::2], strict=True))
IDENTITY = "0.88"
HEIGHTS = {"e3": 0.55, "e6": 1.0}  # of a block, by expansion


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
            squeezed = "se" in rest
            axis.bar(
                place,
                height,
                bottom=-height / 2,
                width=0.8,
                color=KERNELS.get(kernel, IDENTITY),
                edgecolor="0.1" if squeezed else "0.6",
                linewidth=2.2 if squeezed else 0.5,
            )
        axis.axhline(0, color="0.6", linewidth=0.8, zorder=0)
        axis.set_title(title, loc="left", size="small")
        axis.set(ylim=(-0.6, 0.6), yticks=[], xlim=(-1, places[-1] + 1))
        axis.set_xticks(places if axis is axes[-1, 0] else [], range(1, 22) if axis is axes[-1, 0] else [])
        axis.tick_params(axis="x", length=0, labelsize="x-small")
        sns.despine(ax=axis, left=True, bottom=True)
    axes[-1, 0].set_xlabel("layer", size="small")
    handles = [Patch(color=colour, label=f"kernel {kernel[1]}") for kernel, colour in KERNELS.items()]
    handles += [
        Patch(color=IDENTITY, label="identity"),
        Patch(facecolor="white", edgecolor="0.1", linewidth=2.2, label="squeeze-excitation"),
        Patch(facecolor="white", edgecolor="0.6", linewidth=0.5, label="high: expansion 6, low: 3"),
    ]
    figure.legend(handles=handles, loc="outside right center", fontsize="x-small")
    return figure

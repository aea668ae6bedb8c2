"""The figure of what goes beyond the paper."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hnas_kit.figures.readings import BONUSES
from hnas_kit.figures.style import BLUE, GRAY, plain
from hnas_kit.studies import beyond as study


def beyond(table: pd.DataFrame, benchmark: str = "macro", exploration: float = study.PAPERS) -> Figure:
    """True rank of what is found on each tree, without the prior of branches and with it.

    Args:
        table: of :func:`hnas_kit.studies.beyond.run`.
        benchmark: ``macro`` or ``pooling``.
        exploration: the paper's lambda; 0 for that of the rule.
    """
    wide = study.summary(table, exploration).loc[benchmark]
    lengths = list(dict.fromkeys(wide.columns.get_level_values("share")))
    size = 3.2 * len(lengths) + 1.6, 0.6 + 0.5 * len(wide)
    figure, axes = plt.subplots(len(BONUSES), len(lengths), figsize=size, sharex=True, sharey=True)
    y = np.arange(len(wide))
    for row, bonus in zip(axes, BONUSES, strict=True):
        for axis, share in zip(row, lengths, strict=True):
            without, leaves = (wide[bonus, share, prior] for prior in ("branches", "leaves"))
            axis.hlines(y, without, leaves, color=GRAY, linewidth=1)
            axis.plot(without, y, "o", color="white", markeredgecolor=GRAY, label="branches drawn alike")
            axis.plot(leaves, y, "o", color=BLUE, markersize=5, label="by their leaves")
            length = "the paper's length" if share == "1" else f"{share} of the paper's length"
            axis.set(xscale="log", title=f"{BONUSES[bonus]}, {length}", yticks=y)
            axis.set_yticklabels(wide.index)
            axis.grid(axis="x", alpha=0.3)
            plain(axis.xaxis)
    axes[0, 0].invert_yaxis()
    for axis in axes[-1]:
        axis.set_xlabel("true rank of what is found")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure

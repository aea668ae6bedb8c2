"""The map of the study of readings."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hnas_kit.figures.style import plain
from hnas_kit.studies import readings as study

LARGEST = {"macro": 3969, "pooling": 36}
PANELS = {
    "NAS-Bench-Macro, 3,969 architectures, trees learned from four supernets": ("macro", study.LEARNED),
    "NAS-Bench-Macro, other trees": ("macro", study.TREES[1:]),
    "Pooling, 36 architectures": ("pooling", study.TREES),
}
BONUSES = {"sqrt": "Eq. 3", "linear": "Algorithm 1"}


def readings(table: pd.DataFrame) -> Figure:
    """True rank of what is found: bonus and lambda by tree and length; the paper's own cells are framed.

    Args:
        table: of :func:`hnas_kit.studies.readings.run`.
    """
    rows = study.usual(table)
    figure, axes = plt.subplots(3, 1, figsize=(10.5, 12))
    for axis, (title, (benchmark, shown)) in zip(axes, PANELS.items(), strict=True):
        own = rows[(rows["benchmark"] == benchmark) & rows["tree"].isin(shown)]
        found = own.pivot(index=["bonus", "exploration"], columns=["tree", "share"], values="found")
        shares = list(own["share"].unique())
        trees = [tree for tree in shown if tree in set(own["tree"])]
        found = found.reindex(
            index=pd.MultiIndex.from_product([BONUSES, study.LAMBDAS]),
            columns=pd.MultiIndex.from_product([trees, shares]),
        )
        sns.heatmap(
            found, ax=axis, cmap="viridis", norm=LogNorm(1, LARGEST[benchmark]),
            annot=True, fmt=".0f", annot_kws={"size": 8}, linewidths=0.4, cbar_kws={"label": "found rank"},
        )  # fmt: skip
        plain(axis.collections[0].colorbar.ax.yaxis)
        axis.set_xticklabels([share for _, share in found.columns], rotation=0)
        for x, tree in enumerate(trees):
            axis.text((x + 0.5) * len(shares), -0.2, f"{tree} tree", ha="center", va="bottom")
        axis.set_yticklabels([f"{BONUSES[bonus]}, λ = {value:g}" for bonus, value in found.index])
        for x in range(len(shares), len(found.columns), len(shares)):
            axis.axvline(x, color="white", linewidth=4)
        axis.axhline(len(study.LAMBDAS), color="white", linewidth=4)
        for y, (_, value) in enumerate(found.index):
            for x, (_, share) in enumerate(found.columns):
                if (value, share) == (0.5, "1"):
                    axis.add_patch(Rectangle((x, y), 1, 1, fill=False, edgecolor="black", linewidth=1.8))
        axis.set_title(title, loc="left", pad=22)
        axis.set(xlabel="share of the paper's number of steps", ylabel="")
    return figure

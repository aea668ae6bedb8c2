"""The figure of the study of trees."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hnas_kit.figures.style import BLACK, BLUE, ORANGE, PURPLE, VERMILLION
from hnas_kit.names import MEASURES
from hnas_kit.studies import forests as study

LINKAGE = {"ward": BLUE, "average": ORANGE, "complete": PURPLE}
NAMES = {"cifar10-macro": "NAS-Bench-Macro", "cifar10-pooling": "Pooling"}
PROPERTY = {
    "early_variance": "variance explained by 3 levels",
    "depth": "depth",
    "group_size": "size of the best group",
    "group_depth": "depth of the best group",
    "blind": "blind draws on the best quarter",
}


def _row(source: str) -> str:
    """The row that a tree without outputs stands in: those that differ in a number share one."""
    words = [word for word in source.replace(",", " ,").split() if not word.isdigit()]
    return " ".join(words).replace(" ,", ",")


def _kinds(axis: Axes, rows: pd.DataFrame, places: list[str]) -> None:
    """One dot a tree: how much of the third phase goes to the best quarter."""
    rng = np.random.default_rng(0)
    for place, name in enumerate(places):
        own = rows[rows["row"] == name]
        colour = own["linkage"].map(LINKAGE).fillna(VERMILLION if name == "learned" else BLACK)
        moved = place + rng.uniform(-0.25, 0.25, len(own))
        axis.scatter(own["best_quarter"], moved, s=22, color=colour, alpha=0.6, linewidth=0)
    default = rows.loc[rows["row"] == "default", "best_quarter"].iloc[0]
    axis.axvline(default, color=BLACK, linestyle=":", linewidth=1)
    axis.text(default, -0.6, "default tree", va="bottom", size="x-small")
    axis.set_yticks(range(len(places)), places)
    axis.set_ylim(len(places) - 0.5, -0.5)
    axis.set(xlim=(-0.02, 1), xlabel="share of the third phase on the truly best quarter")


def trees_compared(table: pd.DataFrame) -> Figure:
    """Which trees steer a short search, and what tells it before: one column a benchmark.

    Args:
        table: of :func:`hnas_kit.studies.forests.run`.
    """
    benchmarks = [name for name in NAMES if name in set(table["benchmark"])]
    rows = table.assign(row=table["measure"].fillna(table["source"].map(_row)))
    others = [name for name in rows["row"].unique() if name not in MEASURES]
    places = [name for name in MEASURES if name in set(rows["row"])] + others
    figure, axes = plt.subplots(
        2, len(benchmarks), figsize=(5.6 * len(benchmarks) + 1, 0.36 * len(places) + 4), sharey="row",
        squeeze=False, height_ratios=(len(places), 6),
    )  # fmt: skip
    for column, name in enumerate(benchmarks):
        own = rows[rows["benchmark"] == name]
        steps = own["steps"].min()
        short = own[own["steps"] == steps].groupby(["row", *study.TREE[1:]], dropna=False, as_index=False)
        short = short["best_quarter"].mean()
        _kinds(axes[0, column], short, places)
        ward = short[short["linkage"] == "ward"].groupby("row")["best_quarter"].mean()
        said = [f"{measure} {ward[measure]:.2f}" for measure in ("kl", "sqrt_kl") if measure in ward]
        said.append(f"default tree {short.set_index('row').loc['default', 'best_quarter']:.2f}")
        axes[0, column].set_title(
            f"{NAMES[name]}, {steps:,} steps\nWard: {', '.join(said)}", loc="left", pad=16
        )
        told = study.correlations(own)
        for place, kind in enumerate(PROPERTY):
            axes[1, column].scatter(told[kind], np.full(len(told), place), s=22, color=BLACK, alpha=0.5, lw=0)
        axes[1, column].axvline(0, color="0.6", linewidth=1)
        axes[1, column].set(xlim=(-1, 1), xlabel="rank correlation with the found rank", ylim=(4.5, -0.5))
        strongest = told.median().abs().idxmax()
        axes[1, column].set_title(
            f"tells most: {PROPERTY[strongest]}, median {told[strongest].median():.2f}", loc="left"
        )
    axes[1, 0].set_yticks(range(len(PROPERTY)), PROPERTY.values())
    for place, (linkage, colour) in enumerate(LINKAGE.items()):
        axes[0, -1].text(1.02, place, linkage, color=colour, va="center")
    return figure

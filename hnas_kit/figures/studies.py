"""The figures of finished studies: one table each."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hnas_kit.figures import style
from hnas_kit.figures.style import BLACK, BLUE, GRAY, ORANGE, PURPLE, VERMILLION
from hnas_kit.names import MEASURES, READINGS
from hnas_kit.studies import beyond as priors
from hnas_kit.studies import forests
from hnas_kit.studies.readings import DEFAULTS, LAMBDAS, LEARNED, LEAVES, SHARES, TREES

SHOWN = (*LEARNED, *TREES[1:])
PANELS = {"macro": "NAS-Bench-Macro, 3,969 architectures", "pooling": "Pooling, 36 architectures"}
BONUSES = {"sqrt": "Eq. 3", "linear": "Algorithm 1"}
READ = {  # a reading in a few words
    **{("bonus", bonus): name for bonus, name in BONUSES.items()},
    ("start", "one"): "C starts at 1",
    ("start", "first"): "C: first reward",
    ("warmup", "architectures"): "uniform: networks",
    ("warmup", "branches"): "uniform: branches",
}
LINKAGE = {"ward": BLUE, "average": ORANGE, "complete": PURPLE}
NAMES = {"cifar10-macro": "NAS-Bench-Macro", "cifar10-pooling": "Pooling"}
PROPERTY = {
    "early_variance": "variance explained by 3 levels",
    "depth": "depth",
    "group_size": "size of the best group",
    "group_depth": "depth of the best group",
    "blind": "blind draws on the best quarter",
}


def readings(table: pd.DataFrame) -> Figure:
    """True rank of what is found: readings and lambda by tree and length; the paper's own cells are framed.

    ``refresh`` is at its default: it changes next to nothing.

    Args:
        table: of :func:`hnas_kit.studies.readings.run`; what was not simulated stays grey.
    """
    rows = table[(table["rewards"] == "true") & table["exploration"].isin(LAMBDAS)]
    rows = rows[rows["refresh"] == DEFAULTS["refresh"]]
    drawn = {name: values for name, values in READINGS.items() if name != "refresh"}
    index = pd.MultiIndex.from_product([*drawn.values(), LAMBDAS], names=[*drawn, "exploration"])
    shown = {}
    for name, own in rows.groupby("benchmark"):
        shown[name] = [tree for tree in SHOWN if tree in set(own["tree"])]
    widths = [len(trees) for trees in shown.values()]
    figure, axes = plt.subplots(1, len(shown), figsize=(10.5, 10.5), sharey=True, width_ratios=widths)
    bar = {"location": "bottom", "label": "found rank", "aspect": 40, "pad": 0.02}
    for axis, (name, trees) in zip(axes, shown.items(), strict=True):
        columns = pd.MultiIndex.from_product([trees, SHARES], names=["tree", "share"])
        found = rows[rows["benchmark"] == name].pivot(
            index=index.names, columns=columns.names, values="found"
        )
        found = found.reindex(index, columns=columns)
        norm = LogNorm(1, LEAVES[name])
        sns.heatmap(found, ax=axis, cmap="viridis", norm=norm, linewidths=0.3, cbar_kws=bar)
        style.plain(axis.collections[0].colorbar.ax.xaxis)
        axis.set_facecolor("0.9")
        shares = columns.get_level_values("share")
        axis.set_xticks(np.arange(len(columns)) + 0.5, shares, rotation=90, fontsize=7)
        for x, tree in enumerate(trees):
            axis.text((x + 0.5) * len(SHARES), -0.3, tree, rotation=60, ha="left", va="bottom", fontsize=8)
            axis.axvline(x * len(SHARES), color="white", linewidth=2.5)
        for y, (*_, value) in enumerate(index):
            if y % len(LAMBDAS) == 0:
                axis.axhline(y, color="white", linewidth=2.5)
            if value == 0.5:
                for x in range(len(trees)):
                    place = x * len(SHARES) + list(SHARES).index("1"), y
                    axis.add_patch(Rectangle(place, 1, 1, fill=False, edgecolor="black", linewidth=1.2))
        axis.set_title(PANELS[name], loc="left", pad=62)
        axis.set(xlabel="share of the paper's number of steps", ylabel="")
    lambdas = [f"λ {value:g}" for *_, value in index]
    axes[0].set_yticks(np.arange(len(index)) + 0.5, lambdas, fontsize=7, rotation=0)
    for y, values in enumerate(index.droplevel("exploration").unique()):
        words = "\n".join(READ[item] for item in zip(drawn, values, strict=True))
        axes[0].text(-4.2, (y + 0.5) * len(LAMBDAS), words, ha="right", va="center", fontsize=8)
    return figure


def _kinds(axis: Axes, rows: pd.DataFrame, places: list[str]) -> None:
    """One dot a tree: how much of the third phase goes to the best quarter."""
    own = {name: rows[rows["row"] == name] for name in places}
    colours = [
        trees["linkage"].map(LINKAGE).fillna(VERMILLION if name == "learned" else BLACK)
        for name, trees in own.items()
    ]
    groups = {name: trees["best_quarter"] for name, trees in own.items()}
    style.dots(axis, groups, area=22, alpha=0.6, spread=0.25, colours=colours)
    default = rows.loc[rows["row"] == "default", "best_quarter"].iloc[0]
    axis.axvline(default, color=BLACK, linestyle=":", linewidth=1)
    axis.text(default, -0.6, "default tree", va="bottom", size="x-small")
    axis.set(xlim=(-0.02, 1), xlabel="share of the third phase on the truly best quarter")


def trees_compared(table: pd.DataFrame) -> Figure:
    """Which trees steer a short search, and what tells it before: one column a benchmark.

    Args:
        table: of :func:`hnas_kit.studies.forests.run`.
    """
    benchmarks = [name for name in NAMES if name in set(table["benchmark"])]
    source = table["source"].str.replace(r" \d+(?=,|$)", "", regex=True)  # that differ in a number: one row
    rows = table.assign(row=table["measure"].fillna(source))
    learned = [name for name in (*MEASURES, *forests.MIXED) if name in set(rows["row"])]
    places = learned + [name for name in rows["row"].unique() if name not in learned]
    figure, axes = plt.subplots(
        2, len(benchmarks), figsize=(5.6 * len(benchmarks) + 1, 0.36 * len(places) + 4), sharey="row",
        squeeze=False, height_ratios=(len(places), 6),
    )  # fmt: skip
    for (above, below), name in zip(axes.T, benchmarks, strict=True):
        own = rows[rows["benchmark"] == name]
        steps = own["steps"].min()
        short = own[own["steps"] == steps].groupby(["row", *forests.TREE[1:]], dropna=False, as_index=False)
        short = short["best_quarter"].mean()
        _kinds(above, short, places)
        ward = short[short["linkage"] == "ward"].groupby("row")["best_quarter"].mean()
        said = [f"{measure} {ward[measure]:.2f}" for measure in ("kl", "sqrt_kl") if measure in ward]
        said.append(f"default tree {short.set_index('row').loc['default', 'best_quarter']:.2f}")
        above.set_title(f"{NAMES[name]}, {steps:,} steps\nWard: {', '.join(said)}", loc="left", pad=16)
        told = forests.correlations(own)
        for place, kind in enumerate(PROPERTY):
            below.scatter(told[kind], np.full(len(told), place), s=22, color=BLACK, alpha=0.5, lw=0)
        below.axvline(0, color="0.6", linewidth=1)
        below.set(xlim=(-1, 1), xlabel="rank correlation with the found rank", ylim=(4.5, -0.5))
        median = told.median()
        strongest = median.abs().idxmax()
        below.set_title(f"tells most: {PROPERTY[strongest]}, median {median[strongest]:.2f}", loc="left")
    axes[1, 0].set_yticks(range(len(PROPERTY)), PROPERTY.values())
    for place, (linkage, colour) in enumerate(LINKAGE.items()):
        axes[0, -1].text(1.02, place, linkage, color=colour, va="center")
    return figure


def beyond(table: pd.DataFrame, benchmark: str = "macro", exploration: float = priors.PAPERS) -> Figure:
    """True rank of what is found on each tree, without the prior of branches and with it.

    Args:
        table: of :func:`hnas_kit.studies.beyond.run`.
        benchmark: ``macro`` or ``pooling``.
        exploration: the paper's lambda; 0 for that of the rule.
    """
    wide = priors.summary(table, exploration).loc[benchmark]
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
            style.plain(axis.xaxis)
    axes[0, 0].invert_yaxis()
    axes[0, 0].invert_xaxis()
    for axis in axes[-1]:
        axis.set_xlabel("true rank of what is found (1 is best)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure

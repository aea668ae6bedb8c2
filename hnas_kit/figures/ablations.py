"""The figures that compare many searches; each function returns a Matplotlib figure."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from hnas_kit.figures.style import COLOURS, DRAWN, TRULY, dots, mark_phases, plain, smooth
from hnas_kit.studies.complexity import PAPER
from hnas_kit.studies.simulation import Simulation
from hnas_kit.studies.study import quartiles
from hnas_kit.training import PHASES

# what the paper found
DIAMOND = {"marker": "D", "linestyle": "none", "markerfacecolor": "none", "color": COLOURS["default"]}


def ranks(rows: pd.DataFrame, num_archs: int, published: pd.Series | None = None) -> Figure:
    """True rank of what each label found: one dot a seed, the mean as a line.

    Args:
        rows: with ``label`` and ``rank``.
        num_archs: the worst rank there is.
        published: mean ranks of the paper by label, drawn as diamonds; None for none.
    """
    labels = list(rows["label"].unique())
    figure, axis = plt.subplots(figsize=(7.5, 0.42 * len(labels) + 1.1))
    dots(axis, {label: rows.loc[rows["label"] == label, "rank"] for label in labels}, area=25, alpha=0.55)
    means = rows.groupby("label")["rank"].mean()[labels]
    axis.plot(means, range(len(labels)), "|", color=COLOURS["mixture"], markersize=22, markeredgewidth=2.5)
    axis.axvline((num_archs + 1) / 2, color="0.6", linestyle=":")
    says = "line: mean"
    if published is not None:
        drawn = published.reindex(labels).astype(float)  # nan where the paper has none
        axis.plot(drawn, range(len(labels)), **DIAMOND)
        says += "; diamond: the paper's mean"
    axis.set(xlabel=f"true rank of the found architecture ({says})", ylabel="", xlim=(num_archs + 1, 0))
    return figure


def _panels(
    rows: pd.DataFrame, labels: Sequence[str], size: tuple[float, float]
) -> tuple[Figure, np.ndarray]:
    """One panel a data set, the labels from top to bottom at the left of all."""
    panels = rows["data"].nunique()
    width, height = 2.2 + size[0] * panels, size[1] * len(labels) + 1.4
    figure, axes = plt.subplots(1, panels, figsize=(width, height), sharey=True, squeeze=False)
    axes[0, 0].set_yticks(range(len(labels)), labels)
    axes[0, 0].invert_yaxis()
    return figure, axes[0]


def finished(rows: pd.DataFrame, learned: str, blind: float) -> Figure:
    """True rank of what finished searches found, one panel a data set: mean and standard deviation.

    Args:
        rows: with ``data``, ``seeds``, ``method``, ``rank``, ``deviation``, the ``p`` of its difference to
            the learned tree, and the ``paper``'s rank; the last two may be missing.
        learned: the method that the others are compared with; it is drawn in its own colour.
        blind: the rank that a blind draw gives on average.
    """
    labels = list(rows["method"].unique())
    figure, axes = _panels(rows, labels, (3.4, 0.36))
    for axis, (name, group) in zip(axes, rows.groupby("data", sort=False), strict=True):
        for row in group.itertuples():
            place, colour = labels.index(row.method), COLOURS["learned"] if row.method == learned else "0.45"
            axis.errorbar(row.rank, place, xerr=row.deviation, fmt="o", color=colour, capsize=3)
            if not np.isnan(row.p):
                axis.text(1.01, place, f"{row.p:.2g}", transform=axis.get_yaxis_transform(), va="center")
        axis.plot(group["paper"], group["method"].map(labels.index), **DIAMOND)
        axis.text(1.01, -0.9, "p", transform=axis.get_yaxis_transform(), va="center", style="italic")
        axis.axvline(blind, color="0.6", linestyle=":")
        differ = f"{(group['p'] < 0.05).sum()} of {group['p'].notna().sum()}"
        title = f"{differ} differ from the learned tree (p < 0.05)"
        axis.set_title(title, loc="left", fontsize="small", pad=16)
        axis.set(xlabel=f"true rank (1 is best)\n{name}, {group['seeds'].iloc[0]} seeds", xlim=(28, 0))
    axes[0].plot([], [], **DIAMOND, label="the paper's, CIFAR-10")
    figure.legend(loc="outside lower right", fontsize="small")
    return figure


def intervals(rows: pd.DataFrame) -> Figure:
    """How much better each method is than the one that it is set ``against``, one panel a data set.

    Args:
        rows: of :func:`hnas_kit.studies.finished.beyond`; those without ``against`` are not drawn.
    """
    rows = rows[rows["better"].notna()]
    labels = list(rows["method"].unique())
    against = rows.drop_duplicates("method")["against"]
    said = [f"{label}\nagainst {other}" for label, other in zip(labels, against, strict=True)]
    figure, axes = _panels(rows, said, (3.2, 0.5))
    for axis, (name, group) in zip(axes, rows.groupby("data", sort=False), strict=True):
        for row in group.itertuples():
            told = row.low > 0 or row.high < 0  # the interval is on one side
            sides = [[row.better - row.low], [row.high - row.better]]
            colour = COLOURS["learned"] if told else "0.45"
            axis.errorbar(row.better, labels.index(row.method), xerr=sides, fmt="o", color=colour, capsize=3)
        axis.axvline(0, color="0.6", linestyle=":")
        axis.margins(y=0.15)
        axis.set(xlabel=f"ranks better\n{name}, {group['seeds'].iloc[0]} seeds")
    return figure


def pretraining(rows: pd.DataFrame, references: Mapping[str, float]) -> Figure:
    """True accuracy of what was found, by the length of the pre-training behind the tree (Fig. 3 left).

    Args:
        rows: with ``epochs`` of pre-training and ``accuracy`` (%).
        references: other accuracies to draw as lines, by name.
    """
    figure, axis = plt.subplots(figsize=(6, 3.4))
    groups = rows.groupby("epochs")["accuracy"]
    mean, deviation = groups.mean(), groups.std().fillna(0)
    place = np.arange(len(mean))
    axis.errorbar(place, mean, deviation, fmt="o-", color=COLOURS["learned"], capsize=3, label="mean ± sd")
    for group, (_, values) in zip(place, groups, strict=True):
        axis.scatter(np.full(len(values), group), values, s=12, color=COLOURS["learned"], alpha=0.4)
    for (name, value), colour in zip(references.items(), ("default", "random", "uniform"), strict=False):
        axis.axhline(value, color=COLOURS[colour], linestyle=":", label=name)
    axis.set_xticks(place, [f"{epochs:g}" for epochs in mean.index])
    axis.set(xlabel="epochs of pre-training", ylabel="true accuracy of the\nfound architecture (%)")
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def accuracy_over_steps(histories: Mapping[str, Sequence[pd.DataFrame]], truth: pd.Series) -> Figure:
    """Accuracy of the drawn architectures in the supernet and alone, mean over seeds (Fig. 3 right).

    Args:
        histories: by kind of tree, one for each seed, all with the same phases.
        truth: true accuracy (%) by text form.
    """
    figure, axes = plt.subplots(1, 2, figsize=(9.9, 3.4))
    some = next(iter(histories.values()))[0]
    for name, group in histories.items():
        rewards = [100 * smooth(h["reward"]) for h in group]
        accuracies = [smooth(truth[h["architecture"]]) for h in group]
        for axis, lines in zip(axes, (rewards, accuracies), strict=True):
            steps, middle, deviation = range(len(some)), np.mean(lines, axis=0), np.std(lines, axis=0)
            axis.plot(steps, middle, color=COLOURS[name], label=f"{name} tree")
            band = middle - deviation, middle + deviation
            axis.fill_between(steps, *band, color=COLOURS[name], alpha=0.15, linewidth=0)
    for axis, said in zip(axes, (DRAWN, TRULY), strict=True):
        axis.set(xlabel="step", ylabel=said)
        mark_phases(axis, [int((some["phase"] == phase).argmax()) for phase in PHASES], len(some))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center")
    return figure


def tree_quality(rows: pd.DataFrame) -> Figure:
    """What a tree is like against how its search went: each dot a search.

    Args:
        rows: with ``label``, ``early_variance``, ``cophenetic_correlation``, ``best_quarter``, ``rank``.
    """
    figure, axes = plt.subplots(2, 2, figsize=(9.5, 5.6), sharex="col", sharey="row")
    across = {
        "early_variance": "accuracy variance explained\nby the first three levels",
        "cophenetic_correlation": "cophenetic correlation\n(learned trees)",
    }
    down = {"best_quarter": "third phase on the\ntruly best quarter", "rank": "true rank of the\nfound one"}
    for i, (y, y_name) in enumerate(down.items()):
        for j, (x, x_name) in enumerate(across.items()):
            sns.scatterplot(
                rows, x=x, y=y, hue="label", ax=axes[i, j], palette="tab20", s=34, legend=not (i or j)
            )
            rho = rows[[x, y]].corr(method="spearman").iloc[0, 1]
            axes[i, j].set(xlabel=x_name, ylabel=y_name, title=f"Spearman {rho:.2f}")
    axes[1, 0].invert_yaxis()
    handles, labels = axes[0, 0].get_legend_handles_labels()
    axes[0, 0].get_legend().remove()
    figure.legend(handles, labels, loc="outside right center", fontsize="small")
    return figure


def simulated(results: Mapping[str, Simulation]) -> Figure:
    """What simulated searches found: one dot a seed, the median as a line; and where their draws went.

    Args:
        results: by method, see :func:`hnas_kit.studies.study.run`.
    """
    place = np.arange(len(results))
    size = 9.9, 0.36 * len(results) + 1.1
    figure, axes = plt.subplots(1, 2, figsize=size, sharey=True, width_ratios=[2, 1])
    dots(axes[0], {name: result.found for name, result in results.items()}, area=12.25, alpha=0.35)
    middle = [quartiles(result.found)[0] for result in results.values()]
    axes[0].plot(middle, place, "|", color=COLOURS["mixture"], markersize=16, markeredgewidth=2.5)
    worst = max(len(result.archs) for result in results.values())
    axes[0].set(xscale="log", xlim=(worst * 1.3, 0.8))
    axes[0].set_xlabel("true rank of the found architecture (line: median)")
    axes[0].xaxis.set_major_formatter("{x:,.0f}")
    shares = [100 * result.best_quarter.mean() for result in results.values()]
    axes[1].barh(place, shares, height=0.6, color=COLOURS["learned"], alpha=0.6)
    axes[1].axvline(25, color="0.6", linestyle=":")
    axes[1].set(xlabel="third phase on the truly\nbest quarter (%)", xlim=(0, 100))
    return figure


def complexity(seconds: pd.DataFrame, a: float, b: float) -> Figure:
    """Seconds that a learned tree costs by the number of architectures, with the curve a N^2 + b N.

    Args:
        seconds: see :func:`hnas_kit.studies.complexity.measure`.
        a, b: of the fitted curve.
    """
    figure, axis = plt.subplots(figsize=(6.6, 3.6))
    n = np.geomspace(seconds.index.min(), 100_000, 200)
    for column, colour in (("outputs", "default"), ("tree", "learned")):
        axis.plot(seconds.index, seconds[column], "o", color=COLOURS[colour], label=f"{column}, measured")
    axis.plot(n, a * n**2 + b * n, color="0.25", label=f"both, fitted: a = {a:.1g} s, b = {b:.1g} s")
    paper = f"the paper's: a = {PAPER['a']:g} s, b = {PAPER['b']:g} s"
    axis.plot(n, PAPER["a"] * n**2 + PAPER["b"] * n, ":", color="0.5", label=paper)
    axis.set(xscale="log", yscale="log", xlabel="architectures N", ylabel="seconds")
    plain(axis.xaxis, axis.yaxis)
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure

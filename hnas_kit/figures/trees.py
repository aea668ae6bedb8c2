"""Figures of trees: whole ones of few architectures, the upper part of those of thousands."""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from hnas_kit.figures.style import ACCURACY, COLOURS
from hnas_kit.samplers import relearning
from hnas_kit.samplers.relearning import Planted
from hnas_kit.training import PHASES
from hnas_kit.trees import ArchTree, variance_explained
from hnas_kit.trees.tree import number_nodes

LEAVES = 60  # that a figure shows at most


@dataclass(frozen=True, eq=False)
class Top:
    """The upper part of a tree; a leaf of it stands for one or more architectures."""

    tree: ArchTree  # with one architecture of each leaf
    nodes: np.ndarray  # (V,) which node of the whole tree each of its nodes is
    members: list[np.ndarray]  # for each of tree.archs, positions in the whole tree's of those it stands for

    def labels(self, labels: Sequence[str]) -> list[str]:
        """Of each leaf: the architecture's own, or how many it stands for."""
        return [labels[m[0]] if len(m) == 1 else f"{len(m)} of them" for m in self.members]

    def means(self, values: ArrayLike) -> np.ndarray:
        """Of each leaf, the mean over its architectures."""
        return np.array([np.asarray(values)[m].mean() for m in self.members])


def top(tree: ArchTree, leaves: int = LEAVES) -> Top:
    """The upper part: the highest nodes are opened, as long as there are at most ``leaves`` leaves."""
    opened, count, closed = set(), 1, [(-tree.height[0], 0)]
    while closed:
        node = heapq.heappop(closed)[1]
        below = int(tree.num_children[node])
        if below and count + below - 1 <= leaves:
            opened.add(node)
            count += below - 1
            for child in _children(tree, node):
                heapq.heappush(closed, (-tree.height[child], child))
    nodes = np.array([v for v in range(tree.num_nodes) if v == 0 or tree.parent[v] in opened])
    members = {v: np.sort(tree.members[v]) for v in nodes if v not in opened}
    place = {v: i for i, v in enumerate(members)}
    archs = [tree.archs[m[0]] for m in members.values()]
    upper = number_nodes(
        0, lambda v: _children(tree, v) if v in opened else [], tree.height.item, place.get, archs
    )
    return Top(upper, nodes, list(members.values()))


def _children(tree: ArchTree, node: int) -> range:
    return range(tree.first_child[node], tree.first_child[node] + tree.num_children[node])


def tree_layout(tree: ArchTree) -> tuple[np.ndarray, list[int]]:
    """Horizontal place of every node, and the leaves from left to right."""
    leaves, place = [tree.leaf[tree.archs[i]] for i in tree.members[0]], np.zeros(tree.num_nodes)
    place[leaves] = np.arange(tree.num_leaves)
    for node in reversed(np.flatnonzero(tree.num_children)):
        place[node] = place[_children(tree, node)].mean()
    return place, leaves


def _draw(
    axis: Axes,
    part: Top,
    truth: ArrayLike | None,
    width: ArrayLike | None = None,
    sideways: bool = False,
    **dots: Any,
) -> tuple[np.ndarray, PathCollection | None]:
    """Draw lines, wide where the share of draws is large, and dots coloured by true accuracy.

    Gives for each leaf, in their order on the axis, which of ``part.tree.archs`` it is; and the dots.
    """
    tree, (place, leaves) = part.tree, tree_layout(part.tree)
    look = {"color": "0.25", "linewidth": 1.0}
    for node in range(1, tree.num_nodes):
        parent = tree.parent[node]
        if width is not None:
            share = np.asarray(width)[part.nodes[node]]
            alpha = 0.35 + 0.65 * min(4 * share, 1)
            look = {"color": COLOURS["learned"], "linewidth": 0.8 + 9 * share, "alpha": alpha}
        across = [place[parent], place[node], place[node]]
        along = [tree.height[parent], tree.height[parent], tree.height[node]]
        line = (along, across) if sideways else (across, along)
        axis.plot(*line, solid_capstyle="butt", solid_joinstyle="miter", **look)
    order, ends = tree.arch_index[leaves], (range(len(leaves)), tree.height[leaves])
    if truth is None:
        return order, None
    dots |= {"c": part.means(truth)[order], "cmap": ACCURACY, "edgecolor": "white", "linewidth": 0.8}
    return order, axis.scatter(*(ends[::-1] if sideways else ends), zorder=3, **dots)


def _scale(figure: Figure, dots: PathCollection | None, axes: Any, aspect: int = 40) -> None:
    if dots is not None:
        figure.colorbar(dots, ax=axes, label="true accuracy (%)", pad=0.01, aspect=aspect)


def dendrogram(
    tree: ArchTree,
    labels: Sequence[str],
    truth: ArrayLike | None,
    title: str,
    height: str = "linkage distance",
    width: ArrayLike | None = None,
) -> Figure:
    """A tree with its architectures at the leaves, coloured by true accuracy.

    Of a tree with more than ``LEAVES`` the upper part is drawn, with the mean accuracy of what lies below.

    Args:
        tree: any tree.
        labels: text of each of ``tree.archs``.
        truth: true accuracy (%) of each, or None.
        title: heading.
        height: what the tree's heights are.
        width: (V,) share of draws through each node; wide lines carry many (None: all alike).
    """
    part = top(tree)
    figure, axis = plt.subplots(figsize=(max(6.0, 0.27 * part.tree.num_leaves), 4.2))
    order, dots = _draw(axis, part, truth, width, s=44)
    shown = np.array(part.labels(labels))[order]
    axis.set_xticks(range(len(order)), shown, rotation=90, size="small", family="monospace")
    _scale(figure, dots, axis, aspect=30)
    axis.set(ylabel=height, title=title, xlim=(-1, len(order)))
    sns.despine(figure, bottom=True)
    axis.tick_params(axis="x", length=0)
    return figure


def side_by_side(forest: Mapping[str, ArchTree], truth: ArrayLike | None) -> Figure:
    """Trees over the same architectures beside each other, the root on the left (Fig. 5).

    Leaves are numbered from 1 in the order of the architectures, for the Pooling space the indices of its
    benchmark, and coloured by true accuracy.

    Args:
        forest: trees by title, their architectures in the same order; see :func:`dendrogram` for large ones.
        truth: true accuracy (%) of each architecture, or None.
    """
    parts = {title: top(tree) for title, tree in forest.items()}
    rows = max(part.tree.num_leaves for part in parts.values())
    figure, axes = plt.subplots(1, len(parts), figsize=(3.5 * len(parts), 0.8 + 0.17 * rows), squeeze=False)
    for axis, (title, part) in zip(axes.flat, parts.items(), strict=True):
        order, dots = _draw(axis, part, truth, sideways=True, s=34, clip_on=False)
        numbers = [str(number) for number in range(1, 1 + forest[title].num_leaves)]
        axis.set_yticks(range(len(order)), np.array(part.labels(numbers))[order], size="small")
        axis.tick_params(axis="y", length=0, pad=7)
        axis.yaxis.tick_right()
        if dots is not None:
            dots.set_clim(np.min(truth), np.max(truth))
        axis.set(xlabel="linkage distance", title=title, ylim=(len(order) - 0.4, -0.6))
        axis.set_xlim(1.02 * part.tree.height[0], 0)
    _scale(figure, dots, axes)
    sns.despine(figure, left=True)
    return figure


def trees_over_time(planted: Sequence[Planted], truth: ArrayLike | None) -> Figure:
    """The trees of a search that learns its tree anew, beside each other.

    Over each is how far it moved from the one before, see :func:`hnas_kit.samplers.relearning.table`.

    Args:
        planted: see :class:`hnas_kit.search.Result`.
        truth: see :func:`side_by_side`.
    """
    rows = relearning.table(planted)
    titles = [
        f"from step {step:,}: first split moved {row['moved']:.0%},\n{row['new groups']:.0%} of groups new"
        if step
        else "at the start"
        for step, row in rows.iterrows()
    ]
    return side_by_side(dict(zip(titles, (one.tree for one in planted), strict=True)), truth)


def groups(forest: Mapping[str, ArchTree], truth: ArrayLike, levels: Sequence[int] = (1, 2, 3)) -> Figure:
    """True accuracies, parted by the first levels of several trees; how much of their variance that explains.

    Args:
        forest: trees by name, their architectures in the same order.
        truth: (N,) true accuracy (%) of each architecture.
        levels: of the trees, from the root down.
    """
    truth = np.asarray(truth)
    size = (3.4 * len(levels), 1.9 * len(forest) + 0.5)
    figure, axes = plt.subplots(len(forest), len(levels), figsize=size, sharey=True, squeeze=False)
    for row, (name, tree) in zip(axes, forest.items(), strict=True):
        counts, shares = variance_explained(tree, truth)
        for axis, level in zip(row, np.minimum(levels, tree.depth), strict=True):
            _, group = np.unique(tree.groups(level), return_inverse=True)
            means = np.bincount(group, truth) / np.bincount(group)
            place = np.argsort(np.argsort(means))[group]
            axis.scatter(place, truth, s=14, color=COLOURS[name], alpha=0.6, linewidth=0)
            axis.hlines(np.sort(means), np.arange(len(means)) - 0.35, np.arange(len(means)) + 0.35, "k")
            axis.set_xticks([])
            axis.margins(x=0.15)
            axis.set_title(f"{counts[level]} groups explain {100 * shares[level]:.0f} %")
        row[0].set_ylabel(f"{name} tree\n", color=COLOURS[name], weight="bold")
    first = {name: 100 * variance_explained(tree, truth)[1][levels[0]] for name, tree in forest.items()}
    said = ", ".join(f"{name} {share:.0f} %" for name, share in first.items())
    figure.suptitle(f"Variance of true accuracy that the first question explains: {said}", size="medium")
    figure.supylabel("true accuracy (%)", size="medium")
    figure.supxlabel("groups, the worst on the left; line: mean", size="medium")
    return figure


def visits_over_time(
    tree: ArchTree, history: pd.DataFrame, labels: Sequence[str], truth: pd.Series | None
) -> Figure:
    """Draws flowing down a tree: warm-up, then three equal parts of the third phase.

    Args:
        tree: the tree that was searched.
        history: of the search, see :meth:`hnas_kit.search.History.frame`.
        labels: text of each of ``tree.archs``.
        truth: true accuracy (%) by text, or None; colours the leaves.
    """
    third = history.index[history["phase"] == PHASES[2]]
    parts = {PHASES[1]: history.index[history["phase"] == PHASES[1]]}
    for name, part in zip(("first", "second", "last"), np.array_split(third, 3), strict=True):
        parts[f"{name} third of the {PHASES[2]}"] = part
    upper, accuracy = top(tree), None if truth is None else truth[list(labels)]
    figure, axes = plt.subplots(len(parts), 1, figsize=(9.5, 1.75 * len(parts)), sharex=True)
    for axis, (name, part) in zip(axes, parts.items(), strict=True):
        drawn = history.loc[part, "architecture"].value_counts(normalize=True).reindex(labels, fill_value=0)
        width = np.zeros(tree.num_nodes)
        is_leaf = tree.arch_index >= 0
        width[is_leaf] = drawn.to_numpy()[tree.arch_index[is_leaf]]
        for node in reversed(range(1, tree.num_nodes)):
            width[tree.parent[node]] += width[node]
        order, dots = _draw(axis, upper, accuracy, width, s=40)
        axis.set_title(name, loc="left", size="small")
        axis.set_yticks([])
        axis.margins(x=0.02, y=0.12)
    shown = np.array(upper.labels(labels))[order]
    axes[-1].set_xticks(range(len(order)), shown, rotation=90, size="x-small", family="monospace")
    _scale(figure, dots, axes)
    sns.despine(figure, left=True, bottom=True)
    for axis in axes:
        axis.tick_params(axis="x", length=0)
    return figure

"""Figures of the paper's example of eight architectures (Fig. 1 and 2)."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hnas_kit import trees
from hnas_kit.figures.style import ACCURACY as SHADES
from hnas_kit.figures.style import COLOURS, shade
from hnas_kit.figures.trees import tree_layout
from hnas_kit.samplers import MCTS, Boltzmann, Independent
from hnas_kit.studies.toy import ACCURACY, ARCHS, SPACE, learned_tree, means, question, searched, taught

_LABEL = {"color": "white", "pad": 0.6}


def _draw_tree(axis: Axes, sampler: MCTS, height: np.ndarray) -> None:
    """A sampler's tree with straight branches; on them the probability of a node given its parent."""
    tree, probability = sampler.tree, sampler.conditional()
    place, leaves = tree_layout(tree)
    for node in range(1, tree.num_nodes):
        ends, share = [tree.parent[node], node], probability[node]
        x, y = place[ends], height[ends]
        axis.plot(x, y, color=COLOURS["learned"], linewidth=0.6 + 3 * share, alpha=0.35 + 0.6 * share)
        middle = 0.45 * x[0] + 0.55 * x[1], 0.45 * y[0] + 0.55 * y[1]
        axis.text(*middle, f"{share:.2f}", size="x-small", ha="center", va="center", bbox=_LABEL)
    archs = [tree.archs[tree.arch_index[leaf]] for leaf in leaves]
    accuracy = [ACCURACY[arch] for arch in archs]
    axis.scatter(range(len(archs)), height[leaves], c=accuracy, cmap=SHADES, s=34, zorder=3)
    axis.set_xticks(range(len(archs)), map(SPACE.format, archs), family="monospace", size="small")
    axis.set_yticks([])
    axis.margins(0.05)


def factorisations() -> Figure:
    """One distribution over eight architectures in three ways (Fig. 1).

    Layer by layer (6 numbers, and an approximation), jointly (8 numbers, each learned alone), and as
    conditional probabilities down a tree (what is learned of a branch serves all below it).
    """
    independent = taught(Independent(SPACE))
    joint = taught(Boltzmann(ARCHS))
    conditional = taught(MCTS(trees.default(SPACE)))
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.1), width_ratios=(1, 1.25, 1.9))
    for layer, chance in enumerate(independent.layer_probabilities()):
        axes[0].bar([layer - 0.18, layer + 0.18], chance, width=0.34, color=["0.8", COLOURS["learned"]])
        for op, value in enumerate(chance):
            axes[0].text(layer + 0.36 * op - 0.18, value + 0.02, f"{value:.2f}", ha="center", size="x-small")
    axes[0].set_xticks(range(3), ["a", "b", "c"])
    axes[0].set(title="independent: 6 probabilities", ylabel="probability of 0 (gray) and 1")
    axes[1].bar(range(8), list(joint.probabilities().values()), color=COLOURS["learned"], label="joint")
    product = list(independent.probabilities().values())
    axes[1].plot(product, "o", color=COLOURS["default"], label="product of the left")
    axes[1].set_xticks(range(8), [SPACE.format(arch) for arch in ARCHS], rotation=90, family="monospace")
    axes[1].set(title="joint: 8 probabilities")
    axes[1].legend(fontsize="small")
    _draw_tree(axes[2], conditional, conditional.tree.height)
    axes[2].set(title="conditional: a tree, here a, then b, then c")
    axes[2].spines[["left", "bottom"]].set_visible(False)
    return figure


def two_trees() -> Figure:
    """The eight architectures in two trees, one that asks a first and one learned from outputs (Fig. 2).

    On each branch its question, in each node the mean accuracy (%) of the architectures under it.
    """
    figure, axes = plt.subplots(1, 2, figsize=(11, 3.9), sharey=True)
    forest = {"Default order, a first": trees.default(SPACE), "Learned from outputs": learned_tree()}
    for axis, (name, tree) in zip(axes, forest.items(), strict=True):
        (place, leaves), mean, depth = tree_layout(tree), 100 * means(tree) + 1e-9, -tree.level
        for node in range(1, tree.num_nodes):
            x, y = place[[tree.parent[node], node]], depth[[tree.parent[node], node]]
            axis.plot(x, y, color="0.6", linewidth=1.2, zorder=1)
            middle = x.mean() + (0.12 if x[1] > x[0] else -0.12), y.mean()
            axis.text(*middle, question(tree, node), size="small", ha="center", va="center", bbox=_LABEL)
        for node in range(tree.num_nodes):
            fill, ink = shade((mean[node] - 45) / 37)
            box = {"boxstyle": "round", "facecolor": fill, "edgecolor": "none"}
            axis.text(place[node], depth[node], f"{mean[node]:.1f}", color=ink, bbox=box, ha="center")
        for x, leaf in enumerate(leaves):
            text = SPACE.format(tree.archs[tree.arch_index[leaf]])
            axis.text(x, -tree.depth - 0.38, text, ha="center", family="monospace", size="small")
        axis.set_title(f"{name}: the first question parts {mean[1]:.1f} % from {mean[2]:.1f} %")
        axis.set(xlim=(-0.6, 7.6), ylim=(-tree.depth - 0.55, 0.3))
        axis.set_axis_off()
    return figure


def toy_search_still(steps: int = 112, exploration: float = 0.1, temperature: float = 0.02) -> Figure:
    """Both trees after so many steps of a search: wide branches are likely to be drawn next.

    A still of :func:`hnas_kit.figures.play.toy_search`, with the bonus of Eq. 3.
    """
    figure, axes = plt.subplots(1, 2, figsize=(11, 3.3))
    for axis, name, tree in zip(
        axes, ("a asked first", "c asked first"), (trees.default(SPACE), learned_tree()), strict=True
    ):
        sampler = MCTS(tree, exploration=exploration, temperature=temperature)
        ((_, _, visits),) = searched(sampler, [steps])
        _draw_tree(axis, sampler, -tree.level)
        good = sum(visits[tree.leaf[arch]] for arch in ARCHS if arch[2] == 1)
        axis.set_title(f"{name}: {100 * good / steps:.0f} % of {steps} draws had c = 1")
        axis.spines[["left", "bottom"]].set_visible(False)
    return figure

"""Figures of the paper's example of eight architectures (Fig. 1 and 2)."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hnas_kit import trees
from hnas_kit.figures.style import ACCURACY as COLOUR_OF_ACCURACY
from hnas_kit.figures.style import COLOURS
from hnas_kit.figures.trees import tree_layout
from hnas_kit.samplers import MCTS, Boltzmann, Independent
from hnas_kit.studies.toy import ACCURACY, ARCHS, SPACE, learned_tree, taught
from hnas_kit.trees import ArchTree

_LABEL = {"color": "white", "pad": 0.6}


def _draw_tree(axis: Axes, tree: ArchTree, probability: np.ndarray | None, height: np.ndarray) -> None:
    """A tree with straight branches; on them the probability of a node given its parent."""
    place, leaves = tree_layout(tree)
    for node in range(1, tree.num_nodes):
        parent = tree.parent[node]
        x, y = place[[parent, node]], height[[parent, node]]
        share = 0.5 if probability is None else probability[node]
        axis.plot(x, y, color=COLOURS["learned"], linewidth=0.6 + 3 * share, alpha=0.35 + 0.6 * share)
        if probability is not None:
            middle = 0.45 * x[0] + 0.55 * x[1], 0.45 * y[0] + 0.55 * y[1]
            axis.text(*middle, f"{share:.2f}", size="x-small", ha="center", va="center", bbox=_LABEL)
    archs = [tree.archs[tree.arch_index[leaf]] for leaf in leaves]
    accuracy = [ACCURACY[arch] for arch in archs]
    axis.scatter(range(len(archs)), height[leaves], c=accuracy, cmap=COLOUR_OF_ACCURACY, s=34, zorder=3)
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
    chances = independent.layer_probabilities()
    for layer, chance in enumerate(chances):
        axes[0].bar([layer - 0.18, layer + 0.18], chance, width=0.34, color=["#bcd2e8", COLOURS["learned"]])
        for op, value in enumerate(chance):
            axes[0].text(layer + 0.36 * op - 0.18, value + 0.02, f"{value:.2f}", ha="center", size="x-small")
    axes[0].set_xticks(range(3), ["a", "b", "c"])
    axes[0].set(title="independent: 6 probabilities", ylabel="probability of 0 (light) and 1")
    for sampler, marker, name in ((joint, None, "joint"), (independent, "o", "product of the left")):
        values = list(sampler.probabilities().values())
        if marker:
            axes[1].plot(values, marker, color=COLOURS["default"], label=name)
        else:
            axes[1].bar(range(8), values, color=COLOURS["learned"], label=name)
    axes[1].set_xticks(range(8), [SPACE.format(arch) for arch in ARCHS], rotation=90, family="monospace")
    axes[1].set(title="joint: 8 probabilities")
    axes[1].legend(fontsize="small")
    tree = conditional.tree
    _draw_tree(axes[2], tree, conditional.conditional(), tree.height)
    axes[2].set(title="conditional: a tree, here a, then b, then c")
    for side in ("left", "bottom"):
        axes[2].spines[side].set_visible(False)
    return figure


def two_trees() -> Figure:
    """The default tree of the eight architectures, and one clustered from their outputs (Fig. 2).

    Dots are coloured by accuracy.
    """
    figure, axes = plt.subplots(1, 3, figsize=(11, 2.9), width_ratios=(0.9, 1.3, 1.3))
    codes = np.array(ARCHS)
    axes[0].imshow(codes, cmap="Blues", vmin=-0.4, vmax=1.6, aspect="auto")
    for (row, column), op in np.ndenumerate(codes):
        axes[0].text(column, row, op, ha="center", va="center", size="small")
    axes[0].set_xticks(range(3), ["a", "b", "c"])
    names = [f"{SPACE.format(arch)}  {ACCURACY[arch]:.0%}" for arch in ARCHS]
    axes[0].set_yticks(range(8), names, family="monospace", size="small")
    axes[0].set_title("architecture and accuracy")
    axes[0].tick_params(length=0)
    for axis, tree, title in (
        (axes[1], trees.default(SPACE), "default tree: a, then b, then c"),
        (axes[2], learned_tree(), "learned tree: by what they answer"),
    ):
        # by levels, not by distance: the lowest merges would all lie on one line
        _draw_tree(axis, tree, None, np.where(tree.arch_index >= 0, 0, tree.depth - tree.level))
        axis.set_title(title)
    for axis in axes:
        for spine in axis.spines.values():
            spine.set_visible(False)
    return figure

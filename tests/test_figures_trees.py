"""Figures of trees: every node and leaf is there, and of thousands the upper part."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from common import ARCHS, NAMES, SPACE, TRUTH, texts

from hnas_kit import figures, spaces, trees
from hnas_kit.figures import trees as tree_figures
from hnas_kit.samplers.relearning import Planted
from hnas_kit.trees.tree import is_numbered

MACRO = spaces.make_space("macro")
MANY = MACRO.enumerate()[::4]

pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.usefixtures("drawn")]


def parents(tree):
    """For each node, its ancestors from the root down, itself included."""
    paths = [[0]]
    for v in range(1, tree.num_nodes):
        paths.append([*paths[tree.parent[v]], v])
    return paths


@pytest.mark.parametrize("leaves", [1, 2, 7, 60, 5000])
@pytest.mark.parametrize(
    "tree", [trees.random(MANY, 0), trees.default(MACRO, MANY)], ids=["binary", "default"]
)
def test_the_top_of_a_tree_is_a_tree_of_groups(tree, leaves):
    part = tree_figures.top(tree, leaves)
    assert is_numbered(part.tree)
    count = part.tree.num_leaves
    assert count == leaves if tree.depth > 8 and leaves < len(MANY) else 1 <= count <= min(leaves, len(MANY))
    assert sorted(np.concatenate(part.members)) == list(range(len(MANY)))
    paths, leaf = parents(tree), [tree.leaf[arch] for arch in MANY]
    for v, node in enumerate(part.nodes):
        assert part.tree.height[v] == tree.height[node]
        assert v == 0 or part.nodes[part.tree.parent[v]] == tree.parent[node]
        if (i := part.tree.arch_index[v]) >= 0:
            assert [k for k in range(len(MANY)) if node in paths[leaf[k]]] == part.members[i].tolist()
    closed = part.tree.height[part.tree.arch_index >= 0]
    opened = part.tree.height[part.tree.arch_index < 0]
    if tree.depth > 8 and len(opened):
        assert opened.min() >= closed.max()  # the highest merges are shown
    values = np.arange(len(MANY)) ** 2.0
    np.testing.assert_allclose(part.means(values), [values[m].mean() for m in part.members])


def test_a_tree_of_many_is_drawn_down_to_some_groups():
    tree, names = trees.random(MANY, 0), [MACRO.format(arch) for arch in MANY]
    truth, part = np.linspace(80, 90, len(MANY)), tree_figures.top(tree)
    axis = figures.dendrogram(tree, names, truth, "", width=np.ones(tree.num_nodes)).axes[0]
    assert len(axis.lines) == part.tree.num_nodes - 1
    labels = texts(axis.get_xticklabels())
    assert sorted(labels) == sorted(part.labels(names))
    assert sum(int(label.split()[0]) if "of them" in label else 1 for label in labels) == len(MANY)
    np.testing.assert_allclose(sorted(axis.collections[0].get_array()), sorted(part.means(truth)))
    history = pd.DataFrame({"phase": "search", "architecture": names[:50]})
    axes = figures.visits_over_time(tree, history, names, pd.Series(truth, index=names)).axes
    assert texts(axes[3].get_xticklabels()) == labels
    through = sum(names.index(name) in part.members[0] for name in names[34:50]) / 16  # the last third's
    leaf = np.flatnonzero(part.tree.arch_index == 0)[0]
    assert axes[3].lines[leaf - 1].get_linewidth() == pytest.approx(0.8 + 9 * through)


@pytest.mark.parametrize("truth", [None, TRUTH], ids=["no truth", "truth"])
@pytest.mark.parametrize("tree", [trees.random(ARCHS, 0), trees.default(SPACE)], ids=["binary", "default"])
def test_dendrogram_has_a_line_a_node_and_a_label_a_leaf(tree, truth):
    figure = figures.dendrogram(tree, NAMES, truth, "a tree")
    axis = figure.axes[0]
    assert len(axis.lines) == tree.num_nodes - 1
    labels = texts(axis.get_xticklabels())
    assert sorted(labels) == sorted(NAMES)
    assert axis.get_title() == "a tree"
    assert [a.get_ylabel() for a in figure.axes[1:]] == ([] if truth is None else ["true accuracy (%)"])
    if truth is not None:
        np.testing.assert_allclose(axis.collections[0].get_array(), truth[labels])


def test_leaves_of_a_subtree_lie_side_by_side():
    labels = texts(figures.dendrogram(trees.default(SPACE), NAMES, None, "").axes[0].get_xticklabels())
    first_pools = [int(label[1]) for label in labels]  # after how many layers, that is which branch
    assert len(list(itertools.groupby(first_pools))) == 8


@pytest.mark.parametrize("truth", [None, TRUTH.to_numpy()], ids=["no truth", "truth"])
def test_trees_side_by_side_have_the_numbers_of_the_benchmark_at_their_leaves(truth):
    forest = {"a": trees.random(ARCHS, 0), "b": trees.default(SPACE), "c": trees.random(ARCHS, 1)}
    figure = figures.side_by_side(forest, truth)
    for axis, (title, tree) in zip(figure.axes, forest.items(), strict=False):
        assert axis.get_title() == title
        assert len(axis.lines) == tree.num_nodes - 1
        numbers = [int(label) for label in texts(axis.get_yticklabels())]
        assert sorted(numbers) == list(range(1, 37))
        in_order = [tree.arch_index[leaf] + 1 for leaf in tree_figures.tree_layout(tree)[1]]
        assert numbers == in_order
        left, right = axis.get_xlim()
        assert left > tree.height[0] > right == 0  # the root is on the left
        if truth is not None:
            np.testing.assert_array_equal(axis.collections[0].get_array(), truth[np.array(numbers) - 1])
            assert axis.collections[0].get_clim() == (truth.min(), truth.max())  # one scale for all
    assert len(figure.axes) == (3 if truth is None else 4)
    figure.draw_without_rendering()
    for axis in figure.axes[:3]:  # no two labels touch, and none reaches into the next tree
        boxes = [label.get_window_extent() for label in axis.get_yticklabels()]
        assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    for axis, following in itertools.pairwise(figure.axes[:3]):
        right = max(label.get_window_extent().x1 for label in axis.get_yticklabels())
        assert right < following.get_window_extent().x0


def test_trees_over_time_say_how_far_they_moved():
    planted = [Planted(0, trees.random(ARCHS, 0)), Planted(1200, trees.random(ARCHS, 1))]
    figure = figures.trees_over_time(planted, None)
    moved = trees.moved(planted[0].tree, planted[1].tree)
    new = (trees.origins(planted[0].tree, planted[1].tree) < 0).sum() / 35
    assert [axis.get_title() for axis in figure.axes] == [
        "at the start", f"from step 1,200: first split moved {moved:.0%},\n{new:.0%} of groups new"
    ]  # fmt: skip
    assert 0 < moved < 1


def test_dendrogram_lines_are_as_wide_as_their_share_of_draws():
    tree = trees.random(ARCHS, 0)
    share = np.linspace(1, 0, tree.num_nodes)
    (axis,) = figures.dendrogram(tree, NAMES, None, "", width=share).axes
    widths = [line.get_linewidth() for line in axis.lines]
    np.testing.assert_allclose(widths, 0.8 + 9 * share[1:])
    assert all(0.35 <= line.get_alpha() <= 1 for line in axis.lines)


def test_groups_are_those_of_the_first_levels_the_worst_on_the_left():
    forest = {"learned": trees.accuracy(TRUTH, ARCHS), "random": trees.random(ARCHS, 0)}
    figure = figures.groups(forest, TRUTH)
    axes = np.reshape(figure.axes, (2, 3))
    for row, tree in zip(axes, forest.values(), strict=True):
        counts, shares = trees.variance_explained(tree, TRUTH)
        for level, axis in enumerate(row, start=1):
            assert axis.get_title() == f"{counts[level]} groups explain {100 * shares[level]:.0f} %"
            dots = axis.collections[0].get_offsets()
            np.testing.assert_allclose(np.sort(dots[:, 1]), np.sort(TRUTH))
            means = [dots[dots[:, 0] == place, 1].mean() for place in range(counts[level])]
            assert means == sorted(means)
    assert "learned 75 %" in figure.get_suptitle()  # two halves of equally spaced values: 243 / 323.75


@pytest.mark.parametrize("truth", [None, TRUTH], ids=["no truth", "truth"])
@pytest.mark.parametrize("tree", [trees.random(ARCHS, 0), trees.default(SPACE)], ids=["binary", "default"])
def test_visits_over_time_have_a_tree_for_each_part_of_the_search(tree, truth):
    phase = ["uniform"] * 8 + ["warm-up"] * 6 + ["search"] * 6
    drawn = NAMES[:8] + NAMES[8:14] + [NAMES[0]] * 2 + [NAMES[0], NAMES[35]] + [NAMES[35]] * 2
    history = pd.DataFrame({"phase": phase, "architecture": drawn})
    figure = figures.visits_over_time(tree, history, NAMES, truth)
    axes = figure.axes[:4]
    assert [axis.get_title(loc="left") for axis in axes] == [
        "warm-up",
        "first third of the search",
        "second third of the search",
        "last third of the search",
    ]
    assert [axis.get_ylabel() for axis in figure.axes[4:]] == ([] if truth is None else ["true accuracy (%)"])
    labels = texts(axes[-1].get_xticklabels())
    assert sorted(labels) == sorted(NAMES)
    parts = [drawn[8:14], drawn[14:16], drawn[16:18], drawn[18:]]
    for axis, part in zip(axes, parts, strict=True):
        assert len(axis.lines) == tree.num_nodes - 1
        through = np.zeros(tree.num_nodes)
        for name in part:  # every draw goes through all nodes from its leaf up
            v = tree.leaf[ARCHS[NAMES.index(name)]]
            while v >= 0:
                through[v] += 1 / len(part)
                v = tree.parent[v]
        np.testing.assert_allclose([line.get_linewidth() for line in axis.lines], 0.8 + 9 * through[1:])
        if truth is not None:
            np.testing.assert_allclose(axis.collections[0].get_array(), truth[labels])


def test_visits_over_time_of_a_search_too_short_for_all_parts():
    history = pd.DataFrame({"phase": ["uniform"] * 3 + ["search"], "architecture": NAMES[:4]})
    axes = figures.visits_over_time(trees.random(ARCHS, 0), history, NAMES, None).axes
    widest = [max(line.get_linewidth() for line in axis.lines) for axis in axes]
    np.testing.assert_allclose(widest, [0.8, 9.8, 0.8, 0.8])  # nothing went down the other trees

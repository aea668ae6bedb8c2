"""Figures to play with: SVG that a few lines of script move, without a server, in a page or in JupyterLab.

All numbers are computed here, when the figure is made; the script only chooses among them. A still picture
belongs in the cell before each, for where scripts are cut off.
"""

import base64
import itertools
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import jinja2
import numpy as np
from IPython.display import HTML
from numpy.typing import ArrayLike

from hnas_kit import trees
from hnas_kit.figures.style import BLUE, VERMILLION, shade
from hnas_kit.figures.trees import top, tree_layout
from hnas_kit.samplers import MCTS
from hnas_kit.studies import toy
from hnas_kit.trees import ArchTree

EXPLORATIONS = (0.0, 0.02, 0.1, 0.2, 0.5, 1.0)
TEMPERATURES = (0.005, 0.01, 0.02, 0.05, 0.1)
STEPS = (0, 1, 2, 3, 4, 5, 7, 10, 14, 20, 28, 40, 56, 80, 112, 160, 225)
BONUSES = {"sqrt": "Eq. 3: λ √(ln N / n)", "linear": "Algorithm 1: λ √(ln N) / n"}


def _page(template: str, **values: Any) -> HTML:
    """One of the two pages beside this module, filled in."""
    text = (files("hnas_kit.figures") / template).read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return HTML(environment.from_string(text).render(values))


def _places(tree: ArchTree) -> list[dict[str, Any]]:
    """Where each node of a toy tree stands, how it is called, and where the branch to it begins."""
    across, mean = tree_layout(tree)[0], toy.means(tree)
    nodes = []
    for v in range(tree.num_nodes):
        fill, ink = shade((mean[v] - 0.46) / 0.35)
        node = {"x": round(52 * (across[v] + 0.5), 1), "y": round(20 + 74 * tree.level[v], 1)}
        node |= {"fill": fill, "ink": ink, "mean": f"{100 * mean[v]:.1f}"}
        if v:
            above = nodes[tree.parent[v]]
            node |= {"from_x": above["x"], "from_y": above["y"], "question": toy.question(tree, v)}
            outward = 14 if node["x"] > above["x"] else -14  # beside the branch, away from its sibling's
            node |= {"label_x": round((0.4 * above["x"] + 0.6 * node["x"]) + outward, 1),
                     "label_y": round(0.42 * above["y"] + 0.58 * node["y"], 1)}  # fmt: skip
        if tree.arch_index[v] >= 0:
            node["name"] = toy.SPACE.format(tree.archs[tree.arch_index[v]])
        nodes.append(node)
    return nodes


def _frames(tree: ArchTree, bonus: str) -> bytes:
    """What a search has learned, for every lambda, T and number of steps, in bytes.

    A frame has for the first of each two siblings its probability given their parent (in 255ths) and its
    visits, then for all nodes but the root C (in hundredths).
    """
    frames = []
    for exploration, temperature in itertools.product(EXPLORATIONS, TEMPERATURES):
        sampler = MCTS(tree, exploration=exploration, temperature=temperature, bonus=bonus)
        for chance, value, visits in toy.searched(sampler, STEPS):
            frames += [np.rint(255 * chance[1::2]), visits[1::2], np.rint(100 * value[1:])]
    return np.concatenate(frames).astype(np.uint8).tobytes()


def toy_search() -> HTML:
    """Tree search on the eight architectures: sliders for lambda, T and the step.

    Above each other both bonuses, beside each other both orders of the questions; every frame is of a search
    by :class:`hnas_kit.samplers.MCTS`.
    """
    forest = {"a asked first (default tree)": trees.default(toy.SPACE), "c asked first": toy.learned_tree()}
    panels, frames = [], b""
    for bonus, formula in BONUSES.items():
        for order, tree in forest.items():
            nodes = _places(tree)
            good = [v for v in tree.leaf.values() if tree.archs[tree.arch_index[v]][2] == 1]
            panels.append({"title": order, "bonus": formula, "nodes": nodes, "good": good,
                           "parent": tree.parent.tolist()})  # fmt: skip
            frames += _frames(tree, bonus)
    sliders = [
        {"name": "lambda", "text": "λ, weight of exploration", "values": EXPLORATIONS, "start": 2},
        {"name": "T", "text": "T, temperature", "values": TEMPERATURES, "start": 2},
        {"name": "step", "text": "steps searched", "values": STEPS, "start": len(STEPS) - 3},
    ]
    data = {
        "sizes": [len(slider["values"]) for slider in sliders],
        "panels": [{"parent": panel["parent"], "good": panel["good"]} for panel in panels],
        "frames": base64.b64encode(frames).decode(),
    }
    return _page("search.html", panels=panels, sliders=sliders, data=json.dumps(data), colour=BLUE)


def tree_explorer(tree: ArchTree, labels: Sequence[str], truth: ArrayLike | None) -> HTML:
    """A tree and a slider that cuts it into groups; a node tells what is under it.

    Of a tree with more than ``LEAVES`` the upper part is drawn, see :func:`hnas_kit.figures.trees.top`.

    Args:
        tree: any tree.
        labels: text of each of ``tree.archs``.
        truth: (N,) true accuracy (%) of each, or None.
    """
    part = top(tree)
    upper, names = part.tree, part.labels(labels)
    place = tree_layout(upper)[0]
    accuracy = np.full(len(tree.archs), np.nan) if truth is None else np.asarray(truth, float)
    span = max(np.nanmax(accuracy) - (low := np.nanmin(accuracy)), 1e-9) if truth is not None else 1.0
    height, nodes = 250, []
    for v in range(upper.num_nodes):
        below = [i for leaf in upper.members[v] for i in part.members[leaf]]
        node = {
            "x": round((place[v] + 0.5) * (1000 / upper.num_leaves), 1),
            "y": round(16 + height * (1 - upper.height[v] / upper.height[0]), 1),
            "parent": int(upper.parent[v]),
            "size": len(below),
            "names": ", ".join(names[leaf] for leaf in upper.members[v]),
            "leaf": names[upper.arch_index[v]] if upper.arch_index[v] >= 0 else "",
        }
        if truth is not None:
            mean = float(accuracy[below].mean())
            node |= {"mean": round(mean, 3), "fill": shade((mean - low) / span)[0]}
        nodes.append(node)
    inner = np.flatnonzero(upper.num_children)
    data = {
        "open": inner[np.lexsort((inner, -upper.height[inner]))].tolist(),
        "nodes": [{k: n[k] for k in ("parent", "size", "names", "mean", "x", "y") if k in n} for n in nodes],
        "variance": None if truth is None else round(float(accuracy.var()), 6),
        "bottom": 16 + height,
    }
    values = {"nodes": nodes, "steps": len(inner), "bottom": 16 + height}
    return _page("explorer.html", **values, data=json.dumps(data), cut=VERMILLION)

"""What makes a tree good: many trees over NAS-Bench-Macro, and what simulated searches find on each.

Learned trees come from the outputs of supernets, by measure, linkage and number of images. Beside them stand
trees that need no network, and two that know the true accuracies, which nobody does before a search.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from hnas_kit import benchmarks, distances, trees
from hnas_kit.errors import HnasError
from hnas_kit.names import LINKAGES, MEASURES, READINGS, SUPERNETS
from hnas_kit.runs import Finished
from hnas_kit.samplers import Method
from hnas_kit.studies import readings, study
from hnas_kit.studies.study import Setting
from hnas_kit.trees import ArchTree

IMAGES = (64, 128, 256, 512)
STEPS = (980, 3920, 11_760)  # 1/12, 1/3 and all of the paper's
SEEDS = 48
PROPERTIES = ("early_variance", "depth", "group_size", "group_depth", "blind")
KEYS = ["source", "measure", "linkage", "images"]  # of a tree
CELL = ["bonus", "steps", "exploration"]


def without_outputs(setting: Setting) -> dict[str, ArchTree]:
    """Trees by name that no outputs are needed for, and those of the package's supernets."""
    space, truth = setting.space, setting.truth["accuracy"].to_numpy()
    archs, forest = space.enumerate(), setting.forest
    onehot = distances.from_encodings(space.encode(archs, "onehot"))
    found = {name: forest[name] for name in ("default", "random", "random 1", "random 2", *study.LEARNED)}
    found |= {"one-hot, 1/2^l": forest["one-hot"], "one-hot": trees.learned(onehot, archs)}
    estimates = {f"estimates {i}": benchmarks.supernet(i).accuracy.to_numpy() for i in range(SUPERNETS)}
    for name, accuracy in ({"true accuracies": truth} | estimates).items():
        found[f"{name}, Ward"] = trees.learned(np.abs(accuracy[:, None] - accuracy), archs)
        found[f"{name}, halved"] = trees.accuracy(accuracy, archs)
    return found


def outputs_of(run: str, setting: Setting) -> Finished:
    """The finished ``02_distances`` of a run.

    Raises:
        HnasError: if there are none, or of another space than the setting's.
    """
    part = Finished(run, "02_distances")
    if (space := part.manifest["lineage"]["01_pretrain"]["space"]) != setting.space.name:
        raise HnasError(f"run {run} is of space {space}; trees are studied over {setting.space.name}")
    return part


def from_outputs(
    outputs: np.ndarray, setting: Setting, images: Iterable[int] = IMAGES
) -> Iterator[tuple[dict[str, Any], ArchTree]]:
    """Trees of a supernet: every measure and linkage, on the first of the images.

    Args:
        outputs: (N, B, C), see :func:`hnas_kit.evaluation.outputs`.
        setting: whose space they are of.
        images: how many; those that are more than B are left out.
    """
    archs = setting.space.enumerate()
    for count in images:
        if count > outputs.shape[1]:
            continue
        for measure in MEASURES:
            distance = distances.from_outputs(outputs[:, :count], measure)
            for linkage in LINKAGES:
                kind = {"measure": measure, "linkage": linkage, "images": count}
                yield kind, trees.learned(distance, archs, linkage)


def properties(tree: ArchTree, truth: pd.DataFrame) -> dict[str, float]:
    """What can be said of a tree without a search, where the truth is known.

    Args:
        tree: over the architectures of ``truth``, in its order.
        truth: see :func:`hnas_kit.benchmarks.load`.

    Returns:
        ``early_variance``, the share of the accuracies' variance that the first three levels explain;
        ``depth`` of the tree; ``group_size`` and ``group_depth``, architectures and level of the best group:
        the largest of which three in four or more are truly in the best quarter; and ``blind``, the share of
        the draws on the best quarter when siblings are drawn alike.
    """
    is_leaf = tree.arch_index >= 0
    good, size = np.zeros(tree.num_nodes), is_leaf.astype(float)
    good[is_leaf] = (truth["rank"].to_numpy() <= len(truth) / 4)[tree.arch_index[is_leaf]]
    for v in range(tree.num_nodes - 1, 0, -1):
        good[tree.parent[v]] += good[v]
        size[tree.parent[v]] += size[v]
    best = np.argmax(np.where(good >= 0.75 * size, size, 0))
    return {
        "early_variance": float(trees.variance_explained(tree, truth["accuracy"])[1][3]),
        "depth": tree.depth,
        "group_size": int(size[best]),
        "group_depth": int(tree.level[best]),
        "blind": float(study.blind(truth, {"it": tree}).loc["it", "best quarter (%)"]) / 100,
    }


def cells(leaves: int) -> Iterator[dict[str, Any]]:
    """What is simulated on each tree: bonus, steps, and the paper's lambda and the rule's."""
    for bonus in READINGS["bonus"]:
        for steps in STEPS:
            for value in (0.5, readings.advised(readings.RULE, bonus, steps, leaves)):
                yield {"bonus": bonus, "steps": steps, "exploration": round(value, 3)}


def searched(tree: ArchTree, setting: Setting, seeds: int) -> Iterator[dict[str, Any]]:
    """For each cell ``found``, the true rank of what is found, median over seeds, and ``best_quarter``."""
    subject, method = setting._replace(forest={"it": tree}), {"it": Method("mcts", "it")}
    for cell in cells(len(setting.truth)):
        result = study.run(subject, study.protocol(seeds=seeds, **cell), method)["it"]
        found = study.quartiles(result.found)[0]
        yield cell | {"found": found, "best_quarter": float(result.best_quarter.mean())}


def run(
    runs: Iterable[str] = (), progress: Callable[[int], Any] = lambda done: None, seeds: int = SEEDS
) -> pd.DataFrame:
    """Make all trees, and search on each.

    Args:
        runs: names of runs of the space whose ``02_distances`` are finished: a supernet each.
        progress: called with 1 after each tree.
        seeds: searches of each tree and cell.

    Returns:
        A row a tree and cell: ``KEYS``, ``PROPERTIES``, ``CELL``, ``found`` and ``best_quarter``.

    Raises:
        HnasError: if a run's outputs are missing, or not of NAS-Bench-Macro.
    """
    setting, rows = study.macro(), []

    def add(kind: Mapping[str, Any], tree: ArchTree) -> None:
        known = dict(kind) | properties(tree, setting.truth)
        rows.extend(known | row for row in searched(tree, setting, seeds))
        progress(1)

    parts = {name: outputs_of(name, setting) for name in runs}
    for name, tree in without_outputs(setting).items():
        add({"source": name}, tree)
    for name, part in parts.items():
        for kind, tree in from_outputs(part.load("outputs.npz")["outputs"], setting):
            add({"source": name, **kind}, tree)
    table = pd.DataFrame(rows)
    return table.reindex(columns=[*KEYS, *PROPERTIES, *CELL, "found", "best_quarter"])


def count(runs: Iterable[str]) -> int:
    """How many trees :func:`run` makes; raises :class:`HnasError` as it does."""
    setting = study.macro()
    images = [min(outputs_of(name, setting).params["images"], max(IMAGES)) for name in runs]
    each = len(MEASURES) * len(LINKAGES)
    return len(without_outputs(setting)) + sum(each * sum(n <= most for n in IMAGES) for most in images)


def correlations(table: pd.DataFrame) -> pd.DataFrame:
    """How far each property of a tree tells what is found on it, without a search.

    Returns:
        Indexed by ``CELL``: Spearman's rank correlation of each of ``PROPERTIES`` with the found rank, over
        all trees, equal ones once.
    """
    once = table.drop_duplicates([*PROPERTIES, *CELL])
    rows = {}
    for cell, group in once.groupby(CELL, sort=False):
        rows[cell] = {name: spearmanr(group[name], group["found"]).statistic for name in PROPERTIES}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(CELL)


def by_kind(table: pd.DataFrame) -> pd.DataFrame:
    """Learned trees by measure and linkage: over supernets, numbers of images, bonuses and lambdas.

    Returns:
        Indexed by measure and linkage, for each number of steps: ``found``, the median, and
        ``best_quarter``, the mean.
    """
    groups = table.dropna(subset="measure").groupby(["measure", "linkage", "steps"])
    return pd.DataFrame(
        {"found": groups["found"].median(), "best_quarter": groups["best_quarter"].mean()}
    ).unstack("steps")

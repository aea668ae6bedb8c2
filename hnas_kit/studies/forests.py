"""What makes a tree good: many trees over a space, and what simulated searches find on each.

Learned trees come from the outputs of supernets, by measure, linkage and number of images. Beside them stand
trees that need no network, and two that know the true accuracies, which nobody does before a search.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
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
# outputs and encodings together: distances by this measure and by one-hot encodings with 1/2^l, both over
# their mean, added
MIXED = {"kl + one-hot": "kl", "sqrt_kl + one-hot": "sqrt_kl"}
# on NAS-Bench-Macro 1/12, 1/3 and all of the paper's; on Pooling fewer: long searches find it on any tree
STEPS = {"macro": (980, 3920, 11_760), "pooling": (300, 1000, 3000)}
# for each bonus (c, b) of lambda = c (steps / architectures)^b at which exploring costs little
SMALL = {"sqrt": (0.05044, -0.259), "linear": (0.1903, 0.0)}
LENGTHS = ("short", "middle", "long")
SEEDS = 24
PROPERTIES = ("early_variance", "depth", "group_size", "group_depth", "blind")
TREE = ["benchmark", "source", "measure", "linkage", "images"]
CELL = ["benchmark", "bonus", "steps", "exploration"]


def setting(space: str, dataset: str) -> Setting:
    """What trees are over: NAS-Bench-Macro, or the Pooling space on a data set.

    Raises:
        HnasError: for another space, or without ground truth.
    """
    if space not in STEPS:
        raise HnasError(f"trees are studied over {', '.join(STEPS)}, not over {space}")
    return readings.pooling() if (space, dataset) == ("pooling", "cifar10") else study.setting(space, dataset)


def without_outputs(subject: Setting) -> dict[str, ArchTree]:
    """Trees by name that no outputs are needed for, and those of the package's supernets."""
    space, truth = subject.space, subject.truth["accuracy"].to_numpy()
    archs, known = space.enumerate(), {"true accuracies": truth}
    found = {name: tree for name, tree in subject.forest.items() if name in study.LEARNED}
    found["default"] = trees.default(space)
    for name, decay in {"one-hot": None, "one-hot, 1/2^l": 0.5}.items():
        found[name] = trees.learned(distances.from_encodings(space.encode(archs, "onehot"), decay), archs)
    found |= {f"random {seed}": trees.random(archs, seed) for seed in range(3)}
    if subject.estimate is not None:
        known |= {f"estimates {i}": benchmarks.supernet(i).accuracy.to_numpy() for i in range(SUPERNETS)}
    for name, accuracy in known.items():
        found[f"{name}, Ward"] = trees.learned(np.abs(accuracy[:, None] - accuracy), archs)
        found[f"{name}, halved"] = trees.accuracy(accuracy, archs)
    return found


def from_outputs(outputs: np.ndarray, subject: Setting) -> Iterator[tuple[dict[str, Any], ArchTree]]:
    """Trees of a supernet by measure and images, the first ``IMAGES`` as far as there are so many, else all.

    All are clustered by Ward's criterion, those on most images by each linkage. On most images also by Ward's
    criterion those of ``MIXED``.

    Args:
        outputs: (N, B, C), see :func:`hnas_kit.evaluation.outputs`.
        subject: whose space they are of.
    """
    archs = subject.space.enumerate()
    counts = [n for n in IMAGES if n <= outputs.shape[1]] or [outputs.shape[1]]
    by = {}  # in the end distances on most images
    for images in counts:
        for measure in MEASURES:
            distance = by[measure] = distances.from_outputs(outputs[:, :images], measure)
            for linkage in LINKAGES if images == counts[-1] else ("ward",):
                kind = {"measure": measure, "linkage": linkage, "images": images}
                yield kind, trees.learned(distance, archs, linkage)
    encoded = distances.from_encodings(subject.space.encode(archs, "onehot"), 0.5)
    for name, measure in MIXED.items():
        mixed = by[measure] / by[measure].mean() + encoded / encoded.mean()
        kind = {"measure": name, "linkage": "ward", "images": counts[-1]}
        yield kind, trees.learned(mixed, archs)


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
    is_good, size = truth["rank"].to_numpy() <= len(truth) / 4, tree.sizes
    good = np.array([is_good[below].sum() for below in tree.members])
    best = np.argmax(np.where(good >= 0.75 * size, size, 0))
    return {
        "early_variance": trees.early_variance(tree, truth["accuracy"]),
        "depth": tree.depth,
        "group_size": int(size[best]),
        "group_depth": int(tree.level[best]),
        "blind": float(study.blind(truth, {"it": tree}).loc["it", "best quarter (%)"]) / 100,
    }


def searched(tree: ArchTree, subject: Setting, seeds: int) -> Iterator[dict[str, Any]]:
    """Searches with both bonuses, of several lengths, with the paper's lambda and a small one.

    Yields:
        Each cell with what is :func:`hnas_kit.studies.study.measured`.
    """
    alone, paper = subject._replace(forest={"it": tree}), readings.PAPER[subject.space.name]
    for bonus, steps in itertools.product(READINGS["bonus"], STEPS[subject.space.name]):
        factor, power = SMALL[bonus]
        for value in (0.5, round(factor * (steps / len(subject.truth)) ** power, 4)):
            cell = {"bonus": bonus, "steps": steps, "exploration": value}
            how = study.protocol(seeds=seeds, **paper | cell)
            result = study.run(alone, how, {"it": Method("mcts", "it")})["it"]
            yield cell | study.measured(result)


def outputs_of(run: str) -> tuple[Finished, tuple[str, str]]:
    """The finished ``02_distances`` of a run, with the names of its space and of its ground truth's data."""
    part = Finished(run, "02_distances")
    pretrained = part.manifest["lineage"]["01_pretrain"]
    return part, (pretrained["space"], pretrained["dataset"].removesuffix("_jpeg"))


def run(
    runs: Iterable[str] = (), progress: Callable[[int], Any] = lambda done: None, seeds: int = SEEDS
) -> pd.DataFrame:
    """Make all trees, and search on each.

    Args:
        runs: names of runs whose ``02_distances`` is finished: a supernet each. Trees that need none are made
            over NAS-Bench-Macro, and over what these runs are of.
        progress: called with 1 after each tree.
        seeds: searches of each tree and cell.

    Returns:
        A row a tree and cell: ``TREE``, ``PROPERTIES``, ``CELL``, ``found`` and ``best_quarter``.

    Raises:
        HnasError: if a run's outputs are missing, or of a space that is not studied.
    """
    parts, rows = {name: outputs_of(name) for name in runs}, []
    for part, _ in parts.values():
        part.load("outputs.npz")  # a damaged one is told now, not after all trees that need none
    keys = dict.fromkeys([("macro", "cifar10"), *(key for _, key in parts.values())])  # each once
    subjects = {key: setting(*key) for key in keys}

    def add(key: tuple[str, str], kind: dict[str, Any], tree: ArchTree) -> None:
        subject = subjects[key]
        known = dict.fromkeys(TREE) | {"benchmark": "-".join(key[::-1])} | kind
        known |= properties(tree, subject.truth)
        rows.extend(known | row for row in searched(tree, subject, seeds))
        progress(1)

    for key, subject in subjects.items():
        for name, tree in without_outputs(subject).items():
            add(key, {"source": name}, tree)
    for name, (part, key) in parts.items():
        for kind, tree in from_outputs(part.load("outputs.npz")["outputs"], subjects[key]):
            add(key, {"source": name, **kind}, tree)
    return pd.DataFrame(rows)[[*TREE, *PROPERTIES, *CELL[1:], "found", "best_quarter"]]


def correlations(table: pd.DataFrame) -> pd.DataFrame:
    """How far each property of a tree tells, without a search, what will be found on it.

    Returns:
        Indexed by ``CELL``: Spearman's rank correlation of each of ``PROPERTIES`` with the found rank, over
        all trees, equal ones once.
    """
    rows = {}
    for cell, group in table.drop_duplicates([*CELL, *PROPERTIES, "found"]).groupby(CELL, sort=False):
        rows[cell] = {name: spearmanr(group[name], group["found"]).statistic for name in PROPERTIES}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(CELL)


def labelled(table: pd.DataFrame) -> pd.Series:
    """What each row's tree is called: its source, or of a supernet's outputs measure and linkage."""
    return table["source"].where(table["measure"].isna(), table["measure"] + ", " + table["linkage"])


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Each kind of tree over supernets, numbers of images, bonuses and lambdas.

    Returns:
        Indexed by benchmark and :func:`labelled`: number of ``trees``; for each of ``LENGTHS`` ``found``, the
        median, and ``best_quarter``, the mean. Those that steer the short searches best come first.
    """
    keys, lengths = ["benchmark", "label"], table.groupby("benchmark")["steps"].rank("dense").astype(int)
    rows = table.assign(label=labelled(table), length=lengths)  # 1 for the shortest
    cells = rows.groupby([*keys, "length"])
    found = cells.agg(found=("found", "median"), best_quarter=("best_quarter", "mean")).unstack("length")
    found.columns = [f"{column} {LENGTHS[length - 1]}" for column, length in found.columns]
    found.insert(0, "trees", rows.drop_duplicates([*keys, *TREE]).groupby(keys).size())
    return found.sort_values(["benchmark", "best_quarter short"], ascending=[True, False])

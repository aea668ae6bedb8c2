"""What samplers and trees are worth on NAS-Bench-Macro, told from hundreds of simulated searches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon

from hnas_kit import benchmarks, distances, trees
from hnas_kit.files import read_csv
from hnas_kit.samplers import METHODS, Method
from hnas_kit.schedule import Schedule
from hnas_kit.simulation import Simulation, quantiles, simulate
from hnas_kit.spaces import SearchSpace, make_space
from hnas_kit.trees import ArchTree

LEARNED = "learned"
Setting = tuple[SearchSpace, pd.DataFrame, dict[str, ArchTree]]  # space, ground truth, trees over all of it
# every sampler on every tree; a mixture needs supernets
COMPARED = {name: method for name, method in METHODS.items() if name != "mixture"} | {
    "regularised, equivalent nodes": Method("mcts_reg", "default", "equivalent_nodes"),
    "one-hot": Method("mcts", "one-hot"),
}
# without a supernet there is nothing to train evenly first
SCHEDULE = Schedule(4000, uniform=0.0, warmup=0.0, temperature_start=0.02, temperature_end=0.0025)
SETTINGS = {"beta": 0.95, "exploration": 0.1, "coefficient": 0.2}


def macro() -> Setting:
    """NAS-Bench-Macro to study: the space, its ground truth, and trees over all of it.

    ``learned`` and ``accuracy`` come from a supernet that was trained on CIFAR-10 images; how is in
    ``tables/macro-tree.json``. ``one-hot`` needs no network (Table 3, with 1/2^l).
    """
    space, folder = make_space("macro"), files("hnas_kit") / "tables"
    truth = benchmarks.load("cifar10-macro")
    learned = trees.load((folder / "macro-tree.npz").read_bytes())
    with (folder / "macro-supernet.csv").open() as file:
        estimate = read_csv(file, index_col="architecture")["supernet"]
    archs = space.enumerate()
    return (
        space,
        truth,
        {
            LEARNED: learned,
            "default": trees.default(space),
            "random": trees.random(archs, seed=0),
            "accuracy": trees.accuracy(estimate[truth.index], archs),
            "one-hot": trees.learned(distances.from_encodings(space.encode(archs, "onehot"), 0.5), archs),
        },
    )


def run(
    space: SearchSpace,
    truth: pd.DataFrame,
    forest: Mapping[str, ArchTree],
    seeds: Sequence[int],
    schedule: Schedule = SCHEDULE,
    methods: Mapping[str, Method] = COMPARED,
    **settings: float,
) -> dict[str, Simulation]:
    """Simulate every method with the same seeds.

    Args:
        space, truth, forest: see :func:`macro`; or of any other space.
        seeds: of the searches of each method.
        schedule: phases and temperature.
        methods: by name.
        settings: ``beta``, ``exploration``, ``coefficient`` of the samplers instead of ``SETTINGS``;
            ``batch_size`` and ``learning`` of :func:`hnas_kit.simulation.simulate`.
    """
    own = {name: settings.pop(name) for name in list(settings) if name in SETTINGS}
    return {
        name: simulate(
            space, truth, method.make(space, forest, **SETTINGS | own), schedule, seeds, **settings
        )
        for name, method in methods.items()
    }


def table(results: Mapping[str, Simulation], best: int = 10, against: str = LEARNED) -> pd.DataFrame:
    """One row a method: how soon it finds what is best, and where its draws end.

    Args:
        results: see :func:`run`.
        best: how many architectures count as best.
        against: the method that others are compared with.

    Returns:
        Columns ``to top B``, evaluations to the first draw of one of the B best, median over seeds with its
        95 % bootstrap interval (``never`` if half of the seeds found none); ``to best`` the same of the very
        best; ``found best`` share of seeds that drew it; ``regret (points)`` and ``last draws (%)``, means
        over seeds of the final simple regret and of the true accuracy of the last tenth of the draws;
        ``p``, Wilcoxon's signed-rank test of ``to top B``, seed by seed, against ``against`` (what was
        never found counts as one evaluation more than there were; 1 if no seed differs).
    """
    rows = {}
    for name, result in results.items():
        steps = result.reward.shape[1]
        first, own = (np.minimum(r.first(best), steps + 1) for r in (result, results[against]))
        rows[name] = {
            f"to top {best}": _interval(result.first(best)),
            "to best": _interval(result.first(1)),
            "found best": float(np.isfinite(result.first(1)).mean()),
            "regret (points)": 100 * float(result.regret()[:, -1].mean()),
            "last draws (%)": 100 * float(result.drawn()[:, -max(steps // 10, 1) :].mean()),
            "p": float(wilcoxon(first - own).pvalue) if np.any(first != own) else 1.0,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")


def blind(truth: pd.DataFrame, forest: Mapping[str, ArchTree], best: int = 10) -> pd.DataFrame:
    """Where the draws go on each tree before anything is known, when siblings are drawn alike.

    Args:
        truth, forest: see :func:`run`.
        best: how many architectures count as best.

    Returns:
        Indexed by tree: the share of the draws that goes to the B best, ``top B (%)``, and to the truly
        ``best quarter (%)``; the ``depth of the best`` B and of ``all``, means; and ``variance explained``,
        the share of the variance of accuracy that lies between the branches of the root.
    """
    accuracy, rank = truth["accuracy"].to_numpy(), truth["rank"].to_numpy()
    rows = {}
    for name, tree in forest.items():
        leaves = np.array([tree.leaf[arch] for arch in tree.archs])
        share = np.ones(tree.num_nodes)
        for v in range(1, tree.num_nodes):
            share[v] = share[tree.parent[v]] / tree.num_children[tree.parent[v]]
        share, depth = share[leaves], tree.level[leaves]
        rows[name] = {
            f"top {best} (%)": 100 * float(share[rank <= best].sum()),
            "best quarter (%)": 100 * float(share[rank <= len(rank) / 4].sum()),
            "depth of the best": float(depth[rank <= best].mean()),
            "of all": float(depth.mean()),
            "variance explained": float(trees.variance_explained(tree, accuracy)[1][1]),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("tree")


def _interval(values: np.ndarray) -> str:
    middle, low, high = ("never" if np.isinf(q) else f"{q:.0f}" for q in quantiles(values))
    return f"{middle} ({low} to {high})"

"""What samplers and trees are worth on NAS-Bench-Macro, told from hundreds of simulated searches."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from hnas_kit import benchmarks, distances, trees
from hnas_kit.errors import HnasError
from hnas_kit.names import SUPERNETS
from hnas_kit.processes import parallel
from hnas_kit.runs.command_params import Simulate
from hnas_kit.samplers import METHODS, SAMPLERS, Method
from hnas_kit.spaces import SearchSpace, make_space
from hnas_kit.studies import imitation
from hnas_kit.studies.simulation import Evolution, RandomSearch, Simulation, require_known, simulate
from hnas_kit.trees import ArchTree


class Setting(NamedTuple):
    """What is searched."""

    space: SearchSpace
    truth: pd.DataFrame  # ground truth, see hnas_kit.benchmarks.load
    forest: Mapping[str, ArchTree]  # trees over all of it, by name
    estimate: pd.Series | None = None  # a supernet's accuracies (%) by text form


LEARNED = ("learned", *(f"learned {number}" for number in range(1, SUPERNETS)))  # a tree a supernet
ONEHOT = "one-hot, 1/2^l"  # the tree from such encodings
# every sampler on every tree (a mixture needs supernets), then references of the field, which are no samplers
COMPARED: dict[str, Method | type] = (
    {name: METHODS[name] for name in ("uniform", "independent", "boltzmann", "default", "regularised")}
    | {"regularised, equivalent nodes": Method("mcts_reg", "default", "equivalent_nodes")}
    | {name: Method("mcts", name) for name in LEARNED}
    | {"accuracy": METHODS["accuracy"]}
    | {name: Method("mcts", name) for name in (ONEHOT, "vector")}
    | {name: Method("mcts", name) for name in ("random", "random 1", "random 2")}
    | {"random search": RandomSearch, "regularised evolution": Evolution}
)


def protocol(**changes: Any) -> Simulate:
    """How searches are simulated: the defaults of :class:`Simulate` with changes.

    Raises:
        HnasError: one line, for an unknown name or a value out of range.
    """
    return Simulate.checked(changes, "simulate")


def setting(space: str = "macro", dataset: str = "cifar10", supernet: int = 0) -> Setting:
    """What is searched, by the names of a space and a data set: its ground truth, and trees over all of it.

    On NAS-Bench-Macro ``learned``, ``learned 1`` and so on come from supernets that were trained on CIFAR-10
    images, see :func:`hnas_kit.benchmarks.supernet`; ``accuracy`` and the estimates from one of them.
    Elsewhere no supernet was trained: ``accuracy`` halves by the true accuracies, and there is no ``learned``
    tree. ``vector`` and ``one-hot, 1/2^l`` need no network (Table 3), ``random`` and ``random 1`` and ``2``
    know nothing.

    Args:
        space, dataset: their names.
        supernet: whose estimates.

    Raises:
        HnasError: if there is no ground truth, or no such supernet.
    """
    kept = (space, dataset) == ("macro", "cifar10")
    if supernet and not kept:
        raise HnasError("the package's supernets are of NAS-Bench-Macro: supernet must be 0 elsewhere")
    truth, made, estimate, forest = benchmarks.needed(space, dataset), make_space(space), None, {}
    archs = made.enumerate()
    if kept:
        supernets = [benchmarks.supernet(number) for number in range(SUPERNETS)]
        estimate = supernets[supernet].accuracy
        forest = {name: one.tree for name, one in zip(LEARNED, supernets, strict=True)}
    forest["default"] = trees.default(made)
    forest["accuracy"] = trees.accuracy(truth["accuracy"] if estimate is None else estimate, archs)
    forest["random"] = trees.random(archs, seed=0)
    forest[ONEHOT] = trees.learned(distances.from_encodings(made.encode(archs, "onehot"), 0.5), archs)
    forest["vector"] = trees.learned(distances.from_encodings(made.encode(archs, "vector")), archs)
    forest |= {f"random {seed}": trees.random(archs, seed) for seed in (1, 2)}
    return Setting(made, truth, forest, estimate)


def compared(subject: Setting) -> dict[str, Method | type]:
    """What is compared on a setting: ``COMPARED`` as far as there are trees, and samplers of one's own."""
    own = {name: Method(name, "default" if Method(name).walks else "") for name in SAMPLERS.brought}
    there = {"", *subject.forest}
    return {name: one for name, one in COMPARED.items() if getattr(one, "tree", "") in there} | own


def require_memory(methods: int, steps: int, seeds: int, final_samples: int = 50) -> None:
    """Raise :class:`HnasError` unless what so many searches draw and see fits in memory.

    Each step of all methods is kept; while one is searched and summed up, twice as much of its own.
    """
    need, there = 8 * seeds * ((methods + 2) * steps + 2 * final_samples), parallel.memory()
    if need > there:
        raise HnasError(
            f"seeds {seeds}, steps {steps} and final_samples {final_samples} of {methods} methods take "
            f"{need / 1e9:,.1f} GB of memory, and there are {there / 1e9:,.1f}: one of them must be lower"
        )


def run(
    setting: Setting, how: Simulate, methods: Mapping[str, Method | type] = COMPARED
) -> dict[str, Simulation]:
    """Simulate every method with the same seeds.

    Args:
        setting: see :func:`setting`.
        how: see :func:`protocol`. A method takes of it what it has, and its own settings come first.
        methods: by name; references of the field are classes.

    Raises:
        HnasError: before anything starts, for a method that cannot be simulated or lacks its tree, or without
            the estimates that rewards are to follow.
    """
    if how.rewards == "supernet" and setting.estimate is None:
        raise HnasError("rewards cannot be a supernet's: there are no estimates of one")
    samplers, schedules, later = {}, {}, {}
    for name, method in methods.items():
        if isinstance(method, Method):
            samplers[name] = method.make(setting.space, setting.forest, **how.sampler_settings)
            schedules[name] = how.phases_of(how.steps, method)
            if method.relearned:
                every = method.settings.get("relearn_every", how.relearn_every)
                known = setting.forest[method.first_tree], schedules[name], every
                later[name] = imitation.planted(*known, how.tree_growth, min(how.imitated, how.seeds))
        else:
            samplers[name] = method(setting.space.enumerate())
            schedules[name] = how.phases_of(how.steps)
        require_known(samplers[name])
    require_memory(len(samplers), how.steps, how.seeds, how.final_samples)
    options = how.model_dump(include={"batch_size", "learning", "final", "final_samples", "scored"})
    return {
        name: simulate(
            setting.space,
            setting.truth,
            sampler,
            schedules[name],
            range(how.seeds),
            estimate=setting.estimate if how.rewards == "supernet" else None,
            later=later.get(name, ()),
            **options,
        )
        for name, sampler in samplers.items()
    }


def quartiles(values: ArrayLike) -> tuple[float, float, float]:
    """Median, lower and upper quartile; each is one of the values, so infinite ones stay what they are."""
    return tuple(np.quantile(values, [0.5, 0.25, 0.75], method="inverted_cdf").tolist())


def measured(result: Simulation) -> dict[str, float]:
    """What tables of studies keep of a simulation.

    Returns:
        ``found``, the true rank of what is found, median over seeds, with its quartiles ``lower`` and
        ``upper``; and ``best_quarter``, the share of the third phase on the truly best quarter, mean over
        seeds.
    """
    found, lower, upper = quartiles(result.found)
    best_quarter = float(result.best_quarter.mean())
    return {"found": found, "lower": lower, "upper": upper, "best_quarter": best_quarter}


def table(results: Mapping[str, Simulation], best: int = 10) -> pd.DataFrame:
    """One row a method: what it finds, and where its draws go.

    Args:
        results: see :func:`run`.
        best: how many architectures count as best.

    Returns:
        Columns ``found rank``, the true rank of what is found, median over seeds and quartiles in brackets;
        where rewards are a supernet's ``rank by supernet``, the same by its estimates; ``best quarter (%)``,
        share of the third phase on the truly best quarter, mean over seeds; ``distinct``, different
        architectures drawn in the third phase, median; ``to top B``, its steps until one of the truly B best
        is drawn, median and quartiles, ``never`` where none was.
    """
    rows = {}
    for name, result in results.items():
        rows[name] = {"found rank": _interval(result.found)}
        if result.seen is not result.accuracy:
            rows[name]["rank by supernet"] = _interval(result.found_seen)
        rows[name] |= {
            "best quarter (%)": 100 * float(result.best_quarter.mean()),
            "distinct": quartiles(result.distinct)[0],
            f"to top {best}": _interval(result.first(best)),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")


def blind(truth: pd.DataFrame, forest: Mapping[str, ArchTree], best: int = 10) -> pd.DataFrame:
    """Where the draws go on each tree before anything is known, when siblings are drawn alike.

    Args:
        truth, forest: see :class:`Setting`.
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
    middle, low, high = ("never" if np.isinf(q) else f"{q:.0f}" for q in quartiles(values))
    return f"{middle} ({low} to {high})"

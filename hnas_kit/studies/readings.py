"""Which reading of the paper finds what: simulated searches over readings, lambda, trees and lengths.

Two benchmarks with known accuracies: NAS-Bench-Macro (3,969 architectures, 11,760 steps in the paper), and
Pooling (36, 39,200 steps). :func:`rule` makes of them a rule for lambda, :func:`tested` says how good it is.
"""

import itertools
from collections.abc import Callable, Iterator
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import ttest_ind_from_stats

from hnas_kit import trees
from hnas_kit.names import READINGS
from hnas_kit.samplers import Method
from hnas_kit.studies import paper, study
from hnas_kit.studies.rule import RULE
from hnas_kit.studies.study import Setting

COST = 0.1  # part of the draws on the best quarter that is little to lose
LAMBDAS = (0.005, 0.02, 0.1, 0.5, 2.0)
SHARES = {"1/12": 1 / 12, "1/3": 1 / 3, "1": 1, "3": 3}  # of the paper's number of steps
TREES = ("learned", "default", study.ONEHOT, "random", "random 1")  # the rule is fitted on them
LEARNED = study.LEARNED  # a tree a supernet of NAS-Bench-Macro
OTHERS = LEARNED[1:]  # that the rule is tested on
# what differs between the benchmarks in the paper (App. B.1); T's end on NAS-Bench-Macro is chosen here
PAPER: dict[str, dict[str, Any]] = {
    "macro": {"steps": 11_760, "temperature_start": 0.01, "final": "samples"},
    "pooling": {"steps": 39_200, "temperature_start": 0.02, "final": "path"},
}
DEFAULTS = {name: next(iter(values)) for name, values in READINGS.items()}
LEAVES = {"macro": 3969, "pooling": 36}
CELLS = ["benchmark", "share", "bonus", "tree"]  # for which lambda is looked at
KEYS = ["benchmark", "tree", "share", "steps", *READINGS, "exploration", "rewards"]


def pooling() -> Setting:
    """The Pooling space to study; its learned tree is that of ``tables/pooling-tree.json``."""
    subject = study.setting("pooling", "cifar10")
    learned = trees.load((files("hnas_kit.benchmarks") / "tables/pooling-tree.npz").read_bytes())
    forest = {"learned": learned} | subject.forest
    return subject._replace(forest={name: forest[name] for name in TREES})


def settings() -> dict[str, Setting]:
    """What is searched, by benchmark."""
    return {"macro": study.setting(), "pooling": pooling()}


def steps(benchmark: str, share: str) -> int:
    """The number of steps at a share of the paper's length."""
    return round(SHARES[share] * PAPER[benchmark]["steps"])


def cells() -> Iterator[dict[str, Any]]:
    """What is simulated: benchmark, share of the paper's steps, readings, lambda, rewards, and the seeds.

    Every combination of readings is looked at with 30 seeds; with 100 the bonus and lambda at the default of
    the other readings, also at the rule's own lambda, on NAS-Bench-Macro at three times the paper's length
    and with a supernet's rewards, too. On Pooling three times the paper's length has 30 seeds.
    """
    combinations = [dict(zip(READINGS, one, strict=True)) for one in itertools.product(*READINGS.values())]
    for name, share, readings in itertools.product(PAPER, SHARES, combinations):
        usual = readings | {"bonus": ""} == DEFAULTS | {"bonus": ""}
        if share == "3" and not usual:
            continue
        for exploration in (*LAMBDAS, *([RULE[readings["bonus"]]] if usual else [])):
            cell = {"benchmark": name, "share": share, **readings, "exploration": exploration}
            cell["seeds"] = 100 if usual and (name, share) != ("pooling", "3") else 30
            yield cell | {"rewards": "true"}
            if name == "macro" and usual and share == "1" and exploration in LAMBDAS:
                yield cell | {"rewards": "supernet"}


def run(progress: Callable[[int], Any] = lambda done: None, seeds: int = 0) -> pd.DataFrame:
    """Simulate every cell on every tree.

    Args:
        progress: called with 1 after each cell.
        seeds: of every cell; 0 for as many as :func:`cells` says.

    Returns:
        A row a cell and tree, of ``TREES`` and, where there are such, ``OTHERS``: ``KEYS``, ``seeds``,
        what is :func:`hnas_kit.studies.study.measured`, and the standard ``deviation`` of ``best_quarter``.
    """
    subjects, rows = settings(), []
    for cell in cells():
        setting, paper = subjects[cell["benchmark"]], PAPER[cell["benchmark"]]
        methods = {tree: Method("mcts", tree) for tree in (*TREES, *OTHERS) if tree in setting.forest}
        length = steps(cell["benchmark"], cell["share"])
        chosen = {name: cell[name] for name in (*READINGS, "exploration", "rewards", "seeds")}
        how = study.protocol(**paper | chosen | {"steps": length, "seeds": seeds or cell["seeds"]})
        for tree, result in study.run(setting, how, methods).items():
            own = {"tree": tree, "steps": length, "seeds": how.seeds}
            spread = {"deviation": float(result.best_quarter.std(ddof=1)) if how.seeds > 1 else np.nan}
            rows.append(cell | own | study.measured(result) | spread)
        progress(1)
    return pd.DataFrame(rows)[[*KEYS, "seeds", "found", "lower", "upper", "best_quarter", "deviation"]]


def usual(table: pd.DataFrame) -> pd.DataFrame:
    """The rows with true rewards and the default of every reading but the bonus."""
    others = [table[name] == value for name, value in DEFAULTS.items() if name != "bonus"]
    return table[np.logical_and.reduce([table["rewards"] == "true", *others])]


def _reach(shares: np.ndarray) -> np.ndarray:
    """(...) position of the largest lambda from the best one up to the first that costs more than ``COST``.

    Args:
        shares: (..., lambdas) of the draws on the best quarter, lambda growing.
    """
    best = shares.max(axis=-1, keepdims=True)
    above = np.arange(shares.shape[-1]) > shares.argmax(axis=-1)[..., None]
    costly = above & (shares < (1 - COST) * best)
    return np.where(costly.any(axis=-1), costly.argmax(axis=-1), shares.shape[-1]) - 1


def largest(table: pd.DataFrame) -> pd.DataFrame:
    """The largest of ``LAMBDAS`` that costs little, for each of ``CELLS``.

    With true accuracies small ones are the best nearly everywhere under Eq. 3: what can be said is up to
    where exploring costs at most ``COST`` of the draws on the best quarter.

    Returns:
        Indexed by ``CELLS``: ``exploration``; and ``at_best``, the share of draws at the best of ``LAMBDAS``.
    """
    shares = _shares(table, "best_quarter")
    reached = np.array(LAMBDAS)[_reach(shares.to_numpy())]
    return pd.DataFrame({"exploration": reached, "at_best": shares.max(axis=1)})


def _shares(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """A column of :func:`usual`, a row a cell and tree, a column for each of ``LAMBDAS``."""
    rows = usual(table)
    rows = rows[rows["exploration"].isin(LAMBDAS)]
    return rows.pivot(index=CELLS, columns="exploration", values=column)


def _fitted(rows: pd.DataFrame) -> pd.DataFrame:
    """Of rows indexed by ``CELLS`` those to which the rule is fitted."""
    at = rows.index.to_frame()
    lengths = at["share"].isin(("1/12", "1"))
    return rows[(at["benchmark"] == "macro") & lengths & at["tree"].isin(TREES)]


def rule(table: pd.DataFrame) -> dict[str, float]:
    """For each bonus the geometric mean of the :func:`largest` lambdas.

    On NAS-Bench-Macro with ``TREES``, at 1/12 of the paper's length and at all of it. It does not depend on
    the length: see :func:`exponent`.
    """
    logs = np.log(_fitted(largest(table))["exploration"])
    return np.exp(logs.groupby("bonus").mean()).to_dict()


def exponent(table: pd.DataFrame, draws: int = 10_000) -> pd.DataFrame:
    """b of a rule c (steps / architectures)^b, by least squares on the cells of :func:`rule`.

    Args:
        table: of :func:`run`.
        draws: of the share of every cell from a normal distribution with its standard error.

    Returns:
        Indexed by bonus: ``exponent``, and ``lower`` and ``upper``, between which 95 % of the draws are (none
        of one seed).
    """
    shares, rng = _fitted(_shares(table, "best_quarter")), np.random.default_rng(0)
    errors = _fitted(_shares(table, "deviation")) / np.sqrt(_fitted(_shares(table, "seeds")))
    found = {}
    for bonus, rows in shares.groupby("bonus"):
        drawn = rng.normal(rows, errors.loc[rows.index], (draws, *rows.shape))
        reached = np.log(LAMBDAS)[_reach(np.concatenate([rows.to_numpy()[None], drawn]))]
        length = np.log([SHARES[share] for share in rows.index.get_level_values("share")])
        length -= length.mean()
        slopes = reached @ length / (length @ length)
        slopes[1:][np.isnan(drawn).any(axis=(1, 2))] = np.nan
        found[bonus] = slopes[0], *np.quantile(slopes[1:], [0.025, 0.975])
    return pd.DataFrame.from_dict(found, "index", columns=["exponent", "lower", "upper"])


def tested(table: pd.DataFrame) -> pd.DataFrame:
    """What the rule's own lambda costs where it was and was not fitted.

    Returns:
        Indexed by benchmark, share of the paper's length, bonus and tree: ``lambda``, the rule's; ``best
        quarter`` with it, and ``at best`` with the best lambda; ``cost``, the part of it that is lost;
        ``found`` with it; ``factor``, how far it is from the largest that costs little.
    """
    rows = usual(table).set_index(CELLS)
    rows = rows.loc[~rows["exploration"].isin(LAMBDAS), ["exploration", "best_quarter", "found"]]
    cheap = largest(table).reindex(rows.index)
    best = np.maximum(cheap["at_best"], rows["best_quarter"])
    apart = np.abs(np.log(rows["exploration"] / cheap["exploration"]))
    rows = rows.rename(columns={"exploration": "lambda", "best_quarter": "best quarter"})
    lost = 1 - rows["best quarter"] / best
    return rows.assign(**{"at best": best, "cost": lost, "factor": np.exp(apart)})


def error(table: pd.DataFrame) -> pd.DataFrame:
    """What the limit of ``RULE`` costs where it was fitted, at other lengths, on other trees and elsewhere.

    Returns:
        For each of the four: number of ``cells`` (tree, length, bonus); ``cost`` of obeying it, mean and
        ``worst``; ``factor`` between the rule and the largest lambda that costs little, geometric mean; and
        ``too large``, in how many cells it costs more than 10 %.
    """
    rows = tested(table).reset_index()
    here, length = rows["benchmark"] == "macro", rows["share"].isin(("1/12", "1"))
    kinds = {"other trees": rows["tree"].isin(OTHERS), "fitted": here & length, "other lengths": here}
    where = np.select(list(kinds.values()), list(kinds), "other benchmark")
    groups = rows.assign(log=np.log(rows["factor"]), much=rows["cost"] > COST).groupby(where, sort=False)
    found = pd.DataFrame(
        {"cells": groups.size(), "cost": groups["cost"].mean(), "worst": groups["cost"].max(),
         "factor": np.exp(groups["log"].mean()), "too large": groups["much"].sum()}
    )  # fmt: skip
    return found.reindex(["fitted", "other lengths", "other trees", "other benchmark"])


def nearest(table: pd.DataFrame) -> pd.DataFrame:
    """How near each combination of readings comes to the paper's ranks at the paper's lambda and length.

    Returns:
        Indexed by the readings, the nearest first: what the default and the learned tree find on both
        benchmarks, of several learned trees the geometric mean; and ``factor``, by which these four differ
        from the paper's ranks (Tables 1 and 4), geometric mean.
    """
    kinds = {"default": "default"} | dict.fromkeys(LEARNED, "learned")
    there = (table["rewards"] == "true") & (table["share"] == "1") & (table["exploration"] == 0.5)
    rows = table[there & table["tree"].isin(kinds)]
    rows = rows.assign(kind=rows["tree"].map(kinds), log=np.log(rows["found"]))
    found = rows.pivot_table(index=list(READINGS), columns=["benchmark", "kind"], values="log")
    published = paper.TABLES["table1"]
    apart = [
        found[name, kind] - np.log(published[name].loc[paper.LABELS[kind], "average rank"])
        for name, kind in found
    ]
    shown = np.exp(found).set_axis([f"{name}, {kind}" for name, kind in found], axis=1)
    return shown.assign(factor=np.exp(np.abs(apart).mean(axis=0))).sort_values("factor")


def same(table: pd.DataFrame) -> pd.DataFrame:
    """What each reading changes: of pairs of cells that differ in it alone, all trees, true rewards.

    Returns:
        Indexed by reading: number of ``pairs``; ``best quarter``, the mean difference of the second value to
        the first, and ``spread``, its standard deviation over pairs; ``changed``, the share of pairs in which
        it is above 0.05 either way; ``told``, the share in which it is beyond chance (Welch's t test, p below
        0.001); and ``found``, the median of the ratio of found ranks.
    """
    rows = {}
    truly = table[(table["rewards"] == "true") & (table["share"] != "3")]
    for name, values in READINGS.items():
        keys = [key for key in KEYS if key != name]
        one, other = (truly[truly[name] == value].set_index(keys) for value in values)
        both = one.join(other, suffixes=("_1", "_2"), how="inner")
        shown = "best_quarter", "deviation", "seeds"
        first, second = ([both[f"{column}_{i}"].to_numpy() for column in shown] for i in (1, 2))
        change = pd.Series(second[0] - first[0])
        p = ttest_ind_from_stats(*second, *first, equal_var=False).pvalue
        rows[name] = {"pairs": len(both), "best quarter": change.mean(), "spread": change.std(),
                      "changed": (change.abs() > 0.05).mean(), "told": pd.Series(p < 0.001).mean(),
                      "found": (both["found_2"] / both["found_1"]).median()}  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("reading")

"""What goes beyond the paper, in simulated searches: branches that count by their leaves, relearned trees.

NAS-Bench-Macro and Pooling with known accuracies, on all trees, with and without the prior, with both
bonuses, with the paper's lambda and that of the rule, at the paper's length and shorter.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from hnas_kit.names import PRIORS, READINGS, RELEARNED
from hnas_kit.samplers import Method
from hnas_kit.studies import readings, study
from hnas_kit.studies.rule import RULE
from hnas_kit.studies.simulation import Simulation
from hnas_kit.studies.study import Setting

SHARES = {name: readings.SHARES[name] for name in ("1/12", "1/3", "1")}  # of the paper's number of steps
GROWTHS = (0.3, 1.0)  # of the distances of imitated supernets, see hnas_kit.studies.imitation
SEEDS = 100
PAPERS = 0.5  # lambda
CELL = ["benchmark", "share", "steps", "bonus", "exploration", "prior"]
KEYS = [*CELL, "tree", "growth"]


def cells(benchmark: str) -> Iterator[dict[str, Any]]:
    """What is simulated on a benchmark: length, bonus, lambda and prior."""
    for share, bonus in itertools.product(SHARES, READINGS["bonus"]):
        steps = round(SHARES[share] * readings.PAPER[benchmark]["steps"])
        for exploration, prior in itertools.product((PAPERS, RULE[bonus]), PRIORS):
            values = benchmark, share, steps, bonus, exploration, prior
            yield dict(zip(CELL, values, strict=True))


def run(
    subjects: dict[str, Setting], progress: Callable[[int], Any] = lambda done: None, seeds: int = SEEDS
) -> pd.DataFrame:
    """Simulate every cell on every tree.

    Args:
        subjects: see :func:`hnas_kit.studies.readings.settings`.
        progress: called with 1 after each cell.
        seeds: searches of each tree and cell.

    Returns:
        A row a cell and tree: ``KEYS``, ``seeds``, and what is :func:`hnas_kit.studies.study.measured`.
        ``growth`` is of relearned trees alone; ``relearned 1`` begins with the tree ``learned 1``, and so on.
    """
    rows = []
    for name, subject in subjects.items():
        for cell in cells(name):
            given = readings.PAPER[name] | {key: cell[key] for key in CELL[2:]} | {"seeds": seeds}
            for tree, growth, result in _searched(subject, given):
                own = {"tree": tree, "growth": growth, "seeds": seeds}
                rows.append(cell | own | study.measured(result))
            progress(1)
    return pd.DataFrame(rows)[[*KEYS, "seeds", "found", "lower", "upper", "best_quarter"]]


def _searched(subject: Setting, given: dict[str, Any]) -> Iterator[tuple[str, float | None, Simulation]]:
    """Tree, growth of its distances if it is learned anew, and searches: on all trees, then on relearned."""
    every = {tree: Method("mcts", tree) for tree in subject.forest}
    for tree, result in study.run(subject, study.protocol(**given), every).items():
        yield tree, None, result
    for name in [name for name in study.LEARNED if name in subject.forest]:
        alone = subject._replace(forest={"learned": subject.forest[name]})
        for growth in GROWTHS:
            how = study.protocol(**given, tree_growth=growth)
            found = study.run(alone, how, {RELEARNED: Method("mcts", RELEARNED)})
            yield name.replace("learned", RELEARNED), growth, found[RELEARNED]


def labelled(table: pd.DataFrame) -> pd.Series:
    """What each row's tree is called."""
    growth = table["growth"].map("{:g}".format)
    return table["tree"].where(table["growth"].isna(), table["tree"] + ", growth " + growth)


def summary(table: pd.DataFrame, exploration: float = PAPERS, of: str = "found") -> pd.DataFrame:
    """What each tree finds without and with the prior.

    Args:
        table: of :func:`run`.
        exploration: lambda; 0 for that of the rule.
        of: ``found`` or ``best_quarter``.

    Returns:
        Indexed by benchmark and tree; columns are bonus, share of the paper's steps, and prior.
    """
    theirs = table["exploration"] == PAPERS
    rows = table[theirs if exploration else ~theirs]
    columns = ["bonus", "share", "prior"]
    return rows.assign(tree=labelled(rows)).pivot_table(of, ["benchmark", "tree"], columns, sort=False)


def gained(table: pd.DataFrame) -> pd.DataFrame:
    """What the prior changes, over trees and lambdas, cell by cell.

    Returns:
        Indexed by benchmark, bonus and share of the paper's steps: number of ``cells``; in how many the found
        rank is ``better`` and ``worse`` with it; the median of the ``ratio`` of found ranks, with the prior
        over without; and ``best quarter``, the mean difference of the share of draws on it.
    """
    keys = [key for key in KEYS if key != "prior"]
    own = table.assign(growth=table["growth"].fillna(-1)).set_index(keys)
    one, other = (own[own["prior"] == prior] for prior in PRIORS)
    both = one.join(other, suffixes=("", "_with"))
    log = np.log(both["found_with"] / both["found"])
    more = both["best_quarter_with"] - both["best_quarter"]
    changes = both.assign(better=log < 0, worse=log > 0, log=log, more=more)
    groups = changes.groupby(["benchmark", "bonus", "share"], sort=False)
    return pd.DataFrame(
        {"cells": groups.size(), "better": groups["better"].sum(), "worse": groups["worse"].sum(),
         "ratio": np.exp(groups["log"].median()), "best quarter": groups["more"].mean()}
    )  # fmt: skip

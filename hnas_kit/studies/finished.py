"""Finished sweeps on small images, summed up: the tables that ``hnas results`` writes into ``docs/results``.

Every table is made from one, ``searches.csv``, a row a search (:func:`collect`).
"""

from collections.abc import Sequence

import pandas as pd
from scipy.stats import ttest_1samp

from hnas_kit import benchmarks
from hnas_kit.runs import Finished
from hnas_kit.studies import ablations, paper
from hnas_kit.studies.evidence import DEFAULT, LEARNED, differences

BEYOND = "beyond"
SWEEPS = (*ablations.SWEEPS, BEYOND)
COLUMNS = [
    *("data", "sweep", "label", "seed", "architecture", "accuracy", "rank", "validation", "best_quarter"),
    *("relearning_share", "seconds", "commit", "hardware", "versions"),
]
# what each choice inside the method is called, by its sweep
CHOICES = {
    "table2": "distance (Table 2)",
    "table3": "encoding (Table 3)",
    "figure3": "pre-training and tree (Fig. 3)",
    "trees": "tree from accuracies (Sec. 5.2), linkage",
    "table7": "reward (Table 7)",
}
RELEARNED = "MCTS, relearned tree"
# what goes beyond the paper, and the method of the paper that differs in nothing else
AGAINST = {
    f"{LEARNED}, leaves": LEARNED,
    f"{DEFAULT}, leaves": DEFAULT,
    RELEARNED: LEARNED,
    f"{RELEARNED}, leaves": f"{LEARNED}, leaves",
}


def collect(runs: Sequence[str]) -> pd.DataFrame:
    """The finished rows of the sweeps in run folders, one after another.

    Returns:
        ``COLUMNS``: ``data`` set, with the space unless that is Pooling, ``sweep``, and of each row of the
        sweep's table what was found, its true ``accuracy`` (%) and ``rank``, its score on ``validation``
        images (%), the share of the third phase on the truly ``best_quarter``, the share of the time that
        relearning took (%), and what it ran on.

    Raises:
        HnasError: see :func:`hnas_kit.studies.ablations.gather`, of whole tables; if a data set has no ground
            truth.
    """
    parts = []
    for run in runs:
        rows = ablations.gather(run, SWEEPS, whole=True)
        pretrain = Finished(rows["run"].iloc[0], "04_mcts").manifest["lineage"]["01_pretrain"]
        space, data = pretrain["space"], pretrain["dataset"]
        benchmarks.needed(space, data)
        data = data if space == "pooling" else f"{data}-{space}"
        rows = rows.rename(columns={"relearning_share_relearned": "relearning_share"})
        parts.append(rows.assign(data=data).reindex(columns=COLUMNS))
    return pd.concat(parts, ignore_index=True)


def _means(rows: pd.DataFrame, *by: str) -> pd.DataFrame:
    """Number of ``seeds``, mean ``rank``, its ``deviation`` and mean ``best_quarter``, in the rows' order."""
    groups = rows.groupby(list(by), sort=False)
    ranks = groups["rank"]
    found = {"seeds": ranks.size(), "rank": ranks.mean(), "deviation": ranks.std()}
    return pd.DataFrame(found | {"best_quarter": groups["best_quarter"].mean()})


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """What each method found on each data set, and the learned tree against each other.

    Args:
        rows: finished searches with their ``data`` set, ``label``, ``seed``, true ``rank`` and ``accuracy``
            (%), and ``best_quarter``.

    Returns:
        Indexed by ``data`` and ``label``, in the order of ``rows``: number of ``seeds``; mean ``rank``, its
        standard ``deviation``; mean ``best_quarter``; and but for the learned tree itself the columns of
        :func:`hnas_kit.studies.ablations.paired`.
    """
    parts = {
        data: _means(own, "label").join(ablations.paired(own).drop(columns="seeds"))
        for data, own in rows.groupby("data", sort=False)
    }
    return pd.concat(parts, names=["data"])


def _of(rows: pd.DataFrame, sweep: str) -> pd.DataFrame:
    return rows[rows["sweep"] == sweep]


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    """With whole per cent on the best quarter, and the names that people read."""
    share = (100 * table["best_quarter"]).round().astype(int)
    return table.assign(best_quarter=share).rename(
        columns={"label": "method", "best_quarter": "best quarter"}
    )


def table1(rows: pd.DataFrame) -> pd.DataFrame:
    """Every method of Table 1: mean ``rank``, its ``deviation`` over ``seeds``, mean ``best quarter`` (%).

    ``p`` is Wilcoxon's, against the learned tree (:func:`hnas_kit.studies.ablations.paired`), as text, and
    ``paper`` the paper's rank, nan without.
    """
    found = summary(_of(rows, "table1")).reset_index()
    found["p"] = ["" if pd.isna(p) else f"{p:.2f}" if p >= 0.01 else f"{p:.1g}" for p in found["p"]]
    found["paper"] = found["label"].map(paper.TABLE_1["average rank"])
    names = ["data", "seeds", "label", "rank", "deviation", "best_quarter", "p", "paper"]
    return _shown(found[names]).round(1)


def choices(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean ``rank`` and its ``deviation`` for each ``value`` of each ``choice`` inside the method.

    ``paper`` is the paper's rank where it is of the same space: Table 7's, on NAS-Bench-Macro.
    """
    found = pd.concat({name: _of(rows, sweep) for sweep, name in CHOICES.items()}, names=["choice"])
    table = _means(found, "data", "choice", "label").drop(columns="best_quarter").round(1)
    table = table.reset_index().rename(columns={"label": "value"})
    published = table["value"].map(paper.TABLE_7["average rank"])
    return table.assign(paper=published.where(table["data"].str.endswith("-macro")).astype("Int64"))


def beyond(rows: pd.DataFrame) -> pd.DataFrame:
    """What goes beyond the paper, each ``against`` the method that differs in nothing else, on equal seeds.

    Returns:
        ``data``, ``method``, ``seeds``, mean ``rank``, its ``deviation``, mean ``best quarter`` (%); how many
        ranks ``better`` on average, from ``low`` to ``high`` with 95 % (t); ``wins`` and ``losses`` in ranks.
    """
    rows = rows[rows["sweep"].isin(["table1", BEYOND])]
    found = _means(rows[rows["label"].isin([*AGAINST, *AGAINST.values()])], "data", "label").reset_index()
    compared = []
    for data, label in zip(found["data"], found["label"], strict=True):
        if not (against := AGAINST.get(label)):
            compared.append({"against": ""})
            continue
        ahead = differences(rows[rows["data"] == data], label, against)
        low, high = ttest_1samp(ahead, 0).confidence_interval()
        compared.append({"against": against, "better": ahead.mean(), "low": low, "high": high})
        compared[-1] |= {"wins": int((ahead > 0).sum()), "losses": int((ahead < 0).sum())}
    columns = ["against", "better", "low", "high", "wins", "losses"]
    found = found.join(pd.DataFrame(compared, columns=columns)).astype({"wins": "Int64", "losses": "Int64"})
    return _shown(found).round(1)


TABLES = {"table1.csv": table1, "choices.csv": choices, "beyond_images.csv": beyond}

"""Does the paper's claim hold on CIFAR-10 images? Statistics over finished searches, and the answer."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import t

from hnas_kit import benchmarks
from hnas_kit.studies.paper import LABELS

LEARNED, DEFAULT, UNIFORM = (LABELS[name] for name in ("learned", "default", "uniform"))
ENOUGH = 6  # seeds: from the smallest to the largest of so many lies the median, with 97 %


# what a learned tree finds better networks than, which is better and worse: by the paper's order; under each
# reading of the exploration bonus
CLAIMS = (
    ("the default tree", LEARNED, DEFAULT),
    ("regularised tree search", LEARNED, LABELS["regularised"]),
    ("uniform sampling", LEARNED, UNIFORM),
    ("the default tree (bonus of Algorithm 1)", f"{LEARNED}, linear", f"{DEFAULT}, linear"),
    ("uniform sampling (bonus of Algorithm 1)", f"{LEARNED}, linear", UNIFORM),
)


def methods(rows: pd.DataFrame) -> pd.DataFrame:
    """What each method found.

    Args:
        rows: finished searches, with ``label``, ``seed``, ``rank``, ``accuracy`` (%) and ``best_quarter``.

    Returns:
        Indexed by label, in the order of ``rows``: ``ranks`` of all seeds as text, in their order, ``-`` for
        one that is missing; mean and median ``rank``; mean ``accuracy``; ``best quarter``, mean share (%).
    """
    found, seeds = {}, sorted(rows["seed"].unique())
    for label, group in rows.groupby("label", sort=False):
        ranks = group.set_index("seed")["rank"].reindex(seeds)
        found[label] = {
            "ranks": ", ".join("-" if pd.isna(rank) else f"{rank:.0f}" for rank in ranks),
            "mean rank": group["rank"].mean(),
            "median rank": group["rank"].median(),
            "accuracy": group["accuracy"].mean(),
            "best quarter": 100 * group["best_quarter"].mean(),
        }
    return pd.DataFrame.from_dict(found, orient="index").rename_axis("method")


def ranked_by(rows: pd.DataFrame, accuracies: pd.Series) -> pd.DataFrame:
    """The same searches, ranked by other accuracies.

    Args:
        rows: see :func:`methods`, with the ``architecture`` that was found, as text.
        accuracies: of all architectures (%), by their text.
    """
    found = rows["architecture"]
    return rows.assign(rank=found.map(benchmarks.ranks(accuracies)), accuracy=found.map(accuracies))


def differences(rows: pd.DataFrame, better: str, worse: str, column: str = "rank") -> pd.Series:
    """Seed by seed, how much ``worse`` lies behind ``better``: positive where the claim holds.

    Args:
        rows: see :func:`methods`.
        better, worse: labels.
        column: ``rank``, in ranks; or ``accuracy``, in points.

    Returns:
        Indexed by the seeds that both have.
    """
    values = rows.pivot(index="seed", columns="label", values=column)
    values = values.reindex(columns=[better, worse]).dropna()
    return values[worse] - values[better] if column == "rank" else values[better] - values[worse]


def verdict(difference: Sequence[float]) -> str:
    """What paired differences say of a claim: ``supported``, ``not supported`` or ``cannot tell``.

    With six seeds or more the range from the smallest to the largest difference covers the median with 97 %
    or more; a claim is supported if this range lies above 0, and not supported if it lies at or below 0.
    Fewer seeds cannot tell.
    """
    if len(difference) < ENOUGH:
        return "cannot tell"
    if min(difference) > 0:
        return "supported"
    return "not supported" if max(difference) <= 0 else "cannot tell"


def smallest_seen(difference: Sequence[float], power: float = 0.8) -> float:
    """The smallest mean difference that so many seeds could have seen, from their spread.

    Of a two-sided t test at 5 %, seen with probability ``power``; nan for fewer than two seeds.
    """
    n = len(difference)
    if n < 2:
        return float("nan")
    return float((t.ppf(0.975, n - 1) + t.ppf(power, n - 1)) * np.std(difference, ddof=1) / np.sqrt(n))


def claims(rows: pd.DataFrame) -> pd.DataFrame:
    """Each claim of ``CLAIMS`` with its answer.

    Args:
        rows: see :func:`methods`.

    Returns:
        ``claim``; ``seeds`` that both methods have; ``won``, on how many of them it holds; ``ranks`` and
        ``points``, the paired differences as text, seed by seed, positive for the claim; ``median`` of the
        differences in ranks; ``could see``, the smallest mean difference in ranks that so many seeds could
        have seen; ``answer``.
    """
    found = []
    for other, better, worse in CLAIMS:
        ranks, points = (differences(rows, better, worse, column) for column in ("rank", "accuracy"))
        found.append(
            {
                "claim": f"A learned tree finds better networks than {other}",
                "seeds": len(ranks),
                "won": int((ranks > 0).sum()),
                "ranks": ", ".join(f"{value:+.0f}" for value in ranks),
                "points": ", ".join(f"{value:+.2f}" for value in points),
                "median": ranks.median(),
                "could see": smallest_seen(ranks),
                "answer": verdict(ranks),
            }
        )
    return pd.DataFrame(found)


def _seeds(rows: pd.DataFrame) -> str:
    """How many seeds the methods have, in words."""
    own = rows.groupby("label")["seed"].agg(frozenset)
    low, high = own.map(len).min(), own.map(len).max()
    if own.nunique() > 1:
        return f"{low} to {high} seeds a method, not all the same"
    return f"{high} seed{'s' if high > 1 else ''}"


def mean_ranks(found: pd.DataFrame) -> str:
    """Of the :func:`methods`, in words, the best first."""
    ordered = found["mean rank"].sort_values()
    return ", ".join(f"{rank:.1f} ({name})" for name, rank in ordered.items())


def answer(rows: pd.DataFrame) -> str:
    """The plain answer, in a few sentences, from the table alone."""
    found, table = methods(rows), claims(rows)
    table = table[table["seeds"] > 0]
    seeds = int(table["seeds"].max()) if len(table) else 0
    told = table[table["answer"] != "cannot tell"]
    lines = [f"Over {_seeds(rows)}, mean true ranks of 36 are {mean_ranks(found)}."]
    if seeds < ENOUGH:
        lines.append(f"No claim can be decided with fewer than {ENOUGH} seeds.")
    elif told.empty:
        few = f", and with fewer than {ENOUGH} seeds it cannot be" if table["seeds"].min() < ENOUGH else ""
        lines.append(f"No claim is decided: with {seeds} seeds a method wins on some and not on others{few}.")
    for row in table.itertuples():
        often = f" on {row.won} of {row.seeds} seeds, by {row.median:+g} ranks in the median"
        told = row.answer if row.answer != "cannot tell" else ""
        if told or seeds > 1:
            lines.append(f"{row.claim}{f': {told},' if told else ''}{often}.")
    ranks = rows.pivot(index="seed", columns="label", values="rank").filter(regex="(?<!, linear)$").dropna()
    if LEARNED in ranks and len(ranks):
        means = ranks.mean()
        place, seeds = 1 + int((means < means[LEARNED]).sum()), f"{len(ranks)} seed{'s' * (len(ranks) > 1)}"
        have = f"On the {seeds} that all {len(means)} methods with the bonus of Eq. 3 have"
        lines.append(f"{have}, the learned tree is number {place}.")
    return " ".join(lines)

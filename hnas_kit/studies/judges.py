"""What a search did to its supernet: how it judges all architectures afterwards, and those that count."""

import os
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from hnas_kit import benchmarks, evaluation
from hnas_kit.data.rendering import layout
from hnas_kit.errors import HnasError
from hnas_kit.runs import Finished, search_of
from hnas_kit.training import PHASES, pick_device
from hnas_kit.training.problem import Problem

BEST = 10  # architectures that count as the truly best


class Search(NamedTuple):
    """A finished search that can be judged."""

    part: Finished  # 04_mcts
    before: Finished  # the 01_pretrain that it follows from
    truth: pd.DataFrame  # see hnas_kit.benchmarks.load


def search(run: str) -> Search:
    """The search of a run, nothing of it computed yet.

    Raises:
        HnasError: if it is not finished, without ground truth, or for a mixture of supernets.
    """
    part = search_of(run, "04_mcts")
    before = Finished(part.runs["01_pretrain"], "01_pretrain")
    if part.params["sampler"] == "mixture":
        raise HnasError(f"{run} searched in several supernets; a single one can be judged")
    return Search(part, before, benchmarks.needed(before.params["space"], before.params["dataset"]))


def judge(search: Search) -> dict[str, Any]:
    """Ask a finished search's supernet, and the evenly trained one before it, about every architecture.

    The search's supernet scores all architectures on the whole validation half, as the final choice does, on
    the device that the search's parameters name; the one before on as many images as 01_pretrain took
    (``scored``).

    Args:
        search: see :func:`search`; its own method is judged, not those it was compared with.

    Returns:
        ``run``; ``found`` and ``found_rank``, what the search took; ``favourite`` and ``favourite_rank``,
        what its supernet likes best of all; ``tau_before`` and ``tau``, Kendall's rank correlation of the
        supernet's accuracies with the truth, before and after; ``tau_visited``, the same after, within what
        the third phase drew more often than evenly; ``visited``, how many these are; ``best_before`` and
        ``best``, mean accuracy (%) of the truly 10 best in both; ``all_before`` and ``all``, of all; and
        ``best_uniform``, ``best_warmup`` and ``best_search``, see :func:`on_the_way`.
    """
    part, before, truth = search
    device = pick_device(os.environ.get("HNAS_DEVICE") or part.params["device"])
    problem, table = Problem.of(before.params, device), part.load("found.csv")
    name, found = table.index[0], table["architecture"].iloc[0]
    net = problem.supernet()
    net.load_state_dict(part.load(f"{name}.pt")["net"])
    net.to(device, memory_format=layout(device))
    archs = [problem.space.parse(text) for text in truth.index]
    seen = 100 * evaluation.accuracy(net, archs, *problem.dataset.fixed(problem.valid))
    ranking = before.load("ranking.csv")["supernet"].loc[truth.index].to_numpy()
    history = part.load(f"{name}.csv")
    run = {"run": part.params["run"], "found": found}
    return run | compare(truth, ranking, seen, history, found, part.params["reward"])


def on_the_way(truth: pd.DataFrame, history: pd.DataFrame, reward: str) -> dict[str, float]:
    """The accuracy (%) of the truly 10 best on validation mini-batches, phase by phase.

    Args:
        truth: see :func:`hnas_kit.benchmarks.load`.
        history: of the search, see :meth:`hnas_kit.search.History.frame`.
        reward: its name; if it is not the absolute validation accuracy, all is nan.

    Returns:
        For each phase, the mean over those of them that it drew, each by the mean of its rewards; nan if it
        drew none.
    """
    names = [f"best_{phase.replace('-', '')}" for phase in PHASES]
    if reward != "absolute validation accuracy":
        return dict.fromkeys(names, np.nan)
    best = history[history["architecture"].isin(truth.index[truth["rank"] <= BEST])]
    each = 100 * best.groupby(["phase", "architecture"])["reward"].mean()
    return dict(zip(names, each.groupby("phase").mean().reindex(PHASES), strict=True))


def compare(
    truth: pd.DataFrame, before: np.ndarray, after: np.ndarray, history: pd.DataFrame, found: str, reward: str
) -> dict[str, Any]:
    """What :func:`judge` says, from the accuracies (%) of two supernets, (N,) in the order of ``truth``."""
    accuracy, rank = truth["accuracy"].to_numpy(), truth["rank"].to_numpy()
    drawn = history.loc[history["phase"] == history["phase"].iloc[-1], "architecture"]
    often = drawn.value_counts().reindex(truth.index, fill_value=0).to_numpy() > len(drawn) / len(truth)
    favourite, best = int(np.argmax(after)), rank <= BEST
    return {
        "found_rank": int(truth.loc[found, "rank"]),
        "favourite": truth.index[favourite],
        "favourite_rank": int(rank[favourite]),
        "tau_before": float(kendalltau(before, accuracy).statistic),
        "tau": float(kendalltau(after, accuracy).statistic),
        "tau_visited": float(kendalltau(after[often], accuracy[often]).statistic),
        "visited": int(often.sum()),
        "best_before": float(before[best].mean()),
        **on_the_way(truth, history, reward),
        "best": float(after[best].mean()),
        "all_before": float(before.mean()),
        "all": float(after.mean()),
    }

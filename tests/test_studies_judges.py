"""What a search's supernet says of every architecture: by hand, and asked of a finished run."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau

from hnas_kit.studies import judges

NAMES = [f"[{i},1,1]" for i in range(12)]
TRUTH = pd.DataFrame({"accuracy": np.arange(92.0, 80, -1), "rank": range(1, 13)}, pd.Index(NAMES))


def history(*drawn: int) -> pd.DataFrame:
    """Two steps before the third phase, then those that are given."""
    phases = ["uniform", "warm-up"] + ["search"] * len(drawn)
    return pd.DataFrame({"phase": phases, "architecture": [NAMES[i] for i in (11, 11, *drawn)]})


def test_two_supernets_are_compared_by_hand():
    before, after = np.arange(60.0, 72), np.r_[70.0, 60:71]  # upside down; then so but for the truly best
    seen = judges.compare(TRUTH, before, after, history(0, 0, 1, 1, 2), "[2,1,1]", "relative training loss")
    assert (seen["found_rank"], seen["favourite"], seen["favourite_rank"]) == (3, "[0,1,1]", 1)
    assert seen["tau_before"] == pytest.approx(-1)
    assert seen["tau"] == pytest.approx(kendalltau(after, TRUTH["accuracy"]).statistic)
    assert seen["visited"] == 3  # each oftener than 5 / 12 times
    assert seen["tau_visited"] == pytest.approx(kendalltau(after[:3], TRUTH["accuracy"][:3]).statistic)
    assert seen["best_before"] == pytest.approx(np.arange(60, 70).mean())  # the truly best ten
    assert seen["best"] == pytest.approx(after[:10].mean())
    assert (seen["all_before"], seen["all"]) == (before.mean(), after.mean())


def test_the_best_ten_on_the_way_by_hand():
    rewards = [0.1, 0.2, 0.3, 0.5, 0.9, 1.0]
    seen = history(0, 0, 9, 10).assign(reward=rewards)  # those at 10 and 11 are not among the best
    way = judges.on_the_way(TRUTH, seen, "absolute validation accuracy")
    assert way["best_search"] == pytest.approx(100 * (0.4 + 0.9) / 2)
    assert np.isnan([way["best_uniform"], way["best_warmup"]]).all()
    assert np.isnan(list(judges.on_the_way(TRUTH, seen, "relative validation accuracy").values())).all()

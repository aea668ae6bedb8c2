"""The answer to the claim: differences by hand, the power of a test by simulation, the sweeps behind it."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, ttest_1samp

from hnas_kit.places import provided
from hnas_kit.runs import grids
from hnas_kit.runs.params import NOTEBOOKS
from hnas_kit.studies import ablations, evidence


def rows(**ranks: list[float]) -> pd.DataFrame:
    """Searches whose accuracy is 100 less the rank."""
    return pd.concat(
        [
            pd.DataFrame({"label": label, "seed": range(len(r)), "rank": r, "accuracy": [100 - x for x in r],
                          "best_quarter": 0.5})
            for label, r in ranks.items()
        ],
        ignore_index=True,
    )  # fmt: skip


def test_differences_are_seed_by_seed_and_positive_where_the_claim_holds():
    table = rows(**{"MCTS + Learned": [3, 20, 5], "MCTS": [17, 17]})
    assert evidence.differences(table, "MCTS + Learned", "MCTS").to_dict() == {0: 14, 1: -3}
    assert evidence.differences(table, "MCTS + Learned", "MCTS", "accuracy").to_dict() == {0: 14, 1: -3}
    assert evidence.differences(table, "MCTS + Learned", "Uniform").empty  # nobody has run it


@pytest.mark.parametrize(
    ("difference", "answer"),
    [
        ([14, 14, 14, 14, 14], "cannot tell"),  # all for it, and too few
        ([1, 2, 3, 4, 5, 6], "supported"),
        ([0, 2, 3, 4, 5, 6], "cannot tell"),
        ([-1, -2, 0, -4, -5, -6], "not supported"),
        ([-1, 2, 3, 4, 5, 6], "cannot tell"),
        ([], "cannot tell"),
    ],
)
def test_six_seeds_of_one_sign_decide(difference, answer):
    assert evidence.verdict(difference) == answer


def test_the_range_of_six_covers_the_median_with_97_percent():
    beside = 2 * binom.pmf(0, evidence.ENOUGH, 0.5)  # all above the median, or all below
    assert 1 - beside == pytest.approx(0.97, abs=0.002)


def test_the_smallest_difference_seen_is_seen_four_times_in_five():
    rng = np.random.default_rng(0)
    sample = np.array([1.0, 4.0, -2.0, 3.0, 6.0, 0.0])
    effect = evidence.smallest_seen(sample)
    many = rng.normal(effect, sample.std(ddof=1), (4000, 6))
    assert (ttest_1samp(many, 0, axis=1).pvalue < 0.05).mean() == pytest.approx(0.8, abs=0.04)
    assert math.isnan(evidence.smallest_seen([1.0]))


def test_the_answer_is_read_off_the_table():
    won = rows(
        **{"MCTS + Learned": [1, 2, 3, 1, 2, 3], "MCTS": [9, 9, 9, 9, 9, 9], "Uniform": [2, 2, 2, 2, 2, 2]}
    )
    said = evidence.answer(won)
    assert "Over 6 seeds" in said
    assert "than the default tree: supported, on 6 of 6 seeds, by +7 ranks in the median." in said
    assert "than uniform sampling on 2 of 6 seeds, by +0 ranks in the median." in said  # of both signs
    have = "methods with the bonus of Eq. 3 have, the learned tree is number"
    assert f"On the 6 seeds that all 3 {have} 1." in said
    mixed = evidence.answer(rows(**{"MCTS + Learned": [1, 3] * 3, "MCTS": [2] * 6}))
    assert "No claim is decided: with 6 seeds a method wins on some and not on others" in mixed
    lost = evidence.answer(rows(**{"MCTS + Learned": [30], "Uniform": [15]}))
    assert lost.startswith("Over 1 seed,")
    assert "No claim can be decided with fewer than 6 seeds" in lost
    assert f"On the 1 seed that all 2 {have} 2." in lost
    assert "on 0 of 1" not in lost
    apart = evidence.answer(pd.concat([won, rows(Boltzmann=[4, 1]).assign(seed=[7, 2])]))
    assert apart.startswith("Over 2 to 6 seeds a method, not all the same, mean")
    assert f"On the 1 seed that all 4 {have} 3." in apart
    linear = rows(**{"MCTS, linear": [0] * 6})  # of another bonus
    assert "On the 6 seeds that all 3 methods" in evidence.answer(
        pd.concat([won, linear])
    )  # of another bonus
    table = evidence.claims(won)
    assert table.loc[0, ["seeds", "won", "ranks", "median", "answer"]].tolist() == [
        6, 6, "+8, +7, +6, +8, +7, +6", 7.0, "supported",
    ]  # fmt: skip
    gaps = rows(**{"MCTS + Learned": [1, 2, 3], "MCTS": [9, 9, 9]}).drop(index=1)
    assert evidence.methods(gaps)["ranks"].tolist() == ["1, -, 3", "9, 9, 9"]
    assert evidence.methods(won).loc["MCTS + Learned", "ranks"] == "1, 2, 3, 1, 2, 3"


@pytest.mark.parametrize("name", ["", "_steps", "_more", "_macro", "_length", "_gpu"])
def test_the_sweeps_of_evidence_are_sound(name):
    plan = grids.load(provided(f"params/sweeps/evidence{name}.yaml"), {})
    assert len(plan.rows) >= 6
    for row in plan.rows:
        assert plan.tasks[row.key].params.compare == []


def test_each_point_of_the_gpu_sweep_takes_three_steps():
    file = grids.read(provided("params/sweeps/evidence_gpu.yaml"), {})
    profile = grids.load_profile(provided(f"params/{file.profile}"))
    short = {"dataset": "digits", "image_size": 0, "width": 4, "epochs": 1, "batch_size": 150, "threads": 1}
    for label, values in grids.points(file.grid):
        base = grids.assign(profile, file.fixed | values)
        params = []
        for name in ("01_pretrain", "02_distances", "03_tree", "04_mcts"):
            fields = NOTEBOOKS[name].model_fields
            changed = base[name] | {key: value for key, value in short.items() if key in fields}
            changed |= {"images": 32} if "images" in fields else {}
            params.append(NOTEBOOKS[name].checked(changed, label))
        steps = params[3].schedule(450).steps
        row, history = ablations.run_job(ablations.Job(tuple(params), None, "cpu", scored=32))
        assert steps == len(history) == 3, label
        assert 1 <= row["rank"] <= 36

"""Tables of many searches: gathered, rehearsed, compared; oracles are hand-made rows and scipy."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wilcoxon

from hnas_kit import benchmarks, samplers, trees
from hnas_kit.errors import HnasError
from hnas_kit.files import read_csv
from hnas_kit.runs import Finished, project_root
from hnas_kit.studies import ablations, paper

ROOT = project_root()


def rows(**accuracies: list[float]) -> pd.DataFrame:
    frames = [
        pd.DataFrame(
            {"label": label, "seed": range(len(values)), "accuracy": values,
             "architecture": [f"[{i},1,1]" for i in range(len(values))],
             "rank": [int(100 - v) for v in values], "search_seconds": 10.0}
        )
        for label, values in accuracies.items()
    ]  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def test_a_table_has_ours_beside_the_papers():
    truth = benchmarks.load("textures-pooling")
    searches = rows(**{"MCTS": [90.0, 92.0], "mine": [80.0]})
    table = ablations.table(searches, paper.TABLE_1, truth)
    assert table.loc["MCTS", "ours: architecture"] == "[1,1,1]"
    assert table.loc["MCTS", "ours: best accuracy"] == "92.00"
    assert table.loc["MCTS", "ours: average accuracy"] == "91.00 ± 1.41"
    assert table.loc["MCTS", "ours: best rank"] == "8"
    assert table.loc["MCTS", "ours: average rank"] == "9.0 ± 1.4"
    assert table.loc["MCTS", "paper: architecture"] == "[4,4,2]"
    assert table.loc["mine", "ours: average accuracy"] == "80.00"  # no deviation of a single value
    assert table.loc["mine", "paper: architecture"] == ""
    assert list(table.index) == ["Default Arch.", "MCTS", "mine", "Best"]
    assert list(ablations.table(searches, paper.TABLE_2, truth).index) == ["MCTS", "mine"]
    assert list(ablations.table(searches, None, truth).columns) == [
        name for name in table.columns if name.startswith("ours")
    ]


def test_what_is_no_search_is_in_the_table_by_our_ground_truth():
    truth = benchmarks.load("textures-pooling")
    table = ablations.table(rows(MCTS=[90.0]), paper.TABLE_1, truth)
    filled = table.loc["Default Arch."][lambda row: row != ""].to_dict()
    assert filled == {
        "ours: architecture": "[4,3,3]",
        "ours: best accuracy": f"{truth.loc['[4,3,3]', 'accuracy']:.2f}",
        "ours: best rank": str(truth.loc["[4,3,3]", "rank"]),
        "paper: architecture": "[4,3,3]",
        "paper: best accuracy": 90.52,
        "paper: best rank": 15,
    }
    assert table.loc["Best", "ours: architecture"] == truth["accuracy"].idxmax()
    assert table.loc["Best", ["ours: best rank", "paper: best rank"]].tolist() == ["1", 1]
    assert table.loc["Best", ["ours: seeds", "ours: search time (s)", "paper: search time"]].eq("").all()


def test_table_6_is_made_from_the_register(monkeypatch):
    table = ablations.sampling_methods().set_index("Method")
    structure, sampling = table["Search Space Structure"], table["Sampling Method"]
    assert set(paper.LABELS.values()) <= set(table.index)
    for name in ("Uniform", "Independent", "Boltzmann"):
        assert structure[name] == "Flat"
    assert structure["Mixture"] == "Flat (partitioned)"
    assert structure[["MCTS", "MCTS + Reg"]].tolist() == ["Hierarchical (default tree)"] * 2
    assert structure["MCTS + Learned"] == "Hierarchical (learned tree)"
    assert sampling["MCTS"] == sampling["MCTS + Learned"] != sampling["MCTS + Reg"]

    class Mine(samplers.Uniform):
        """Mine, whatever (2026).

        More of it.
        """

    monkeypatch.setitem(samplers.SAMPLERS, "mine", Mine)
    monkeypatch.setitem(samplers.METHODS, "mine", samplers.Method("mine"))
    assert ablations.sampling_methods().iloc[-1].tolist() == ["mine", "Flat", "Mine, whatever (2026)"]


def test_methods_are_compared_seed_by_seed():
    rng = np.random.default_rng(0)
    learned, other = rng.normal(91, 1, 10), rng.normal(90, 1, 10)
    test = ablations.paired(
        rows(**{"MCTS + Learned": list(learned), "other": list(other), "same": list(learned)})
    )
    assert test.loc["other", "p"] == pytest.approx(wilcoxon(learned.round(6) - other.round(6)).pvalue)
    assert test.loc["other", "mean difference"] == pytest.approx((learned - other).mean(), abs=1e-5)
    assert test.loc["other", "wins"] == (learned > other).sum()
    assert test.loc["same"].to_dict() == {"seeds": 10, "mean difference": 0, "wins": 0, "losses": 0, "p": 1.0}


def test_only_seeds_that_both_have_are_compared():
    test = ablations.paired(rows(**{"MCTS + Learned": [91.0, 92.0, 93.0], "other": [90.0, 93.0]}))
    assert test.loc["other", ["seeds", "wins", "losses"]].tolist() == [2, 1, 1]


def test_without_a_pair_of_seeds_there_is_no_p():
    apart = rows(other=[90.0, 91.0]).assign(seed=[5, 6])
    test = ablations.paired(pd.concat([rows(**{"MCTS + Learned": [91.0, 92.0]}), apart]))
    assert test.loc["other", ["seeds", "wins", "losses"]].tolist() == [0, 0, 0]
    assert test.loc["other", ["mean difference", "p"]].isna().all()


def test_gathering_takes_what_is_done(tmp_path, monkeypatch):
    monkeypatch.setenv("HNAS_OUTPUTS", str(tmp_path))
    with pytest.raises(HnasError, match=r"holds no table of a sweep .*hnas sweep params/sweeps/table1"):
        ablations.gather("grid")
    (tmp_path / "grid").mkdir()
    rows(MCTS=[90.0]).to_csv(tmp_path / "grid" / "table2.csv", index=False)
    with pytest.raises(HnasError, match=r"holds no table of a sweep \(table1.csv, table4.csv\); make one"):
        ablations.gather("grid")  # nothing to compare with
    (tmp_path / "grid" / "table2.csv").unlink()
    table = rows(MCTS=[90.0, 91.0]).assign(status=["done", "failed"])
    table.to_csv(tmp_path / "grid" / "table1.csv", index=False)
    table.to_csv(tmp_path / "grid" / "something_else.csv", index=False)
    gathered = ablations.gather("grid")
    assert gathered[["sweep", "label", "seed"]].to_numpy().tolist() == [["table1", "MCTS", 0]]
    table.to_csv(tmp_path / "grid" / "table4.csv", index=False)
    with pytest.raises(HnasError, match=r"holds table1\.csv and table4\.csv, of the same"):
        ablations.gather("grid")
    (tmp_path / "grid" / "table4.csv").unlink()
    table.assign(status="failed").to_csv(tmp_path / "grid" / "table1.csv", index=False)
    with pytest.raises(HnasError, match=r"\Ano run of .*table1.csv is done; column error says why\Z"):
        ablations.gather("grid")


@pytest.fixture
def finished(tiny_run, monkeypatch) -> dict[str, Finished]:
    """Notebooks 01 to 04 of a run as small as can be."""
    monkeypatch.setenv("HNAS_OUTPUTS", str(tiny_run[0] / "outputs"))
    return {name: Finished("tiny", name) for name in ("01_pretrain", "02_distances", "03_tree", "04_mcts")}


@pytest.mark.slow
def test_a_rehearsed_row_is_that_of_the_notebook(finished):
    """The search of 04_mcts again, without notebooks: the same architecture, scores and history."""
    was = finished["04_mcts"].params
    plan = ablations.rehearsal(finished, was["epochs"], was["batch_size"], [0, 1], "cpu")
    labels = [(row["sweep"], row["label"]) for row, _ in plan]
    assert labels.count(("table1", "Uniform")) == 2
    assert labels.count(("table2", "L2")) == 1
    by_label = {(row["sweep"], row["label"], row["seed"]): job for row, job in plan}
    learned = by_label["table1", "MCTS + Learned", 0]
    assert learned.key == by_label["table2", "KL", 0].key == by_label["trees", "ward linkage", 0].key
    assert by_label["figure3", "1 epoch", 0].weights is None  # is trained anew
    assert ("figure3", "3 epochs", 0) not in by_label  # it would take longer than the searches
    assert ("figure3", "12 epochs", 0) not in by_label
    row, history = ablations.run_job(learned)
    found, was = finished["04_mcts"].load("found.csv").iloc[0], finished["04_mcts"].load("learned.csv")
    assert row["architecture"] == found["architecture"]
    for name in ("validation", "accuracy", "rank", "best_quarter", "early_variance"):
        assert row[name] == pytest.approx(found[name], nan_ok=True), name
    assert row["cophenetic_correlation"] == pytest.approx(
        finished["03_tree"].manifest["figures"]["cophenetic_correlation"]
    )
    assert history["architecture"].tolist() == was["architecture"].tolist()
    np.testing.assert_array_equal(history["reward"], was["reward"])


def test_a_rehearsed_random_tree_is_of_the_searchs_seed(finished, monkeypatch):
    """As 04_mcts has it, whatever the seed of 03_tree."""
    p1, p2, p3 = (
        ablations.NOTEBOOKS[name].checked(finished[name].params, "")
        for name in ("01_pretrain", "02_distances", "03_tree")
    )
    seen, archs = [], ablations._problem(p1, "cpu").space.enumerate()

    def trial(problem, walker, *_, **__):
        seen.append(walker.tree)
        raise KeyboardInterrupt

    monkeypatch.setattr(ablations.search, "trial", trial)
    for seed in (0, 5):
        values = ablations.NOTEBOOKS["04_mcts"].defaults() | {"tree": "random", "compare": [], "seed": seed}
        p4 = ablations.NOTEBOOKS["04_mcts"].checked(values, "")
        with pytest.raises(KeyboardInterrupt):
            ablations.run_job(ablations.Job((p1, p2, p3, p4), b"", "cpu", 0))
        assert seen[-1].to_newick() == trees.random(archs, seed).to_newick()


def test_images_are_made_once_for_all_that_is_trained_on_them():
    usual = {"dataset": "digits", "width": 2, "epochs": 1}

    def problem(**changes):
        p = ablations.NOTEBOOKS["01_pretrain"].checked(
            ablations.NOTEBOOKS["01_pretrain"].defaults() | usual | changes, ""
        )
        return ablations._problem(p, "cpu")

    assert problem(epochs=3, lr=0.1) is problem()
    for other in ({"width": 3}, {"seed": 1}, {"image_size": 16}):
        assert problem(**other) is not problem()


@pytest.mark.slow
def test_a_supernet_trained_for_a_rehearsal_is_that_of_the_notebook(finished):
    part = finished["01_pretrain"]
    p = ablations.NOTEBOOKS["01_pretrain"].checked(part.params, "")
    trained = ablations._supernet(p, None, "cpu").state_dict()
    for name, value in part.load("supernet.pt").items():
        assert (trained[name] == value).all(), name


@pytest.mark.slow
def test_equal_searches_are_run_once_and_their_rows_share_the_result(finished):
    plan = [
        (row, job) for row, job in ablations.rehearsal(finished, 1, 256, [0], "cpu")
        if row["label"] in ("KL", "ward linkage", "Mixture")
    ]  # fmt: skip
    counted = []
    table, histories = ablations.rehearse(plan, 1, counted.append)
    assert sum(counted) == 2
    assert table["label"].tolist() == [row["label"] for row, _ in plan]
    same = table[table["label"].isin(["KL", "ward linkage"])]
    assert same["validation"].nunique() == same["search_seconds"].nunique() == 1
    assert len(histories["table1", "Mixture", 0]) == 2 * len(histories["table2", "KL", 0])  # two supernets
    assert json.loads(table.to_json(orient="records"))[0]["sweep"] == "table1"


def test_a_label_that_looks_like_nothing_or_a_number_is_a_row_of_its_own(tmp_path):
    """None, nan and 007 are names that somebody gave; empty cells are nothing."""
    labels = ["None", "nan", "NA", "007", "1e3", "True"]
    rows = [
        {
            "label": label,
            "seed": seed,
            "architecture": "[4,3,3]",
            "accuracy": 80.0 + seed,
            "rank": 3,
            "search_seconds": 1,
        }
        for label in labels
        for seed in range(3)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "rows.csv", index=False)
    read = read_csv(tmp_path / "rows.csv")
    table = ablations.table(read, None, benchmarks.load("textures-pooling"))
    assert list(table.index) == labels
    assert set(table["ours: seeds"]) == {"3"}
    pairs = ablations.paired(read, "None")
    assert list(pairs.index) == labels[1:]
    assert (pairs[["seeds", "mean difference"]] == [3, 0]).all(axis=None)

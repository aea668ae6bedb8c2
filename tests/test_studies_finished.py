"""Tables of finished sweeps; oracles are hand-made rows, and the committed table."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from hnas_kit.errors import HnasError
from hnas_kit.files import read_csv
from hnas_kit.runs import grids, project_root
from hnas_kit.studies import finished

ROWS = read_csv(project_root() / "docs" / "results" / "searches.csv")
DATA = {"mine": "textures", "your": "digits", "macro": "textures", "large": "cifar10_jpeg"}


def searches(sweep: str, **ranks: list[int]) -> pd.DataFrame:
    """Rows of one data set, a label each; accuracy falls with the rank."""
    rows = [
        {"data": "a", "sweep": sweep, "label": label.replace("_", " "), "seed": seed, "rank": rank,
         "accuracy": 90 - rank / 10, "best_quarter": rank / 100}
        for label, found in ranks.items()
        for seed, rank in enumerate(found)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_finished_searches_are_summed_up_data_set_by_data_set():
    table = pd.DataFrame(
        [
            (data, label, seed, rank, 90 - rank / 10, share)
            for data, found in {
                "a": {"MCTS + Learned": (1, 2, 6), "MCTS": (4, 5)},
                "b": {"MCTS": (7,)},
            }.items()
            for label, ranks in found.items()
            for seed, (rank, share) in enumerate(zip(ranks, (0.2, 0.4, 0.9), strict=False))
        ],
        columns=["data", "label", "seed", "rank", "accuracy", "best_quarter"],
    )
    found = finished.summary(table)
    assert list(found.index) == [("a", "MCTS + Learned"), ("a", "MCTS"), ("b", "MCTS")]
    assert found["seeds"].tolist() == [3, 2, 1]
    assert found["rank"].tolist() == [3, 4.5, 7]
    assert found["deviation"].iloc[:2].tolist() == pytest.approx([7**0.5, 0.5**0.5])
    assert found["best_quarter"].tolist() == pytest.approx([0.5, 0.3, 0.2])
    assert found.loc[("a", "MCTS"), ["mean difference", "wins", "losses"]].tolist() == pytest.approx(
        [0.3, 2, 0]
    )
    assert found["p"].isna().tolist() == [True, False, True]


def test_what_goes_beyond_is_set_against_what_differs_in_nothing_else():
    rows = pd.concat(
        [
            searches("table1", **{"MCTS": [9, 9, 9, 9], "MCTS + Learned": [4, 6, 8, 2], "Uniform": [1] * 4}),
            searches("beyond", **{"MCTS, leaves": [9, 8, 7, 9], "MCTS, relearned tree": [5, 8, 9, 3]}),
        ]
    )
    found = finished.beyond(rows).set_index("method")
    assert list(found.index) == ["MCTS", "MCTS + Learned", "MCTS, leaves", "MCTS, relearned tree"]
    assert found["against"].tolist() == ["", "", "MCTS", "MCTS + Learned"]
    assert found["better"].iloc[:2].isna().all()
    ahead = np.array([0, 1, 2, 0])
    half = t.ppf(0.975, 3) * ahead.std(ddof=1) / 2
    mended = found.loc["MCTS, leaves"]
    assert mended[["better", "wins", "losses"]].tolist() == [0.8, 2, 0]  # of 0.75
    assert mended[["low", "high"]].tolist() == pytest.approx([0.75 - half, 0.75 + half], abs=0.051)
    assert found.loc["MCTS, relearned tree", ["better", "wins", "losses"]].tolist() == [
        -1.2,
        0,
        4,
    ]  # of -1.25
    assert found["best quarter"].tolist() == [9, 5, 8, 6]


def test_what_is_set_against_one_another_differs_in_one_setting():
    usual, points = {"prior": "branches", "bonus": "sqrt"}, {}
    for sweep in ("table1", "beyond"):
        file = grids.read(project_root() / "params" / "sweeps" / f"{sweep}.yaml", {})
        points |= {label: usual | values for label, values in grids.points(file.grid)}
    for method, against in finished.AGAINST.items():
        one, other = points[method], points[against]
        assert len([name for name in one.keys() | other.keys() if one.get(name) != other.get(name)]) == 1


def test_table_1_has_p_as_it_is_shown_and_no_row_of_another_sweep():
    ahead = list(range(1, 11))
    rows = searches("table1", **{"MCTS + Learned": [1] * 10, "MCTS": [1 + a for a in ahead]})
    table = finished.table1(pd.concat([rows, searches("beyond", mine=[1])])).set_index("method")
    assert table["p"].to_dict() == {"MCTS + Learned": "", "MCTS": "0.002"}  # 2 / 2 ** 10
    assert table["paper"].tolist() == [3.0, 15.3]
    assert table.loc["MCTS", ["seeds", "rank", "deviation"]].tolist() == [10, 6.5, 3.0]


def test_choices_are_in_the_order_of_their_tables():
    rows = pd.concat([searches("table7", b=[1, 3]), searches("table2", KL=[2, 2]), searches("table1", x=[1])])
    table = finished.choices(rows)
    assert table["choice"].tolist() == ["distance (Table 2)", "reward (Table 7)"]
    assert table[["value", "seeds", "rank", "deviation"]].to_numpy().tolist() == [
        ["KL", 2, 2.0, 0.0],
        ["b", 2, 2.0, 1.4],
    ]
    assert table["paper"].isna().all()
    label = "MCTS + Learned, absolute validation accuracy"
    table = finished.choices(searches("table7", **{label: [9]}).assign(data="cifar10_jpeg-macro"))
    assert table[["rank", "paper"]].to_numpy().tolist() == [[9.0, 6]]


def test_rows_are_those_of_the_sweeps_tables(tmp_path, monkeypatch):
    monkeypatch.setenv("HNAS_OUTPUTS", str(tmp_path))

    def of(run: str, _: str) -> SimpleNamespace:
        pretrain = {"space": "macro" if run in ("macro", "large") else "pooling", "dataset": DATA[run]}
        return SimpleNamespace(manifest={"lineage": {"01_pretrain": pretrain}})

    monkeypatch.setattr(finished, "Finished", of)
    swept = {"mine": ("table1", "beyond"), "your": ("table2",), "macro": ("table1",), "large": ("table7",)}
    for run, sweeps in swept.items():
        (tmp_path / run).mkdir()
        for sweep in sweeps:
            rows = searches(sweep, A=[3]).drop(columns=["data", "sweep"])
            rows = rows.assign(status="done", run=run, relearning_share_relearned=2.0, more=1)
            rows.to_csv(tmp_path / run / f"{sweep}.csv", index=False)
    rows = finished.collect(["mine", "your"])
    assert list(rows.columns) == finished.COLUMNS
    known = rows[["data", "sweep", "rank", "relearning_share"]].to_numpy().tolist()
    assert sorted(known) == [
        ["digits", "table2", 3, 2.0],
        ["textures", "beyond", 3, 2.0],
        ["textures", "table1", 3, 2.0],
    ]
    assert finished.collect(["large"])["data"].tolist() == ["cifar10_jpeg-macro"]
    path = tmp_path / "your" / "table2.csv"
    kept = path.read_text()
    for old, new, said in [
        ("done", "failed", r"table2.csv: 1 of 1 rows are not done \(A, seed 0: failed\); finish the sweep"),
        (",3,", ",,", "table2.csv: line 2 has no number in column rank"),
        (",rank", ",range", "table2.csv has no column rank"),
    ]:
        path.write_text(kept.replace(old, new))
        with pytest.raises(HnasError, match=said):
            finished.collect(["mine", "your"])
    path.write_text(kept)
    with pytest.raises(HnasError, match="holds no table of a sweep"):
        finished.collect(["nothing"])
    with pytest.raises(HnasError, match="no ground truth of macro on textures"):
        finished.collect(["mine", "macro"])


def test_the_committed_rows_are_whole():
    """Of every data set, sweep and label the same seeds; each with what it ran on."""
    assert list(ROWS.columns) == finished.COLUMNS
    assert not ROWS.drop(columns="relearning_share").isna().any(axis=None)
    assert ROWS["relearning_share"].notna().equals(ROWS["label"].str.contains("relearned"))
    for _, group in ROWS.groupby(["data", "sweep"]):
        assert group.groupby("label")["seed"].agg(sorted).map(json.dumps).nunique() == 1


def test_a_table_without_anything_to_compare_has_empty_columns():
    rows = searches("table1", **{"MCTS + Learned": [9]})
    assert finished.beyond(rows)["better"].isna().all()
    assert finished.table1(rows)["p"].tolist() == [""]

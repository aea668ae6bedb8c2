"""The section that is written from the committed tables: it is what they say, and only it is written."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest

from hnas_kit import benchmarks, cli
from hnas_kit.errors import HnasError
from hnas_kit.files import read_csv
from hnas_kit.reports import results
from hnas_kit.runs import project_root
from hnas_kit.studies import evidence, finished

DOCS = project_root() / "docs"


@pytest.fixture
def docs(tmp_path):
    """A copy of the page and its tables."""
    (tmp_path / "results").mkdir()
    shutil.copy(DOCS / "results.md", tmp_path)
    for path in (*(DOCS / "results").glob("*.csv"), *(DOCS / "results").glob("*.json")):
        shutil.copy(path, tmp_path / "results")
    return tmp_path


def test_the_page_says_what_its_tables_say(docs):
    assert cli.main(["results", str(docs)]) == 0
    assert (docs / "results.md").read_text() == (DOCS / "results.md").read_text(), "run hnas results"
    drawn, kept = ((folder / "results" / "evidence.svg").read_text() for folder in (docs, DOCS))
    for name in finished.TABLES:
        path = Path("results") / name
        assert (docs / path).read_text() == (DOCS / path).read_text(), "run hnas results"
    for there in ("<use ", "<text ", "MCTS"):  # dots, words; places differ with the fonts of a machine
        assert drawn.count(there) == kept.count(there) > 0, "run hnas results"


def test_another_table_gives_another_answer_and_touches_nothing_else(docs):
    page, table = docs / "results.md", docs / "results" / "evidence.csv"
    page.write_text(f"before\n{results.BEGIN}\nold\n{results.END}\nafter\n")
    rows = read_csv(table)
    rows["rank"] = 7.0
    rows.to_csv(table, index=False)
    results.write(docs)
    said = page.read_text()
    assert said.startswith(f"before\n{results.BEGIN}\n")
    assert said.endswith(f"{results.END}\nafter\n")
    assert "old" not in said
    assert evidence.answer(rows) in said
    assert " 7.0 (Uniform)" in said
    assert "7.0 (MCTS + Reg)" in said
    assert "not counted (`evidence_again.csv`), found rank: MCTS, seed 0: 26;" in said
    svg = (docs / "results" / "evidence.svg").read_text()
    assert "MCTS + Learned, linear" in svg
    results.write(docs)
    assert page.read_text() == said  # twice is once
    assert (docs / "results" / "evidence.svg").read_text() == svg


def test_searches_are_ranked_by_networks_trained_alone_as_well(docs):
    published = benchmarks.load("cifar10-pooling")["accuracy"]
    turned = 100 - published
    own = pd.DataFrame({"seed0": turned, "seed1": turned}).rename_axis("architecture")
    path = docs / "results" / "cifar10_jpeg-pooling.csv"
    own.to_csv(path)
    path.with_suffix(".json").unlink(missing_ok=True)
    with pytest.raises(HnasError, match=r"cifar10_jpeg-pooling\.json does not say how the table beside"):
        results.write(docs)
    sizes = {"width": 6, "image_size": 32, "in_channels": 3, "epochs": 7, "train_on": "half"}
    protocol = asdict(benchmarks.Protocol("pooling", "cifar10_jpeg", **sizes))
    record = {"protocol": protocol, "num_classes": 10, "core_seconds": 9000}
    path.with_suffix(".json").write_text(json.dumps(record))
    results.write(docs)
    said = " ".join((docs / "results.md").read_text().split())
    assert "width 6, JPEG copy, the searches' training half, 7 epochs, 2 seeds each" in said
    assert "(`cifar10_jpeg-pooling.csv`; 2.5 core-hours)" in said
    assert f"{turned.min():.1f} to {turned.max():.1f} %" in said
    assert "Kendall's tau -1.00; 0 of the best nine are the same" in said
    rows = read_csv(docs / "results" / "evidence.csv")
    turned = evidence.methods(rows.assign(rank=37 - rows["rank"])).loc["Uniform"]
    assert f"| Uniform | {turned['ranks']} | {turned['mean rank']:.1f} |" in said
    assert f"{turned['mean rank']:.1f} (Uniform)" in said.partition("the means are ")[2]


@pytest.mark.parametrize(
    "damage",
    [lambda t: t.iloc[:-1], lambda t: t.replace(t.iloc[3, 0], "abc"), lambda t: t.add_prefix("my ")],
    ids=["lacks one", "a text", "no accuracies"],
)
def test_a_table_of_networks_trained_alone_that_is_none_is_named_and_nothing_is_written(docs, damage):
    path = docs / "results" / "cifar10_jpeg-pooling.csv"
    damage(benchmarks.per_seed("textures-pooling").astype(object)).to_csv(path)
    before = {path: path.read_bytes() for path in docs.rglob("*") if path.is_file()}
    with pytest.raises(HnasError, match=rf"\A{path} must have the 36 architectures of the pooling space"):
        results.write(docs)
    assert before == {path: path.read_bytes() for path in docs.rglob("*") if path.is_file()}


def test_without_the_searches_of_table_1_nothing_is_written(docs):
    path = docs / "results" / "searches.csv"
    read_csv(path).query("sweep != 'table1'").to_csv(path, index=False)
    with pytest.raises(HnasError, match=rf"\A{path} has no search of sweep table1\Z"):
        results.write(docs)


def test_a_search_that_is_there_twice_is_named_and_nothing_is_written(docs):
    path = docs / "results" / "evidence.csv"
    rows = read_csv(path)
    pd.concat([rows, rows.iloc[3:4]]).to_csv(path, index=False)
    before = {path: path.read_bytes() for path in docs.rglob("*") if path.is_file()}
    with pytest.raises(HnasError, match=rf"\A{path} has MCTS \+ Learned, seed 3 twice; name it once\Z"):
        results.write(docs)
    assert before == {path: path.read_bytes() for path in docs.rglob("*") if path.is_file()}


def test_sweeps_of_a_run_replace_the_same_ones_of_their_data_set(docs, monkeypatch):
    path = docs / "results" / "searches.csv"
    before = read_csv(path)
    mine = before.groupby("label").head(2).assign(data="mine", rank=5)
    monkeypatch.setattr(finished, "collect", lambda runs: {"a": mine, "b": mine.assign(rank=7)}[runs[0]])
    for run, rank in {"a": 5.0, "b": 7.0}.items():
        assert cli.main(["results", str(docs), "--runs", run]) == 0
        assert read_csv(path).query("data != 'mine'").equals(before)
        table = read_csv(docs / "results" / "table1.csv").query("data == 'mine'")
        assert len(table) > 5
        assert set(table["rank"]) == {rank}
    monkeypatch.setattr(finished, "collect", lambda _: mine.query("sweep == 'table1'").assign(rank=9))
    results.write(docs, ["c"])
    ranks = read_csv(path).query("data == 'mine'").groupby("sweep")["rank"].agg(set)
    assert ranks.pop("table1") == {9}
    assert len(ranks) > 1
    assert all(own == {7} for own in ranks)
    order = before["data"].unique().tolist()
    first = before[(before["data"] == order[0]) & (before["sweep"] == "table1")]
    monkeypatch.setattr(finished, "collect", lambda _: first)
    results.write(docs, ["d"])
    assert read_csv(path)["data"].unique().tolist() == [*order, "mine"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda own: pd.concat([own, own]),
            r"\AUniform, seed 0 of table1 on textures is there twice, in a, b; ",
        ),
        (
            lambda own: own[own["seed"] != 3],
            r"\A--runs a b lacks \d+ of the rows that it would replace in .*searches.csv ",
        ),
        (
            lambda own: own[own["label"] != "MCTS"],
            r"\(MCTS, seed 0 of table1 on textures\); finish the sweep",
        ),
    ],
)
def test_what_would_count_a_search_twice_or_lose_one_writes_nothing(docs, monkeypatch, change, said):
    before = {path: path.read_bytes() for path in docs.rglob("*") if path.is_file()}
    rows = read_csv(docs / "results" / "searches.csv")
    own = rows[(rows["sweep"] == "table1") & (rows["data"] == "textures")]
    monkeypatch.setattr(finished, "collect", lambda _: change(own))
    with pytest.raises(HnasError, match=said):
        results.write(docs, ["a", "b"])
    assert before == {path: path.read_bytes() for path in docs.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["searches", "evidence", "judges", "evidence_again"])
def test_a_damaged_table_is_named_and_nothing_is_written(docs, name):
    path = docs / "results" / f"{name}.csv"
    path.write_bytes(path.read_bytes()[:-5])
    before = {path: path.read_bytes() for path in docs.rglob("*") if path.is_file()}
    with pytest.raises(HnasError, match=rf"results/{name}.csv"):
        results.write(docs)
    assert before == {path: path.read_bytes() for path in docs.rglob("*") if path.is_file()}


def test_a_search_without_a_rank_changes_no_mean(docs):
    path = docs / "results" / "searches.csv"
    read_csv(path).assign(rank=lambda rows: rows["rank"].where(rows.index != 4)).to_csv(path, index=False)
    with pytest.raises(HnasError, match=r"searches.csv: line 6 has no number in column rank\Z"):
        results.write(docs)


def test_a_page_without_marks_or_no_page_is_one_line(docs, tmp_path):
    with pytest.raises(HnasError, match="is not there; name the folder docs"):
        results.write(tmp_path / "nowhere")
    (docs / "results.md").write_text("mine")
    with pytest.raises(HnasError, match="lacks the lines"):
        results.write(docs)
    assert (docs / "results.md").read_text() == "mine"

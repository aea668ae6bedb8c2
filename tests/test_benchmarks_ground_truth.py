"""Ground truth: the published tables, those made here, and what is told from them."""

from __future__ import annotations

import json
import os
import runpy
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata
from sklearn.linear_model import LinearRegression

from hnas_kit import benchmarks, cost, trees
from hnas_kit.errors import HnasError
from hnas_kit.files import sha256
from hnas_kit.runs import project_root
from hnas_kit.spaces import make_space

SPACE = make_space("pooling")


ARCHS = SPACE.enumerate()


MACRO = make_space("macro")


MADE_HERE = ("digits-pooling", "textures-pooling")


# Table 1 of the paper: architecture, accuracy of the best training found, its rank
TABLE_1 = [
    ("[7,1,2]", 92.01, 1),
    ("[6,2,2]", 91.83, 2),
    ("[6,1,3]", 91.78, 3),
    ("[5,3,2]", 91.55, 4),
    ("[3,5,2]", 90.88, 11),
    ("[4,4,2]", 90.85, 12),
    ("[4,3,3]", 90.52, 15),
]


# tables


@pytest.mark.parametrize(("architecture", "accuracy", "rank"), TABLE_1)
def test_cifar10_is_the_papers_table_1(architecture, accuracy, rank):
    row = benchmarks.load("cifar10-pooling").loc[architecture]
    assert row["rank"] == rank
    assert row["accuracy"] == pytest.approx(accuracy, abs=0.0051)  # the paper gives two decimals


def test_cifar10_has_three_decimals_and_all_ranks():
    table = benchmarks.load("cifar10-pooling")
    assert table.loc["[7,1,2]", "accuracy"] == 92.012
    assert sorted(table["rank"]) == list(range(1, 37))


def published_file(name: str) -> Path:
    """A file of HNAS_DATA_DIR; without it the test is skipped."""
    path = Path(os.environ.get("HNAS_DATA_DIR", "")) / name
    if "HNAS_DATA_DIR" not in os.environ or not path.exists():
        pytest.skip(f"needs {name} in the folder that HNAS_DATA_DIR names")
    return path


@pytest.mark.data
def test_cifar10_is_its_source():
    published = pd.read_csv(published_file("resnet20_baselines_mixture.csv"))
    assert list(published["architecture"]) == list(range(1, 37))
    np.testing.assert_allclose(
        benchmarks.load("cifar10-pooling")["accuracy"], published["baseline_avg"], atol=5.01e-4
    )


# NAS-Bench-Macro: as the package has it, and as it was published


@pytest.fixture(scope="module")
def records() -> dict[str, dict]:
    """All rows of the published file, by code."""
    path = published_file("nas-bench-macro_cifar10.json")
    source = json.loads((files("hnas_kit.benchmarks") / "tables" / "cifar10-macro.json").read_text())
    assert sha256(path) == source["sha256"]
    return json.loads(path.read_text())


def test_macro_is_there_without_a_data_folder_and_without_a_network(empty_folders, monkeypatch):
    monkeypatch.setattr("socket.socket", None)
    table, seeds = benchmarks.load("cifar10-macro"), benchmarks.per_seed("cifar10-macro")
    assert list(table.index) == list(seeds.index) == [MACRO.format(arch) for arch in MACRO.enumerate()]
    assert list(table.columns) == ["accuracy", "rank", "macs", "params"]
    assert list(seeds.columns) == ["seed0", "seed1", "seed2"]
    assert table["accuracy"].idxmax() == "22212220"
    assert table.loc[["22212220", "12222222"], "rank"].tolist() == [1, 21]  # Table 4
    assert table.loc["22212220", "accuracy"] == pytest.approx(93.1267, abs=5e-5)
    assert table.loc["22212220", ["macs", "params"]].tolist() == [85_164_544, 1_985_514]
    assert list(empty_folders.iterdir()) == []
    known = benchmarks.for_dataset("macro", "cifar10_jpeg")
    pd.testing.assert_frame_equal(known, table[["accuracy", "rank"]])


@pytest.mark.data
def test_macro_is_its_source(records):
    """Every accuracy, rank and cost of the 3,969 networks."""
    table, seeds = benchmarks.load("cifar10-macro"), benchmarks.per_seed("cifar10-macro")
    published = pd.DataFrame.from_dict(records, orient="index").loc[table.index]
    np.testing.assert_array_equal(seeds, np.array(published["test_acc"].tolist()))
    np.testing.assert_array_equal(table["accuracy"], published["mean_acc"])
    better = (published["mean_acc"].to_numpy()[:, None] > published["mean_acc"].to_numpy()).sum(axis=0)
    np.testing.assert_array_equal(table["rank"], 1 + better)
    np.testing.assert_array_equal(table[["macs", "params"]], published[["flops", "params"]])


@pytest.mark.data
def test_macro_s_codes_of_one_network_have_one_record_and_others_another(records):
    canonical = {code: MACRO.format(MACRO.parse(code)) for code in records}
    assert len(records) == 6561
    assert all(records[code] == records[other] for code, other in canonical.items())
    distinct = {json.dumps(records[code]) for code in canonical.values()}
    assert len(distinct) == len(set(canonical.values())) == 3969


@pytest.mark.data
def test_macro_can_be_made_again_from_its_source(tmp_path):
    """By the script that made it, which takes nothing but the published file."""
    main = runpy.run_path(str(project_root() / "tests" / "reference" / "macro_table.py"))["main"]
    main(published_file("nas-bench-macro_cifar10.json"), tmp_path)
    kept = files("hnas_kit.benchmarks") / "tables"
    made = np.load(tmp_path / "cifar10-macro.npz")["accuracy"]
    np.testing.assert_array_equal(made, np.load(kept / "cifar10-macro.npz")["accuracy"])
    assert made.dtype == np.float32
    assert (tmp_path / "cifar10-macro.json").read_text() == (kept / "cifar10-macro.json").read_text()
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(SystemExit, match=r"other\.json is not data/nas-bench-macro_cifar10\.json of"):
        main(tmp_path / "other.json", tmp_path)


# all


@pytest.mark.parametrize("name", ["cifar10-pooling", *MADE_HERE])
def test_a_table_has_every_architecture_in_the_spaces_order(name):
    table = benchmarks.load(name)
    assert list(table.index) == [SPACE.format(arch) for arch in ARCHS]
    assert list(table.columns) == ["accuracy", "rank", "macs", "params"]
    assert len(set(table["rank"])) >= 35
    assert table["accuracy"].between(10, 100).all()


def test_costs_are_those_of_the_network_that_was_trained():
    digits = {"width": 8, "in_channels": 1}
    cifar10, small = benchmarks.load("cifar10-pooling"), benchmarks.load("digits-pooling")
    for arch in ARCHS[::7]:
        text = SPACE.format(arch)
        assert cifar10.loc[text, "macs"] == cost.macs(SPACE, arch)
        assert cifar10.loc[text, "params"] == cost.params(SPACE, arch)
        assert small.loc[text, "macs"] == cost.macs(SPACE, arch, image_size=16, **digits)
        assert small.loc[text, "params"] == cost.params(SPACE, arch, **digits)


def test_additive_is_what_a_sum_over_layers_explains():
    """1 for a sum, and the tables against scikit-learn."""
    layers = np.random.default_rng(0).normal(size=(2, 9))
    names = [SPACE.format(arch) for arch in ARCHS]
    total = [sum(layers[op, layer] for layer, op in enumerate(arch)) for arch in ARCHS]
    assert benchmarks.additive(SPACE, pd.DataFrame({"accuracy": total}, index=names)) == pytest.approx(1)
    for name in ("cifar10-pooling", "textures-pooling"):
        truth = benchmarks.load(name)
        pools = np.array(ARCHS)
        oracle = LinearRegression().fit(pools, truth["accuracy"]).score(pools, truth["accuracy"])
        assert benchmarks.additive(SPACE, truth) == pytest.approx(oracle)
        assert 0.5 < oracle < 1


@pytest.mark.parametrize("name", MADE_HERE)
def test_a_table_says_how_it_was_made(name):
    table = benchmarks.per_seed(name)
    record = json.loads((files("hnas_kit.benchmarks") / "tables" / f"{name}.json").read_text())
    assert list(table.columns) == [f"seed{s}" for s in range(record["seeds"])]
    assert record["seeds"] >= 5
    assert benchmarks.Protocol(**record["protocol"]) == benchmarks.PROTOCOLS[name]
    assert record["benchmark"] == name
    assert record["core_seconds"] > 0
    assert set(record["versions"]) >= {"python", "torch", "numpy"}


@pytest.mark.parametrize("name", MADE_HERE)
def test_a_table_is_the_mean_of_its_trainings(name):
    seeds = benchmarks.per_seed(name)
    np.testing.assert_allclose(benchmarks.load(name)["accuracy"], seeds.mean(axis=1))
    assert seeds.nunique().min() > 1
    noise = seeds.std(axis=1).mean() / len(seeds.columns) ** 0.5
    assert noise < seeds.mean(axis=1).std()  # it tells architectures apart


def test_a_comparison_by_rank_needs_ground_truth():
    with pytest.raises(HnasError, match=r"\Amethods are compared by true rank.*folder:mine.*retrain.*\Z"):
        benchmarks.needed("pooling", "folder:mine")
    assert len(benchmarks.needed("pooling", "digits")) == 36


def test_cifar10_in_another_coding_is_ranked_by_the_same_table():
    table = benchmarks.load("cifar10-pooling")[["accuracy", "rank"]]
    pd.testing.assert_frame_equal(benchmarks.for_dataset("pooling", "cifar10_jpeg"), table)
    assert benchmarks.for_dataset("pooling", "folder:photos") is None
    assert benchmarks.for_dataset("macro", "digits") is None


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda folder: benchmarks.load("cifar-pooling"), "unknown.*did you mean 'cifar10-pooling'"),
        (lambda folder: benchmarks.per_seed("cifar10-pooling"), "published without its single trainings"),
        (lambda folder: benchmarks.make("cifar10-pooling", folder, 1), "unknown benchmark.*digits-pooling"),
        (lambda folder: benchmarks.make("digits-pooling", folder, 0), "seeds is 0.*at least 1"),
    ],
    ids=["unknown", "no seeds", "published", "none to do"],
)
def test_what_there_is_not_is_refused_in_one_line(tmp_path, call, complaint):
    with pytest.raises(HnasError, match=rf"\A.*{complaint}.*\Z"):
        call(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_pointer_is_one_line(outputs):
    pointer = benchmarks.folder_of("mine-pooling") / "elsewhere.json"
    pointer.parent.mkdir(parents=True)
    pointer.write_text("{")
    with pytest.raises(HnasError, match=r"elsewhere.json does not say where the table is; make it again"):
        benchmarks.for_dataset("pooling", "mine")


@pytest.mark.parametrize("name", benchmarks.PROTOCOLS)
def test_ranks_are_scipys(name):
    table = benchmarks.load(name)
    assert table["rank"].tolist() == rankdata(-table["accuracy"], method="min").astype(int).tolist()


def test_a_tree_of_two_levels_explains_what_both_do():
    archs = ARCHS[:4]
    names = [SPACE.format(arch) for arch in archs]
    truth = pd.DataFrame({"accuracy": [70.0, 71.0, 72.0, 75.0], "rank": [4, 3, 2, 1]}, index=names)
    tree = trees.accuracy(truth["accuracy"], archs)
    assert tree.depth == 2
    history = pd.DataFrame({"phase": "search", "architecture": names[-1:]})
    judged = benchmarks.judge(truth, names[0], tree, history)
    assert judged == {"accuracy": 70.0, "rank": 4, "best_quarter": 1.0, "early_variance": pytest.approx(1)}

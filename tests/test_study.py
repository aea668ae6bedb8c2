"""The study of simulated searches: its rows by hand, and the same seeds for every method."""

from __future__ import annotations

import dataclasses
import json
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wilcoxon

from hnas_kit import benchmarks, cli, study, trees
from hnas_kit.files import read_csv
from hnas_kit.simulation import Simulation
from hnas_kit.spaces import make_space

SPACE = make_space("pooling")
ARCHS = SPACE.enumerate()
TRUTH = benchmarks.load("cifar10-pooling")
ACCURACY = TRUTH["accuracy"].to_numpy()
FOREST = {
    "learned": trees.learned(abs(np.subtract.outer(ACCURACY, ACCURACY)), ARCHS),
    "default": trees.default(SPACE),
    "random": trees.random(ARCHS, 0),
    "accuracy": trees.accuracy(ACCURACY, ARCHS),
    "one-hot": trees.random(ARCHS, 1),
}
SHORT = dataclasses.replace(study.SCHEDULE, steps=50)


@pytest.fixture(scope="module")
def results():
    return study.run(SPACE, TRUTH, FOREST, range(20), SHORT, learning=0.1, batch_size=64, beta=0.8)


def test_every_method_is_searched_with_the_same_settings(results, monkeypatch):
    assert set(results) == set(study.COMPARED)
    assert all(result.arch_index.shape == (20, 50) for result in results.values())
    seen = []

    def simulate(space, benchmark, sampler, schedule, seeds, **settings):
        seen.append((sampler, schedule, list(seeds), settings))

    monkeypatch.setattr(study, "simulate", simulate)
    study.run(SPACE, TRUTH, FOREST, range(3), SHORT, learning=0.1, beta=0.8)
    assert len(seen) == len(study.COMPARED)
    assert all(given == [SHORT, [0, 1, 2], {"learning": 0.1}] for _, *given in seen)
    assert {sampler.beta for sampler, *_ in seen if hasattr(sampler, "beta")} == {0.8}
    assert {type(sampler).__name__ for sampler, *_ in seen} == {
        *("Uniform", "Independent", "Boltzmann", "MCTS", "MCTSReg")
    }


def hand_made(rows: list[list[int]]) -> Simulation:
    """Searches over five architectures, the first the best and the last the worst."""
    accuracy = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    return Simulation(tuple(ARCHS[:5]), accuracy, np.array(rows), np.zeros((len(rows), len(rows[0]))))


def test_a_row_by_hand():
    learned = hand_made([[1, 0], [0, 3], [4, 1]])
    other = hand_made([[4, 3], [3, 2], [2, 4]])
    table = study.table({"learned": learned, "other": other}, best=2)
    assert table.columns.tolist() == [
        *("to top 2", "to best", "found best", "regret (points)", "last draws (%)", "p")
    ]
    assert table.loc["learned", "to top 2"].startswith("1 (1 to ")
    assert table.loc["learned", "to best"].startswith("2 (1 to ")
    assert table.loc["other", "to top 2"] == "never (never to never)"
    assert table.loc["learned", "found best"] == pytest.approx(2 / 3)
    assert table.loc["learned", "regret (points)"] == pytest.approx(10 / 3)
    assert table.loc["other", "last draws (%)"] == pytest.approx((60 + 70 + 50) / 3)
    assert table.loc["learned", "p"] == 1
    assert table.loc["other", "p"] == pytest.approx(wilcoxon([3 - 1, 3 - 1, 3 - 2]).pvalue)


def test_the_table_has_a_row_a_method(results):
    table = study.table(results, best=3)
    assert list(table.index) == list(study.COMPARED)
    assert table["p"].between(0, 1).all()
    assert table["found best"].between(0, 1).all()


def test_blind_draws_by_hand():
    """Five architectures: the best one beside a group of three, and the worst alone at the root."""
    archs = ARCHS[:5]
    truth = pd.DataFrame({"accuracy": [90.0, 80.0, 80.0, 80.0, 50.0], "rank": [1, 2, 2, 2, 5]})
    merges = np.array([[1, 2, 1], [3, 5, 2], [0, 6, 3], [4, 7, 4]], dtype=float)
    tree = trees.from_linkage(merges, archs)
    row = study.blind(truth, {"tree": tree}, best=1).loc["tree"]
    assert row["top 1 (%)"] == row["best quarter (%)"] == 25
    assert row["depth of the best"] == 2
    assert row["of all"] == (2 + 4 + 4 + 3 + 1) / 5
    total = np.var(truth["accuracy"])
    assert row["variance explained"] == pytest.approx((0.8 * (82.5 - 76) ** 2 + 0.2 * (50 - 76) ** 2) / total)
    # where all leaves are equally deep, all are drawn alike
    halves = study.blind(TRUTH.iloc[:32], {"halves": trees.accuracy(ACCURACY[:32], ARCHS[:32])}, best=32)
    assert halves.loc["halves", "top 32 (%)"] == pytest.approx(100 * (TRUTH.iloc[:32]["rank"] <= 32).mean())


def test_the_kept_tree_holds_all_networks_and_says_how_it_was_made():
    folder = files("hnas_kit") / "tables"
    tree = trees.load((folder / "macro-tree.npz").read_bytes())
    record = json.loads((folder / "macro-tree.json").read_text())
    with (folder / "macro-supernet.csv").open() as file:
        estimate = read_csv(file, index_col="architecture")["supernet"]
    space = make_space("macro")
    assert list(tree.archs) == space.enumerate()
    assert list(estimate.index) == [space.format(arch) for arch in tree.archs]
    assert estimate.nunique() > 100
    assert estimate.between(10, 100).all()
    lineage = record["lineage"]
    assert (lineage["01_pretrain"]["space"], lineage["01_pretrain"]["dataset"]) == ("macro", "cifar10_jpeg")
    assert lineage["02_distances"]["measure"] == "kl"
    assert record["figures"]["03_tree"]["depth"] == tree.depth
    assert record["seconds"]["01_pretrain"] > 60
    assert set(record["provenance"]["versions"]) >= {"python", "torch", "numpy"}


def test_the_study_is_of_all_networks_and_trees():
    space, truth, forest = study.macro()
    assert len(truth) == 3969
    assert all(set(tree.archs) == set(space.enumerate()) for tree in forest.values())
    assert {method.tree for method in study.COMPARED.values()} - {""} == set(forest)
    found = study.run(space, truth, forest, range(2), SHORT)
    assert all(result.reward.shape == (2, 50) for result in found.values())


def test_the_command_prints_and_keeps_the_table(outputs, monkeypatch, capsys):
    monkeypatch.setattr(study, "macro", lambda: (SPACE, TRUTH, FOREST))
    assert cli.main(["simulate", "--seeds", "5", "--steps", "30"]) == 0
    printed = capsys.readouterr().out
    assert "30 evaluations, 5 seeds each" in printed
    kept = pd.read_csv(outputs / "simulate.csv", index_col="method")
    assert list(kept.index) == list(study.COMPARED)
    assert all(name in printed for name in kept.index)


@pytest.mark.parametrize("option", ["--seeds", "--steps"])
def test_the_command_refuses_what_is_below_one(outputs, capsys, option):
    assert cli.main(["simulate", option, "0"]) == 1
    assert capsys.readouterr().err == f"hnas: {option} is 0; it must be at least 1\n"
    assert not outputs.exists()

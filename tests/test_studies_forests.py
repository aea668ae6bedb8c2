"""The study of trees: properties by hand, trees of a run's outputs, and what the command keeps."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from hnas_kit import cli, distances, figures, trees
from hnas_kit.errors import HnasError
from hnas_kit.files import read_csv
from hnas_kit.names import LINKAGES, MEASURES, SUPERNETS
from hnas_kit.runs import Stage, provided
from hnas_kit.runs.params import NOTEBOOKS
from hnas_kit.spaces import make_space
from hnas_kit.studies import forests, readings, study

POOLING = make_space("pooling")
ARCHS = POOLING.enumerate()


def finish(run: str, images: int = 70, space: str = "pooling") -> np.ndarray:
    """A run whose outputs are made up; they are returned."""
    outputs = softmax(2 * np.random.default_rng(0).standard_normal((36, images, 10)), axis=2)
    first = NOTEBOOKS["01_pretrain"].checked(
        {"run": run, "space": space, "dataset": "cifar10", "width": 2}, ""
    )
    stage = Stage(first)
    stage.save("supernet.pt", {})
    stage.finish("made")
    stage = Stage(NOTEBOOKS["02_distances"].checked({"run": run, "images": images}, ""))
    stage.save("outputs.npz", {"outputs": outputs.astype(np.float32)})
    stage.finish("made")
    return outputs.astype(np.float32)


def test_properties_by_hand():
    """Eight architectures: a good pair below a bad one's side, the rest alone at the root's other side."""
    archs = ARCHS[:8]
    truth = pd.DataFrame({"accuracy": [90.0, 89, 70, 69, 68, 67, 66, 65], "rank": range(1, 9)})
    merges = [[0, 1, 1], [2, 8, 2], [3, 4, 2], [5, 10, 3], [6, 11, 4], [7, 12, 5], [9, 13, 6]]
    tree = trees.from_linkage(np.array(merges, dtype=float), archs)
    found = forests.properties(tree, truth)
    assert found["depth"] == 5
    assert (found["group_size"], found["group_depth"]) == (2, 2)  # of the three above them two are good
    assert found["blind"] == 1 / 4
    between = trees.variance_explained(tree, truth["accuracy"])[1][3]
    assert found["early_variance"] == between > 0.9
    ideal = forests.properties(trees.accuracy(truth["accuracy"], archs), truth)
    assert (ideal["group_size"], ideal["group_depth"], ideal["blind"]) == (2, 2, 1 / 4)


def test_trees_of_a_run_are_those_of_its_first_images(outputs):
    made = finish("a")
    part, key = forests.outputs_of("a")
    assert key == ("pooling", "cifar10")
    found = list(forests.from_outputs(part.load("outputs.npz")["outputs"], forests.setting(*key)))
    assert {kind["images"] for kind, _ in found} == {64}  # there are fewer than 128
    assert len(found) == len({tuple(kind.values()) for kind, _ in found}) == 5 * 3 + 2
    kind, tree = found[4]
    exact = trees.learned(distances.from_outputs(made[:, :64], kind["measure"]), ARCHS, kind["linkage"])
    np.testing.assert_array_equal(tree.to_linkage(), exact.to_linkage())


def test_outputs_and_encodings_count_alike(outputs):
    made = finish("a")
    found = {kind["measure"]: tree for kind, tree in forests.from_outputs(made, readings.pooling())}
    encoded = distances.from_encodings(POOLING.encode(ARCHS, "onehot"), 0.5)
    for name, measure in forests.MIXED.items():
        own = distances.from_outputs(made[:, :64], measure)
        exact = trees.learned(own * encoded.mean() + encoded * own.mean(), ARCHS)
        np.testing.assert_array_equal(found[name].to_linkage()[:, :2], exact.to_linkage()[:, :2])


def test_a_row_is_what_the_simulator_gives():
    subject = readings.pooling()
    rows = list(forests.searched(subject.forest["default"], subject, seeds=4))
    assert len(rows) == 2 * 3 * 2
    assert {row["exploration"] for row in rows if row["bonus"] == "linear"} == {0.5, 0.1903}
    row = rows[0]
    assert (row["bonus"], row["steps"], row["exploration"]) == ("sqrt", 300, 0.5)
    how = study.protocol(steps=300, seeds=4, exploration=0.5, temperature_start=0.02, final="path")
    result = study.run(subject, how, {"default": study.METHODS["default"]})["default"]
    assert row["found"] == study.quartiles(result.found)[0]
    assert row["best_quarter"] == result.best_quarter.mean()


@pytest.fixture
def small(monkeypatch):
    """Nothing over NAS-Bench-Macro, and short searches."""
    every = forests.without_outputs
    monkeypatch.setattr(forests, "without_outputs", lambda s: {} if s.space.name == "macro" else every(s))
    monkeypatch.setattr(forests, "STEPS", {"macro": (30,), "pooling": (20, 40)})


def test_the_command_prints_and_keeps_the_table(outputs, small, capsys):
    finish("a")
    assert cli.main(["simulate", "trees", "--runs", "a", "--seeds", "2"]) == 0
    printed = capsys.readouterr().out
    table = pd.read_csv(outputs / "trees.csv")
    assert list(table) == [*forests.TREE, *forests.PROPERTIES, *forests.CELL[1:], "found", "best_quarter"]
    assert set(table["benchmark"]) == {"cifar10-pooling"}
    named = table.loc[table["measure"].isna(), "source"].unique()
    assert {"learned", "default", "one-hot", "one-hot, 1/2^l", "random 2"} < set(named)
    assert {"true accuracies, Ward", "true accuracies, halved"} < set(named)
    count = len(named) + 15 + len(forests.MIXED)
    assert f"{count} trees, 2 seeds a cell" in printed
    assert len(table) == count * 2 * 2 * 2
    summary = forests.summary(table)
    assert list(summary.loc["cifar10-pooling"].index).count("kl, ward") == 1
    assert summary["trees"].sum() == count
    shown = table[table["source"] == "default"].groupby("steps")["best_quarter"].mean()
    assert summary.loc[("cifar10-pooling", "default"), "best_quarter short"] == shown[20]
    assert forests.correlations(table).shape == (2 * 2 * 2, len(forests.PROPERTIES))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["trees", "--runs", "none"], "holds no finished 02_distances"),
        (["trees", "--steps", "10"], "simulate trees goes through all of them"),
        (["readings", "--rewards", "true"], "simulate readings goes through all of them"),
        (["--runs", "a"], "--runs is of simulate trees"),
        (["trees", "--seeds", "0"], "seeds is 0"),
    ],
)
def test_the_command_refuses_in_one_line(outputs, capsys, options, complaint):
    assert cli.main(["simulate", *options]) == 2
    line = capsys.readouterr().err
    assert complaint in line
    assert line.count("\n") == 1


def test_without_runs_there_is_a_table_too(outputs, monkeypatch, capsys):
    space = make_space("macro")
    few = {"default": trees.default(space), "random": trees.random(space.enumerate(), 0)}
    monkeypatch.setattr(forests, "without_outputs", lambda subject: few)
    monkeypatch.setattr(forests, "STEPS", {"macro": (20, 30)})
    assert cli.main(["simulate", "trees", "--seeds", "2"]) == 0
    assert "2 trees, 2 seeds a cell" in capsys.readouterr().out
    table = pd.read_csv(outputs / "trees.csv")
    assert set(table["source"]) == set(few)
    assert table[["measure", "linkage", "images"]].isna().all(axis=None)


def test_damaged_outputs_are_told_before_any_tree_is_made(outputs, monkeypatch, capsys):
    finish("a")
    finish("b")
    path = outputs / "b" / "02_distances" / "outputs.npz"
    path.write_bytes(path.read_bytes()[:1000])
    monkeypatch.setattr(forests, "setting", None)
    assert cli.main(["simulate", "trees", "--runs", "a", "b", "--seeds", "2"]) == 1
    assert "b/02_distances/outputs.npz is corrupt" in capsys.readouterr().err


def test_other_spaces_are_refused():
    with pytest.raises(HnasError, match=r"\Atrees are studied over macro, pooling, not over mobile\Z"):
        forests.setting("mobile", "cifar10")


def test_a_property_that_orders_trees_is_told():
    rows = [
        {"benchmark": "b", "bonus": "sqrt", "steps": 1, "exploration": 0.5, "found": 2.0**i}
        | dict.fromkeys(forests.PROPERTIES, i) | {"early_variance": -i}
        for i in (1, 1, 2, 3)
    ]  # fmt: skip
    found = forests.correlations(pd.DataFrame(rows)).iloc[0]
    assert found["early_variance"] == -1
    assert found["depth"] == pytest.approx(1)


def test_the_figure_has_a_dot_a_tree_and_says_what_it_shows(drawn):
    rows = []
    for name, default in (("cifar10-macro", 0.45), ("cifar10-pooling", 0.0)):
        kinds = [("s1", m, link, 64) for m in ("kl", "sqrt_kl") for link in ("ward", "average")]
        kinds += [(source, None, None, None) for source in ("default", "random 0", "random 1", "learned")]
        for number, (kind, steps) in enumerate(itertools.product(kinds, (30, 90))):
            value = {"default": default}.get(kind[0], 0.1 + (kind[1] == "sqrt_kl"))
            row = dict(zip(forests.TREE, (name, *kind), strict=True), bonus="sqrt", steps=steps)
            known = dict.fromkeys(forests.PROPERTIES, number // 2) | {"blind": 1 / (1 + number)}
            rows.append(row | known | {"exploration": 0.5, "found": number, "best_quarter": value / 2})
    figure = figures.trees_compared(pd.DataFrame(rows))
    above, below = figure.axes[:2], figure.axes[2:]
    titles = [axis.get_title(loc="left") for axis in above]
    assert titles[0] == "NAS-Bench-Macro, 30 steps\nWard: kl 0.05, sqrt_kl 0.55, default tree 0.23"
    assert titles[1].startswith("Pooling, 30 steps")
    dots = [len(dots.get_offsets()) for dots in above[0].collections]
    assert dots == [2, 2, 1, 2, 1]  # kl, sqrt_kl, default, random, learned
    assert "tells most" in below[0].get_title(loc="left")


def test_the_committed_table_is_of_all_supernets():
    table = read_csv(provided("docs/results/trees.csv"))
    macro = table[table["benchmark"] == "cifar10-macro"]
    sources = set(macro["source"])
    assert set(study.LEARNED) < sources
    assert {f"estimates {i}, {how}" for i in range(SUPERNETS) for how in ("Ward", "halved")} < sources
    for number in range(1, SUPERNETS):  # the packaged trees are those of the runs
        known, own = ["steps", "bonus", "exploration", "found", "best_quarter"], f"macro_s{number + 3}"
        packaged = macro.loc[macro["source"] == f"learned {number}", known].to_numpy().tolist()
        of_run = macro[(macro["source"] == own) & (macro["measure"] == "kl") & (macro["images"] == 512)]
        of_run = of_run[of_run["linkage"] == "ward"]
        assert packaged == of_run[known].to_numpy().tolist()
    assert not table.duplicated([*forests.TREE, *forests.CELL]).any()
    kinds = len(MEASURES) * (len(LINKAGES) + len(forests.IMAGES) - 1)
    alone = macro[macro["images"].notna() & ~macro["measure"].isin(forests.MIXED)]
    assert set(alone.groupby("source").size() / 12) == {kinds, 5 * len(LINKAGES)}
    mixed = macro[macro["measure"].isin(forests.MIXED)]
    assert (mixed.groupby("source").size() / 12 == len(forests.MIXED)).all()

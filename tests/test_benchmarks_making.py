"""Making a ground truth table: one training, its file, and going on where it was."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from hnas_kit import benchmarks, cli, data, training
from hnas_kit.benchmarks import Protocol, making
from hnas_kit.errors import HnasError
from hnas_kit.runs.command_params import Benchmark
from hnas_kit.spaces import PoolingSpace, make_space
from hnas_kit.training.problem import Problem

SPACE = make_space("pooling")


ARCHS = SPACE.enumerate()


TINY = Protocol("pooling", "digits", width=1, image_size=16, in_channels=1, epochs=1, batch_size=450)


def alone(arch: tuple[int, ...], seed: int, **changes: object) -> float:
    """An architecture's accuracy after a training by the tiny protocol."""
    names = ("width", "epochs", "batch_size", "lr", "weight_decay", "momentum")
    settings = {name: getattr(TINY, name) for name in names} | changes
    return benchmarks.train_alone(SPACE, data.load(TINY.dataset), arch, seed, **settings)


# making one


def test_a_training_is_kept_with_its_protocol(tmp_path):
    path = tmp_path / "new" / "training.json"
    assert making._done(path, TINY, {}) is None
    making._job(TINY, ARCHS[0], 3, path, {})
    result = making._done(path, TINY, {})
    assert result["accuracy"] == alone(ARCHS[0], 3)
    assert 0 < result["accuracy"] < 1
    assert result["seconds"] > 0
    assert making._done(path, replace(TINY, lr=0.1), {}) is None
    assert [p.name for p in path.parent.iterdir()] == ["training.json"]
    path.write_text(path.read_text()[:-5])
    assert making._done(path, TINY, {}) is None


def test_on_a_cpu_the_seconds_are_those_of_the_core(tmp_path, monkeypatch):
    """Other work beside a training does not count as its own."""
    monkeypatch.setenv("HNAS_DEVICE", "cpu")
    processor = iter([5.0, 8.0])
    monkeypatch.setattr(making, "train_alone", lambda *_, **__: 0.5)
    monkeypatch.setattr(making.time, "process_time", lambda: next(processor))
    making._job(TINY, ARCHS[0], 0, tmp_path / "training.json", {})
    assert making._done(tmp_path / "training.json", TINY, {})["seconds"] == 3


def test_what_was_found_is_trained_again_with_every_seed():
    problem = Problem.of({"space": "pooling", "dataset": "digits", "image_size": 0, "width": 1, "seed": 0})
    names, settings = [], {"epochs": 1, "batch_size": 450, "lr": TINY.lr}
    settings |= {"weight_decay": TINY.weight_decay, "momentum": TINY.momentum}
    table = benchmarks.retrained(problem, {"a": ARCHS[0]}, 2, names.append, **settings)
    accuracies = [100 * alone(ARCHS[0], seed) for seed in (0, 1)]
    assert table.loc["a"].tolist() == pytest.approx([np.mean(accuracies), np.std(accuracies, ddof=1)])
    assert names == ["a alone 0", "a alone 1"]


def test_a_training_alone_is_the_seeds_and_the_settings(monkeypatch):
    first = alone(ARCHS[20], 0)
    assert alone(ARCHS[20], 0) == first
    assert first not in (alone(ARCHS[20], 1), alone(ARCHS[20], 0, width=2))
    seen = {}

    def train(net, batches, choose, steps, **options):
        seen.update(options, steps=steps, archs={choose(step) for step in range(5)}, size=batches.batch_size)
        seen["images"], seen["running"] = len(batches.split), [name for name, _ in net.named_buffers()]

    monkeypatch.setattr(training, "train", train)
    alone(ARCHS[7], 0, epochs=3, batch_size=400, precision="bfloat16")
    assert (seen["steps"], seen["size"], seen["images"]) == (9, 400, 900)  # all of the training set
    assert seen["archs"] == {ARCHS[7]}
    assert seen["precision"] == "bfloat16"
    assert (seen["lr"], seen["weight_decay"], seen["momentum"]) == (TINY.lr, TINY.weight_decay, TINY.momentum)
    assert any("running_mean" in name for name in seen["running"])  # ordinary BatchNorm, nothing shared


def test_the_half_is_that_of_a_search_with_the_same_seed(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(training, "train", lambda net, batches, *_, **__: seen.append(batches.split))
    making._job(replace(TINY, train_on="half"), ARCHS[7], 3, tmp_path / "training.json", {})
    same = {"space": "pooling", "dataset": "digits", "image_size": 0, "width": 1, "seed": 3}
    expected = Problem.of(same).train
    assert torch.equal(seen[0].images, expected.images)
    assert torch.equal(seen[0].labels, expected.labels)
    assert len(expected) == 450


def test_make_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setitem(benchmarks.PROTOCOLS, "tiny", TINY)  # the processes get theirs as an argument
    monkeypatch.setattr(PoolingSpace, "enumerate", lambda self: ARCHS[:3])

    def write(seed: int, i: int, protocol: Protocol, accuracy: float) -> Path:
        path = tmp_path / f"seed{seed}-{i:03d}.json"
        path.write_text(json.dumps({"protocol": asdict(protocol), "accuracy": accuracy, "seconds": 1.0}))
        return path

    kept = [write(s, i, TINY, 0.5 + 0.1 * s + 0.01 * i) for s, i in ((0, 0), (1, 1), (1, 2), (1, 0))]
    write(0, 1, replace(TINY, epochs=2), 0.9)  # of another protocol
    write(0, 2, TINY, 0.9).write_text('{"protocol"')  # cut off
    before = [path.read_bytes() for path in kept]
    reports = []
    table = benchmarks.make("tiny", tmp_path, 2, lambda *counts: reports.append(counts))
    assert reports == [(4, 6), (5, 6), (6, 6)]
    assert [path.read_bytes() for path in kept] == before
    assert list(table.index) == ["[1,1,8]", "[1,2,7]", "[1,3,6]"]
    assert list(table["seed1"]) == pytest.approx([60, 61, 62])
    trained = [100 * alone(arch, 0) for arch in ARCHS[1:3]]
    assert list(table["seed0"]) == pytest.approx([50, *trained])

    written = pd.read_csv(tmp_path / "tiny.csv", index_col="architecture")
    pd.testing.assert_frame_equal(written, table, atol=5e-5, rtol=0)
    record = json.loads((tmp_path / "tiny.json").read_text())
    assert (record["benchmark"], record["seeds"], record["protocol"]) == ("tiny", 2, asdict(TINY))

    stamps = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("seed*")}
    reports.clear()
    pd.testing.assert_frame_equal(
        benchmarks.make("tiny", tmp_path, 2, lambda *counts: reports.append(counts)), table
    )
    assert reports == [(6, 6)]
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("seed*")} == stamps


def test_what_was_made_of_other_images_counts_for_nothing(tmp_path, outputs, monkeypatch):
    path = tmp_path / "training.json"
    made = {"protocol": asdict(TINY), "accuracy": 0.5, "seconds": 1.0}
    path.write_text(json.dumps(made | {"images": "20 a"}))
    assert making._done(path, TINY, {"images": "20 a"})["accuracy"] == 0.5
    assert making._done(path, TINY, {"images": "20 b"}) is None
    assert making._done(path, TINY, {}) is None

    table = outputs / "benchmarks" / "mine-pooling" / "mine-pooling.csv"
    table.parent.mkdir(parents=True)
    pd.DataFrame({"seed0": 50.0}, pd.Index(map(SPACE.format, ARCHS), name="architecture")).to_csv(table)
    record = {"protocol": asdict(TINY), "num_classes": 10, "core_seconds": 1, "images": "20 a"}
    table.with_suffix(".json").write_text(json.dumps(record))
    monkeypatch.setattr(data, "version", lambda name: "20 a")
    assert len(benchmarks.for_dataset("pooling", "mine")) == 36
    monkeypatch.setattr(data, "version", lambda name: "20 b")
    with pytest.raises(
        HnasError, match="made of other images than mine has now: hnas benchmark mine-pooling"
    ):
        benchmarks.for_dataset("pooling", "mine")


def test_a_table_of_another_protocol_is_not_replaced(outputs, capsys):
    name, folder = "digits-macro", outputs / "benchmarks" / "digits-macro"
    protocol, _ = making.make_protocol(name, **Benchmark.checked({}, "").model_dump(exclude={"plugins"}))
    folder.mkdir(parents=True)
    (folder / "digits-macro.json").write_text(json.dumps({"protocol": asdict(protocol)}))
    benchmarks.keep_other(name, folder, protocol)
    older = {key: value for key, value in asdict(protocol).items() if key != "train_on"} | {"gone": 1}
    (folder / "digits-macro.json").write_text(json.dumps({"protocol": older}))
    benchmarks.keep_other(name, folder, protocol)
    assert cli.main(["benchmark", name, "-p", "width", "3", "-p", "epochs", "1"]) == 2
    line = f"{folder}/digits-macro.csv was made with width 8, epochs 40; remove it, or name another --out"
    assert capsys.readouterr() == ("", f"hnas: {line}\n")
    assert [path.name for path in folder.iterdir()] == ["digits-macro.json"]

"""The measurements of speed run and say what they must; how fast is for a machine with nothing else to do."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hnas_kit.studies import study

ROOT = Path(__file__).resolve().parents[1]


def quick(name: str, *options: str) -> dict:
    command = [sys.executable, f"performance/{name}.py", "--quick", *options]
    env = os.environ | {"OMP_NUM_THREADS": "1"}  # networks this small lose with more on a busy machine
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)  # one object and nothing else
    assert result["benchmark"] == name
    assert result["parameters"]["quick"] is True
    assert set(result["provenance"]) >= {"versions", "git_revision", "code_sha256", "processor", "cores"}
    assert result["threads"] >= 1
    return result


@pytest.mark.slow
def test_train_step():
    result = quick("train_step")
    ways = {"kit", "bare", "loader"}
    assert set(result["images_per_second"]) == set(result["images_per_second_of_each_turn"]) == ways
    for speeds in result["images_per_second_of_each_turn"].values():
        assert len(speeds) == result["parameters"]["repeats"]
        assert all(0 < speed < 1e7 for speed in speeds)
    assert set(result["ratio"]) == {"kit_to_bare", "kit_to_loader"}
    assert all(1e-3 < ratio < 1e3 for ratio in result["ratio"].values())
    assert result["device"]


@pytest.mark.slow
def test_tree_ops():
    result = quick("tree_ops")
    assert 100 < result["sample_and_update_per_second"] < 1e8
    assert result["sample_and_update_microseconds"] * result["sample_and_update_per_second"] == pytest.approx(
        1e6, rel=0.01
    )
    assert 1e-4 < result["train_step"]["seconds"] < 100
    assert 0 < result["ratio"]["sample_and_update_to_train_step"] < 1
    assert result["parameters"]["depth"] > 1


@pytest.mark.slow
def test_prefix_sharing():
    result = quick("prefix_sharing")
    assert set(result["spaces"]) == set(result["required"]) == {"pooling", "macro"}
    for space in result["spaces"].values():
        assert 1 < space["macs_ratio"] < 4
        assert 0 < space["ratio"] < 100
        assert space["largest_difference"] < 1e-5


@pytest.mark.slow
def test_clustering():
    result = quick("clustering")
    assert [size["architectures"] for size in result["sizes"]] == [200, 500]
    assert all(0 < size["before_gb"] <= size["peak_gb"] < 24 for size in result["sizes"])
    assert result["closeness"]["exact and seed 0"]["cophenetic"] > 0.1
    assert min(result["complexity"]["a"], result["complexity"]["b"]) >= 0


@pytest.mark.slow
def test_simulate():
    result = quick("simulate")
    assert set(result["steps_per_second"]) == set(study.COMPARED)
    assert all(1e2 < rate < 1e8 for rate in result["steps_per_second"].values())


@pytest.mark.slow
def test_budget():
    result = quick("budget", "--low", "99e6", "--high", "100e6")
    assert result["architectures"] == 667_946
    assert set(result["p_of_each_layer"]) == {"1", "21"}
    assert result["smallest_p"] > 1e-3  # the draws are those of a fixed seed
    assert result["draws_per_second"] > 1


@pytest.mark.slow
def test_autocast():
    result = quick("autocast")
    assert set(result["spaces"]) == {"pooling", "macro", "mobile"}
    for space in result["spaces"].values():
        assert set(space["images_per_second"]) == set(space["loss"]) == {"float32", "bfloat16", "float16"}
        assert all(0.1 < speed < 1e7 for speed in space["images_per_second"].values())
        for half in ("bfloat16", "float16"):
            assert space["loss_difference"][half] == pytest.approx(
                space["loss"][half] - space["loss"]["float32"], abs=2e-4
            )
            assert 0 < abs(space["loss_difference"][half]) < 0.5  # another number, and not far off


@pytest.mark.slow
def test_scaling():
    result = quick("scaling", "--processes", "2")
    assert set(result["images_per_second"]) == set(result["efficiency"]) == {"1", "2"}
    assert result["efficiency"]["1"] == 1
    one, two = (result["images_per_second"][n] for n in ("1", "2"))
    assert result["efficiency"]["2"] == pytest.approx(two / one / 2, rel=0.05)
    assert 0.01 < result["efficiency"]["2"] < 10


@pytest.mark.slow
def test_reading():
    result = quick("reading")
    ways = {"kit imagefolder:", "torchvision"}
    if importlib.util.find_spec("ffcv"):
        ways |= {"kit ffcv:", "ffcv"}
    assert set(result["images_per_second_of_a_core"]) == ways
    for speeds in result["images_per_second_of_each_turn"].values():
        assert len(speeds) == result["parameters"]["repeats"]
        assert all(0.1 < speed < 1e6 for speed in speeds)


def test_startup():
    result = quick("startup")
    assert set(result["seconds"]) == {"help", "parameters", "a refused parameter"}
    for name, turns in result["seconds_of_each_turn"].items():
        assert len(turns) == result["parameters"]["repeats"]
        assert 0.01 < result["seconds"][name] < 60

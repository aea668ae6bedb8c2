"""The speed benchmarks run and say what they must; how fast is for a machine with nothing else to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def quick(name: str) -> dict:
    command = [sys.executable, f"benchmarks/{name}.py", "--quick"]
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

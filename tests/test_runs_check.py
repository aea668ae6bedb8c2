"""Checks against reference values, with a tolerance."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from hnas_kit.errors import HnasError
from hnas_kit.runs.check import check, reference

STAGE = SimpleNamespace(
    notebook="03_tree", lineage={"01_pretrain": {"epochs": 375}, "03_tree": {"seed": 0, "linkage": "ward"}}
)
VALUES = {"depth": 8, "shares": [0.25, 0.5], "bad": float("nan")}


@pytest.mark.parametrize("value", [8, 8.25, 7.75, np.float32(8.25)])
def test_a_value_within_the_tolerance_passes_with_a_constant_line(value, capsys):
    check("depth", value, VALUES, atol=0.25)
    assert capsys.readouterr().out == "depth: within 0.25 of the reference\n"


@pytest.mark.parametrize("value", [8.26, 7.7, float("nan"), float("inf"), [8.0], [8.0, 8.0]])
def test_a_value_outside_it_or_of_another_shape_is_refused(value, capsys):
    with pytest.raises(HnasError, match=r"^depth is .*, expected 8.0 within 0.25$"):
        check("depth", value, VALUES, atol=0.25)
    assert capsys.readouterr().out == ""


def test_an_array_passes_only_if_all_of_it_does(capsys):
    check("shares", np.array([0.24, 0.51]), VALUES, atol=0.02)
    assert capsys.readouterr().out == "shares: within 0.02 of the reference\n"
    for value in ([0.24, 0.53], [0.24, np.nan], [0.24], 0.25):
        with pytest.raises(HnasError, match=r"^shares is "):
            check("shares", value, VALUES, atol=0.02)


def test_nothing_agrees_with_a_reference_that_is_not_a_number():
    with pytest.raises(HnasError, match=r"^bad is nan"):
        check("bad", float("nan"), VALUES, atol=1)


def test_an_unknown_name_is_refused():
    with pytest.raises(HnasError) as caught:
        check("dept", 8, VALUES, atol=1)
    assert str(caught.value) == "there is no reference value 'dept'; allowed: depth, shares, bad"


def test_without_a_reference_nothing_is_compared(capsys):
    check("depth", float("nan"), None, atol=0)
    line = "depth: not compared, there is no reference for these parameters\n"
    assert capsys.readouterr().out == line


def test_a_record_holds_for_the_parameters_it_was_made_with(tmp_path):
    path = tmp_path / "03_tree.json"
    assert reference(STAGE, path) is None
    path.write_text(json.dumps({"lineage": STAGE.lineage, "values": {"depth": 8}}))
    assert reference(STAGE, path) == {"depth": 8}
    for notebook, name, value in (("03_tree", "linkage", "average"), ("01_pretrain", "epochs", 1)):
        lineage = STAGE.lineage | {notebook: STAGE.lineage[notebook] | {name: value}}
        assert reference(SimpleNamespace(notebook="03_tree", lineage=lineage), path) is None


def test_the_record_of_a_notebook_lies_with_the_tests(tmp_path, monkeypatch):
    monkeypatch.setattr("hnas_kit.runs.check.project_root", lambda: tmp_path)
    assert reference(STAGE) is None
    path = tmp_path / "tests" / "reference" / "03_tree.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"lineage": STAGE.lineage, "values": {"depth": 9}}))
    assert reference(STAGE) == {"depth": 9}


@pytest.mark.parametrize("content", [b"", b"[]", b'{"values": {}}', b"\xff"])
def test_a_corrupt_record_is_refused(tmp_path, content):
    path = tmp_path / "03_tree.json"
    path.write_bytes(content)
    with pytest.raises(HnasError) as caught:
        reference(STAGE, path)
    assert str(caught.value).startswith(f"{path} is not a readable reference (")
    assert str(caught.value).endswith("; make it with make notebooks")
    assert "\n" not in str(caught.value)

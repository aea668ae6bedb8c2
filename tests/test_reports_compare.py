"""Two runs beside each other."""

from __future__ import annotations

import pandas as pd
import pytest

from hnas_kit import cli
from hnas_kit.errors import HnasError
from hnas_kit.reports import compare, report
from hnas_kit.runs import Finished, Stage
from hnas_kit.runs.params import NOTEBOOKS


def finish(run: str, notebook: str = "04_mcts", found: dict | None = None, **changes: object) -> None:
    """A finished search with these parameters, and those that it follows from."""
    if notebook == "04_mcts":
        for before, name in (("01_pretrain", "ranking.csv"), ("02_distances", "d.csv"), ("03_tree", "t.csv")):
            stage = Stage(NOTEBOOKS[before].checked({"run": run}, before))
            stage.save(name, pd.DataFrame())
            stage.finish("made")
    stage = Stage(NOTEBOOKS[notebook].checked({"run": run} | changes, notebook))
    stage.save("found.csv", pd.DataFrame(found or {"architecture": ["[1,1,8]"]}, index=["learned"]))
    stage.finish(f"{run} found something")


def test_what_differs_and_what_was_found_stand_beside_each_other(outputs, capsys):
    finish("a", found={"architecture": ["[1,1,8]"], "rank": [36]})
    finish("b", found={"architecture": ["[7,1,2]"], "rank": [1]}, exploration=0.5, seed=3)
    assert cli.main(["compare", "a", "b"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("a: a found something\nb: b found something\n")
    parts = {run: Finished(run, "04_mcts") for run in "ab"}
    table = compare.differences(parts)
    assert table.to_dict("index") == {
        "04_mcts.exploration": {"a": "0.02", "b": "0.5"},
        "04_mcts.seed": {"a": "0", "b": "3"},
    }
    both = compare.results(parts)
    assert both.loc["learned", ("a", "rank")] == 36
    assert both.loc["learned", ("b", "architecture")] == "[7,1,2]"


def test_runs_of_the_same_parameters_are_told_so(outputs):
    finish("a")
    finish("b")
    assert "all parameters are the same" in compare.compare("a", "b")


def test_of_a_sweep_a_run_is_to_be_named(outputs):
    for run in ("grid/a/seed1", "grid/a/seed0"):
        finish(run)
    for call in (lambda: compare.compare("grid", "x"), lambda: report.write("grid")):
        with pytest.raises(
            HnasError, match=r"grid has runs below it; name one of them, such as grid/a/seed0\Z"
        ):
            call()


def test_what_cannot_be_compared_is_refused_in_one_line(outputs):
    finish("a")
    finish("b", "06_imagenet")
    with pytest.raises(HnasError, match=r"\Aa is named twice"):
        compare.compare("a", "a")
    with pytest.raises(HnasError, match=r"of different notebooks \(a 04_mcts, b 06_imagenet\)"):
        compare.compare("a", "b")
    with pytest.raises(HnasError, match="c/04_mcts holds no finished 04_mcts"):
        compare.compare("a", "c")

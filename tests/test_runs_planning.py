"""What a run would do, told without doing it."""

from __future__ import annotations

import json

import pytest

from hnas_kit.runs import Stage, execution
from hnas_kit.runs.folders import manifest_checksum
from hnas_kit.runs.params import NOTEBOOKS

TWO = {"01_pretrain": {"run": "a"}, "02_distances": {"run": "a"}}


def change(**changes):
    """Profile ``TWO`` with changes of its notebooks."""
    return {name: values | changes.get(name[3:], {}) for name, values in TWO.items()}


def finish(profile=TWO, seconds=3.0):
    """The results of a profile, which took so many seconds each."""
    for notebook, values in profile.items():
        stage = Stage(NOTEBOOKS[notebook].checked(values, notebook))
        stage.save("supernet.pt", {})
        stage.finish("done")
        path = stage.folder / "manifest.json"
        content = json.loads(path.read_text()) | {"seconds": seconds}
        path.write_text(json.dumps(content | {"checksum": manifest_checksum(content)}))


def plan(profile=TWO, first="01_pretrain", force=False):
    return list(execution.plan(profile, first, force))


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_what_was_never_run_is_said_and_nothing_is_written(outputs):
    assert plan(change(pretrain={"epochs": 3, "dataset": "digits"})) == [
        "run a",
        "01_pretrain   runs, time unknown: there is no result yet",
        "              epochs 3, dataset digits",
        "02_distances  runs, time unknown: there is no result yet",
    ]
    assert not outputs.exists()


@pytest.mark.parametrize(
    ("changes", "options", "said"),
    [
        ({}, {}, ["up to date", "up to date"]),
        ({"distances": {"images": 3}}, {}, ["up to date", "runs, about 3 s: changed: images (was 256)"]),
        ({"distances": {"device": "cpu"}}, {}, ["up to date", "up to date"]),
        (
            {"pretrain": {"epochs": 3, "width": 2}},
            {},
            [
                "runs, about 3 s: changed: epochs (was 12), width (was 8)",
                "runs, about 3 s: it reads 01_pretrain",
            ],
        ),
        ({}, {"force": True}, ["runs, about 3 s: --force"] * 2),
        ({}, {"first": "02_distances"}, ["up to date"]),
    ],
)
def test_why_a_notebook_would_run_and_for_how_long(outputs, changes, options, said):
    finish()
    before = files(outputs)
    lines = [line[14:] for line in plan(change(**changes), **options)[1:] if line[0] != " "]
    assert lines == said
    assert files(outputs) == before


def test_a_damaged_result_and_other_inputs_are_reasons(outputs):
    finish()
    (outputs / "a" / "02_distances" / "supernet.pt").write_bytes(b"")
    assert plan()[2].endswith("runs, about 3 s: supernet.pt is missing or damaged")
    finish()
    finish({"01_pretrain": {"run": "a", "seed": 1}})
    assert plan(change(pretrain={"seed": 1}))[-1].endswith("about 3 s: made again: 01_pretrain")


def test_a_notebook_without_what_it_reads_says_so(outputs):
    finish()
    (outputs / "a" / "01_pretrain").rename(outputs / "a" / "gone")
    assert plan(first="02_distances")[1].endswith("about 3 s: what it reads is not there")


def test_changed_code_is_a_reason(outputs, monkeypatch):
    finish()
    monkeypatch.setattr("hnas_kit.runs.folders.notebook_digest", lambda notebook: "other")
    assert plan()[1].endswith("its code, data or kind of device changed")


def test_the_time_is_that_of_the_same_parameters_wherever_they_ran(outputs):
    p = NOTEBOOKS["01_pretrain"].checked({"run": "a", "epochs": 3}, "")
    assert execution.took(p) == "time unknown"
    finish({"01_pretrain": {"run": "b", "epochs": 9}}, 50.0)
    assert execution.took(p) == "time unknown"  # another run, other parameters
    finish({"01_pretrain": {"run": "a", "epochs": 9}}, 40.0)
    assert execution.took(p) == "about 40 s"  # this run
    finish({"01_pretrain": {"run": "sweep/x", "epochs": 3, "seed": 5}}, 7.4)
    assert execution.took(p) == "about 7 s"  # the same parameters


def test_where_the_ablations_have_no_ground_truth_they_are_left_out(outputs):
    profile = {name: {"run": "a"} for name in list(NOTEBOOKS)[:5]}
    profile["01_pretrain"] |= {"space": "macro", "dataset": "digits"}
    line = plan(profile, first="05_ablations")[1]
    assert line.startswith("05_ablations  left out: ")
    assert "no ground truth" in line
    assert not outputs.exists()
    finish({name: values for name, values in profile.items() if name <= "03_tree"})
    alone = {"05_ablations": {"run": "b", "source": "a"}}  # what is read decides, not the profile
    assert plan(alone, first="05_ablations")[1] == line
    assert plan({"01_pretrain": {"run": "b"}} | alone, first="05_ablations")[1] == line

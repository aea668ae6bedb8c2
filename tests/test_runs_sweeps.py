"""Sweeps: what a file expands to and where its runs lie, each mistake in it, and runs that are killed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import distributed
import pandas as pd
import psutil
import pytest
import yaml
from common import clean_environment
from hypothesis import assume, given
from hypothesis import strategies as st

from hnas_kit import cli, runs
from hnas_kit.errors import HnasError
from hnas_kit.runs import Stage, grids, sweeps
from hnas_kit.runs.finished import manifest_checksum
from hnas_kit.runs.folders import outdated
from hnas_kit.runs.params import NOTEBOOKS
from hnas_kit.runs.profiles import load_profile

ROOT = Path(__file__).resolve().parents[1]
QUICK = load_profile(ROOT / "params" / "quick")
TREE = {"run": "a", "profile": "quick", "notebook": "03_tree", "seeds": 2, "grid": [{}]}


def plan(changes=(), **content):
    return grids.expand(grids.SweepFile.model_validate(TREE | content), dict(changes))


def folders(made, seed=0):
    """The folders of each notebook's tasks with a seed, without the run's own name."""
    found = {}
    for notebook, run in made.tasks:
        assert run.startswith("a/")
        if run.endswith(f"seed{seed}"):
            found.setdefault(notebook, []).append(
                run.removeprefix("a/").removesuffix(f"seed{seed}").strip("/")
            )
    return found


def test_what_points_have_in_common_is_one_task():
    made = plan(grid=[{"label": "Ward"}, {"linkage": "average"}, {"measure": "l2", "linkage": "average"}])
    assert (
        folders(made)
        == folders(made, seed=1)
        == {
            "01_pretrain": [""],
            "02_distances": ["", "measure-l2"],
            "03_tree": ["", "linkage-average", "measure-l2.linkage-average"],
        }
    )
    assert [(row.label, row.seed, row.values, row.key[1]) for row in made.rows] == [
        (label, seed, {"linkage": linkage, "measure": measure}, f"a/{folder}seed{seed}")
        for label, linkage, measure, folder in [
            ("Ward", "ward", "kl", ""),
            ("linkage average", "average", "kl", "linkage-average/"),
            ("measure l2, linkage average", "average", "l2", "measure-l2.linkage-average/"),
        ]
        for seed in (0, 1)
    ]


def test_methods_with_settings_of_their_own_can_differ_by_point():
    own = [
        [{"label": name, "sampler": "mcts", "tree": "learned", "bonus": name}] for name in ("sqrt", "linear")
    ]
    made = plan(
        notebook="04_mcts", grid=[{"label": "none", "compare": []}, {"product": {"compare": own}}], seeds=1
    )
    assert len({row.key[1] for row in made.rows}) == 3
    for (_, run), task in made.tasks.items():
        assert re.fullmatch(r"a(/[^/]*)?/seed0", run)
        assert task.params.run == run


def test_a_task_reads_from_its_nearest_and_needs_all_it_reads():
    made = plan(grid=[{"measure": "l2"}], seeds=1)
    pretrain, distances, tree = made.tasks.values()
    assert (pretrain.key, pretrain.needs) == (("01_pretrain", "a/seed0"), ())
    assert (distances.params.run, distances.params.source) == ("a/measure-l2/seed0", "a/seed0")
    assert tree.params.source == tree.params.run == "a/measure-l2/seed0"
    assert tree.needs == (pretrain.key, distances.key)
    assert tree.lineage.keys() == {"01_pretrain", "02_distances", "03_tree"}
    assert tree.lineage["02_distances"] == runs.result_params(distances.params)


def test_a_value_that_is_the_usual_one_names_no_folder():
    """So sweeps of one run share what they have in common, however they say it."""
    assert folders(plan(grid=[{"measure": "kl", "lr": 0.03}, {"linkage": "average"}]))["02_distances"] == [""]
    fixed = plan(fixed={"measure": "l2"}, grid=[{"measure": "l2"}, {"measure": "kl"}])
    assert folders(fixed)["02_distances"] == ["", "measure-kl"]


def test_a_name_goes_to_every_notebook_or_to_the_one_it_is_given_with():
    both = plan(notebook="04_mcts", grid=[{"epochs": 7}])
    assert folders(both) == {name: ["epochs-7"] for name in grids.chain("04_mcts")}
    one = plan(notebook="04_mcts", grid=[{"04_mcts.epochs": 7}, {"epochs": 7, "04_mcts.epochs": 9}])
    assert folders(one)["01_pretrain"] == ["", "epochs-7"]
    assert folders(one)["04_mcts"] == ["04_mcts-epochs-7", "01_pretrain-epochs-7.04_mcts-epochs-9"]
    assert [row.values for row in one.rows[::2]] == [
        {"04_mcts.epochs": 7, "epochs": 7},
        {"04_mcts.epochs": 9, "epochs": 9},
    ]


def test_products_are_multiplied_out():
    grid = [{"images": 9, "product": {"measure": ["kl", "l2"], "linkage": ["ward", "average"]}}]
    pairs = list(product(["kl", "l2"], ["ward", "average"]))
    expected = [{"images": 9, "measure": measure, "linkage": linkage} for measure, linkage in pairs]
    assert [values for _, values in grids.points(grid)] == expected
    assert [label for label, _ in grids.points(grid)] == [
        f"images 9, measure {measure}, linkage {linkage}" for measure, linkage in pairs
    ]
    labels = [label for label, _ in grids.points([{"label": "B", **grid[0]}, {}, {"tree": ""}])]
    assert labels[0] == "B, measure kl, linkage ward"
    assert labels[-2:] == ["as fixed", 'tree ""']


def test_later_changes_go_over_earlier_ones():
    changes = {"01_pretrain.width": 3, "epochs": 5}
    made = plan(changes, fixed={"01_pretrain.epochs": 30, "width": 4}, grid=[{}, {"epochs": 9}])
    assert [task.params.epochs for key, task in made.tasks.items() if key[0] == "01_pretrain"] == [5, 5, 9, 9]
    assert {task.params.width for key, task in made.tasks.items() if key[0] == "01_pretrain"} == {3}


VALUES = {
    "dataset": st.sampled_from(["digits", "textures", "folder:a/b", "folder:a_b", "folder: a", "ffcv:a"]),
    "width": st.integers(1, 12),
    "lr": st.floats(1e-6, 1e30) | st.sampled_from([0.03, 3, 3.0]),
    "images": st.integers(1, 10**7),
    "measure": st.sampled_from(["kl", "l2", "cross_entropy"]),
    "epochs": st.integers(1, 12),
    "04_mcts.epochs": st.integers(1, 12),
    "01_pretrain.epochs": st.integers(1, 12),
    "threads": st.integers(0, 2),
    "03_tree.linkage": st.sampled_from(["ward", "average"]),
    "retrain": st.integers(0, 3),
}
CHANGES = st.fixed_dictionaries({}, optional=VALUES)


@given(CHANGES, CHANGES)
def test_other_parameters_are_another_folder_and_the_same_the_same(one, other):
    first, second = (
        plan(notebook="04_mcts", seeds=1, grid=[{"label": "x", **values}]).tasks for values in (one, other)
    )
    for tasks in (first, second):
        for task in tasks.values():
            NOTEBOOKS[task.key[0]].checked(task.params.model_dump(), "a legal name")
            assert max(map(len, task.params.run.split("/"))) < 130
    for mine, others in zip(first.values(), second.values(), strict=True):
        one, other = (
            [
                t.params.model_dump(exclude=set(grids.PLACED))
                for t in tasks.values()
                if t.key[0] in mine.lineage
            ]
            for tasks in (first, second)
        )
        assert (mine.key == others.key) == (one == other)


@given(st.text(), st.text())
def test_texts_of_any_kind_are_told_apart(one, other):
    assume(one != other)
    params = NOTEBOOKS["01_pretrain"].checked(QUICK["01_pretrain"], "")
    names = {
        grids.slug({"01_pretrain": params.model_copy(update={"dataset": text})}, {"01_pretrain": {}})
        for text in (one, other)
    }
    assert len(names) == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"grids": []}, "unknown key grids (did you mean grid?)"),
        ({"seeds": 0}, "seeds is 0: Input should be greater than or equal to 1"),
        ({"seeds": "3"}, "seeds is '3': Input should be a valid integer"),
        ({"run": "../a"}, "run is '../a': should be a plain name"),
        ({"notebook": "03"}, "notebook is '03': Input should be '01_pretrain', "),
        ({"grid": []}, "grid is []: List should have at least 1 item"),
        (
            {"grid": [{"product": {"epochs": [*range(1, 102)], "batch_size": [*range(1, 12)]}}]},
            "point 1: its product has 1111 points; at most 1000 are allowed",
        ),
        ({"grid": [3]}, "grid[0] is 3: Input should be a valid dictionary"),
        ({"grid": None}, "grid is None: Input should be a valid list"),
        ({"profile": "quik"}, "unknown profile 'quik' (did you mean 'quick'?); allowed: "),
        ({"fixed": {"epoch": 3}}, "fixed: unknown parameter epoch (did you mean epochs?)"),
        ({"fixed": {"04_mcts.beta": 0.9}}, "fixed: unknown notebook '04_mcts'; allowed: 01_pretrain, "),
        ({"fixed": {"03_tree.measure": "kl"}}, "fixed: unknown parameter measure ("),
        ({"fixed": {"seed": 3}}, "fixed: seed cannot be given here: it follows from"),
        ({"fixed": {"width": 0}}, "point 'as fixed': 01_pretrain: width is 0: Input should be greater than"),
        ({"grid": [{}, {"run": "b"}]}, "point 'run b': run cannot be given here"),
        ({"grid": [{}, {"linkag": "ward"}]}, "point 'linkag ward': unknown parameter linkag (did you"),
        ({"grid": [{"label": "X", "measure": 3}]}, "point 'X': 02_distances: measure is 3: Input shou"),
        ({"grid": [{"product": {"lr": [1.0, -1]}}]}, "point 'lr -1': 01_pretrain: lr is -1: Input sho"),
        ({"grid": [{"product": ["kl"]}]}, "point 1: product is ['kl']; it must hold name: [value, ..."),
        ({"grid": [{"product": {1: [0, 3]}}]}, "point 1: product is {1: [0, 3]}; it must hold name: [val"),
        ({"grid": [{}, {"product": {"lr": []}}]}, "point 2: product is {'lr': []}; it must hold"),
        ({"grid": [{"product": {}}]}, "point 1: product is {}; it must hold"),
        ({"grid": [{"lr": 1, "product": {"lr": [2]}}]}, "point 1: lr is given beside the product and in it"),
        ({"grid": [{}, {}]}, "point 2: there is another point 'as fixed'; give it another label"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_file_is_one_line_and_nothing_is_written(outputs, tmp_path, capsys, changes, said):
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(TREE | changes))
    assert cli.main(["sweep", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith(f"hnas: {path}: {said}")
    assert not outputs.exists()


def test_a_tree_that_is_learned_anew_needs_outputs(outputs, tmp_path, capsys):
    path = tmp_path / "s.yaml"
    grid = [{"tree": "relearned", "measure": "vector"}]
    path.write_text(yaml.safe_dump(TREE | {"notebook": "04_mcts", "grid": grid}))
    assert cli.main(["sweep", str(path)]) == 2
    said = (
        "hnas: 04_mcts: tree relearned is learned from a supernet's outputs, and 02_distances has measure v"
    )
    assert capsys.readouterr().err.startswith(said)
    assert not outputs.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("none.yaml", "cannot read none.yaml: No such file or directory"),
        ("{0}/list.yaml", "{0}/list.yaml must hold name: value lines"),
        ("{0}/broken.yaml", "{0}/broken.yaml is not YAML: while parsing a flow sequence"),
        ("{0}/missing.yaml", "{0}/missing.yaml: key profile is missing; key notebook is missing; "),
        ("{0}/s.yaml -p seeds 0", "{0}/s.yaml: seeds is 0: Input should be greater than or equal to 1"),
        ("{0}/s.yaml -p profile {0}/empty", "{0}/s.yaml: profile folder {0}/empty holds no <notebook>.yaml"),
        ("{0}/s.yaml -p profile {0}/part", "{0}/s.yaml: profile {0}/part has no 01_pretrain.yaml, which 03"),
        ("{0}/s.yaml -p epoch 3", "{0}/s.yaml: fixed: unknown parameter epoch (did you mean epochs?)"),
        ("{0}/s.yaml -p device cuda", "device is cuda, but PyTorch finds no CUDA device here"),
        ("{0}/s.yaml --workers 0", "--workers is 0; it must be at least 1"),
        ("{0}/s.yaml --workers 2 --scheduler tcp://a:1", "--workers is 2; with --scheduler the workers"),
        ("{0}/s.yaml --scheduler nothing://a:1", "no dask scheduler answers at nothing://a:1 (unknown "),
    ],
)  # fmt: skip
def test_a_mistake_on_the_command_line_is_one_line(outputs, tmp_path, capsys, arguments, said):
    (tmp_path / "list.yaml").write_text("- 3\n")
    (tmp_path / "broken.yaml").write_text("run: [a\n")
    (tmp_path / "missing.yaml").write_text("run: a\n")
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(TREE))
    for name in ("empty", "part"):
        (tmp_path / name).mkdir()
    (tmp_path / "part" / "03_tree.yaml").write_text(yaml.safe_dump(QUICK["03_tree"]))
    assert cli.main(["sweep", *arguments.format(tmp_path).split()]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"hnas: {said.format(tmp_path)}")
    assert not outputs.exists()


@pytest.mark.parametrize("path", sorted((ROOT / "params" / "sweeps").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_sweep_of_the_project_can_be_run(path):
    assert grids.load(path, {}).rows


def finish(task):
    """Make a task's folder, without training."""
    stage = Stage(task.params)
    for name in {name for reads in runs.READS.values() for name in reads.get(task.key[0], ())}:
        stage.save(name, pd.DataFrame({"a": [1]}) if name.endswith(".csv") else {})
    stage.save("found.csv", pd.DataFrame({"rank": [2.5], "accuracy": [90.0]}, index=["learned"]))
    stage.finish("made", reward=7.5, curve=[1, 2])


def test_a_result_of_other_parameters_is_not_replaced(outputs, tmp_path, capsys):
    """Two files of one run whose fixed values differ would overwrite each other's results."""
    (tmp_path / "s.yaml").write_text(
        yaml.safe_dump(TREE | {"notebook": "01_pretrain", "fixed": {"epochs": 30}})
    )
    (task, _) = plan(notebook="01_pretrain", fixed={"epochs": 40}).tasks.values()
    finish(task)
    assert cli.main(["sweep", str(tmp_path / "s.yaml")]) == 2
    said = (
        f"{outputs}/a/seed0/01_pretrain was made with 01_pretrain.epochs 40, now it is 30; put it in the grid"
    )
    assert capsys.readouterr().err.startswith(f"hnas: {said}")
    sweeps.keep_others(task)


def test_a_result_with_a_setting_that_came_later_is_not_replaced_either(outputs):
    """Such a setting is not written down where it has its default."""
    other = plan(notebook="04_mcts", fixed={"prior": "leaves", "compare": []}).tasks
    for task in other.values():
        finish(task)
    (*_, plain) = plan(notebook="04_mcts", fixed={"compare": []}).tasks.values()
    with pytest.raises(HnasError, match=r"was made with 04_mcts\.prior leaves, now it is branches; put"):
        sweeps.keep_others(plain)
    assert outdated(plain.params).startswith('changed: prior (was "leaves")')
    finish(plain)
    with pytest.raises(HnasError, match=r"was made with 04_mcts\.prior branches, now it is leaves; put"):
        sweeps.keep_others(list(other.values())[-1])


@pytest.fixture
def worker(outputs, tmp_path, monkeypatch):
    """Runs a task in this process as a worker does."""
    executed = []
    monkeypatch.setattr(distributed, "get_worker", lambda: SimpleNamespace(state=SimpleNamespace(nthreads=1)))
    monkeypatch.setattr(sweeps, "execute", lambda *args: executed.append(args))
    place = tmp_path, ROOT, {"HNAS_OUTPUTS": str(outputs)}
    return executed, lambda task, place=place: sweeps.run_task(task, place)


def test_what_is_up_to_date_is_not_run_again(worker):
    executed, run_task = worker
    (task, _) = plan(notebook="01_pretrain").tasks.values()
    finish(task)
    end = run_task(task)
    assert executed == []
    assert end["values"] == {"reward": 7.5, "rank": 2.5, "accuracy": 90.0}
    assert end["same_code"]


def failure(call, *args):
    with pytest.raises(sweeps.Failed) as caught:
        call(*args)
    return caught.value.line


def test_a_worker_runs_one_notebook_at_a_time_and_of_the_same_project(worker, tmp_path, monkeypatch):
    _, run_task = worker
    (task, _) = plan(notebook="01_pretrain").tasks.values()
    line = failure(run_task, task, (tmp_path, tmp_path, {}))
    assert line == f"the worker finds the project in {ROOT}, the sweep is of that in {tmp_path}"
    state = SimpleNamespace(state=SimpleNamespace(nthreads=2))
    monkeypatch.setattr(distributed, "get_worker", lambda: state)
    said = "a worker runs one notebook at a time: start dask worker with --nthreads 1"
    assert failure(run_task, task) == said


def test_a_task_is_run_where_the_sweep_was_started_and_leaves_no_trace(tmp_path, monkeypatch):
    monkeypatch.setenv("HNAS_DEVICE", "cpu")
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")  # dask's, slow
    before, folder = dict(os.environ), Path.cwd()
    with sweeps._placed(tmp_path, ROOT, {"HNAS_DATA_DIR": "data"}):
        assert Path.cwd() == tmp_path
        assert "MALLOC_TRIM_THRESHOLD_" not in os.environ
        assert [name for name in os.environ if name.startswith("HNAS_")] == ["HNAS_DATA_DIR"]
    assert (dict(os.environ), Path.cwd()) == (before, folder)


def test_a_second_cluster_on_this_machine_finds_ports_of_its_own(recwarn):
    with socket.socket() as first:
        with contextlib.suppress(OSError):  # where it is taken already, all the better
            first.bind(("", 8787))  # dask's default
            first.listen()
        with sweeps._client(None, 1) as client:
            assert client.submit(os.getpid).result() != os.getpid()
    assert not [str(w.message) for w in recwarn.list]


class Future:
    def __init__(self, key, result):
        self.key, self._result = key, result

    def result(self):
        if isinstance(self._result, Exception):
            raise self._result
        return self._result


def test_every_end_has_its_row_with_the_cause(capsys):
    made = plan(seeds=3, notebook="02_distances", grid=[{"label": "K"}, {"label": "L", "measure": "l2"}])
    ends, keys = sweeps.Ends(made), {f"task {key}": key for key in made.tasks}
    done = {"values": {"rank": 2.0, "seed": 9}, "seconds": 60.0, "took": 60.0, "same_code": True}
    done["origin"] = {"commit": "abc", "hardware": "a CPU, 2 cores, cpu"}
    failed = sweeps.Failed(("01_pretrain", "a/seed1"), "the loss is not finite")
    died = distributed.KilledWorker("task ('02_distances', 'a/seed0')", None, 3)
    for key in made.tasks:
        result = failed if key[1].endswith("seed1") else done
        result = died if key == ("02_distances", "a/seed0") else result
        if not key[1].endswith("seed2"):
            ends.add(Future(f"task {key}", result), keys)
    assert str(ends) == "2 of 9 runs done, 2 failed, 2 not run"
    assert capsys.readouterr().out == (
        "failed: a/seed0/02_distances: 4 workers died while they ran it\n"
        "failed: a/seed1/01_pretrain: the loss is not finite\n"
    )
    ends.show(workers=2)
    assert capsys.readouterr().out == f"{ends}, about 0:01:30 left\n"
    table = ends.table()
    columns = ["label", "seed", "measure", "run", "status", "error", "seconds", "commit", "hardware", "rank"]
    assert list(table) == columns
    why = "a/seed1/01_pretrain failed: the loss is not finite"
    assert table[["status", "error"]].to_numpy().tolist() == [
        ["failed", "4 workers died while they ran it"], ["not run", why], ["not run", "stopped"],
        ["done", ""], ["not run", why], ["not run", "stopped"],
    ]  # fmt: skip
    assert table.loc[3, ["label", "seed", "measure", "rank"]].tolist() == ["L", 0, "l2", 2.0]


def test_finished_rows_stay_when_a_sweep_is_started_again_and_interrupted(outputs, tmp_path):
    made = plan(seeds=2, notebook="02_distances", grid=[{"label": "None"}, {"label": "L", "measure": "l2"}])
    target, keys = tmp_path / "a.csv", {f"task {key}": key for key in made.tasks}
    done = {"values": {"rank": 2.0}, "seconds": 60.0, "took": 60.0, "same_code": True}
    first = sweeps.Ends(made)
    for key in made.tasks:
        first.add(Future(f"task {key}", done), keys)
    whole = first.save(target)
    assert (whole["status"] == "done").all()
    for task in made.tasks.values():
        finish(task)
    again = sweeps.Ends(made, sweeps._rows_before(target, made, False))
    again.save(target)  # stopped before anything ended
    assert pd.read_csv(target, keep_default_na=False).astype(str).equals(whole.fillna("").astype(str))
    again = sweeps.Ends(made, sweeps._rows_before(target, made, False))
    failed = sweeps.Failed(("02_distances", "a/seed0"), "no space left")
    again.add(Future("task ('02_distances', 'a/seed0')", failed), keys)
    assert again.table()["status"].tolist() == ["failed", "done", "done", "done"]
    other = plan(seeds=1, run="b", notebook="02_distances", grid=[{"label": "None"}])
    assert sweeps.Ends(other, sweeps._rows_before(target, other, False)).table()["status"].tolist() == [
        "not run"
    ]
    assert sweeps._rows_before(tmp_path / "none.csv", made, False) == {}


def test_points_that_share_a_result_keep_their_own_rows(outputs, tmp_path):
    made = plan(seeds=1, notebook="01_pretrain", grid=[{"label": "A"}, {"label": "B"}])
    (task,) = made.tasks.values()
    finish(task)
    target = tmp_path / "a.csv"
    pd.DataFrame({"label": ["A", "B"], "seed": 0, "run": "a/seed0", "status": "done"}).to_csv(
        target, index=False
    )
    assert sweeps.Ends(made, sweeps._rows_before(target, made, False)).table()["label"].tolist() == ["A", "B"]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_row_without_its_result_is_not_kept(outputs, tmp_path, elsewhere):
    """Its folder was removed, to make it with other parameters; then the sweep was stopped."""
    made = plan(seeds=2, notebook="01_pretrain", grid=[{"label": "None"}])
    for task in made.tasks.values():
        finish(task)
    target = tmp_path / "a.csv"
    rows = pd.DataFrame({"label": "None", "seed": [0, 1], "run": ["a/seed0", "a/seed1"], "status": "done"})
    rows.assign(rank=[3, 9]).to_csv(target, index=False)
    shutil.rmtree(outputs / "a" / "seed0")
    table = sweeps.Ends(made, sweeps._rows_before(target, made, elsewhere)).table()
    assert table["status"].tolist() == ["not run", "done"]
    assert table["rank"].tolist()[1:] == [9]
    # made on another kind of device: there, the rows of the present one are not up to date
    manifest = outputs / "a" / "seed1" / "01_pretrain" / "manifest.json"
    record = json.loads(manifest.read_text()) | {"fingerprint": "of a GPU"}
    manifest.write_text(json.dumps(record | {"checksum": manifest_checksum(record)}))
    assert bool(sweeps._rows_before(target, made, elsewhere)) == elsewhere


def test_ctrl_c_is_one_line_and_the_table_is_kept(outputs, tmp_path, monkeypatch, capsys):
    def stop(*args):
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(sweeps, "_client", lambda *args: contextlib.nullcontext())
    monkeypatch.setattr(sweeps, "_gather", stop)
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(TREE | {"notebook": "01_pretrain"}))
    assert cli.main(["sweep", str(tmp_path / "s.yaml")]) == 130
    line = "hnas: stopped (0 of 2 runs done); the same command goes on from here\n"
    assert capsys.readouterr().err == line
    assert (outputs / "a" / "s.csv").exists()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_setting_that_no_method_of_a_point_has_is_refused(outputs, tmp_path, capsys):
    grid = [{"label": "U", "sampler": "uniform", "tree": "", "bonus": "linear"}]
    with pytest.raises(HnasError, match=r"\Apoint 'U': sampler uniform has no bonus; it has no settings\Z"):
        plan(seeds=1, notebook="04_mcts", fixed={"compare": []}, grid=grid)
    assert plan(
        seeds=1,
        notebook="04_mcts",
        fixed={"compare": [], "bonus": "linear"},
        grid=[{"label": "U", "sampler": "uniform", "tree": ""}, {"label": "M", "sampler": "mcts"}],
    ).rows  # the profile's concerns whom it concerns


def test_the_summary_is_what_a_hand_computes():
    table = pd.DataFrame(
        {
            "label": ["b", "b", "b", "a"],
            "status": ["done", "done", "failed", "not run"],
            "rank": [1.0, 4.0, None, None],
        }
    )
    found = sweeps.summary(table)
    assert list(found.index) == ["b", "a"]
    assert found["n"].tolist() == [2, 0]
    assert found.loc["b", ["mean rank", "sd rank"]].tolist() == pytest.approx([2.5, 4.5**0.5])
    assert "mean accuracy" not in found


GRID = [
    {"product": {"measure": ["l2"], "width": [2, 3]}},
    {"label": "codes", "measure": "vector"},
    {"label": "broken", "lr": 1e30},  # which shows only when it runs
]
FIXED = {"dataset": "digits", "epochs": 2, "batch_size": 64, "width": 2, "images": 32, "device": "cpu"}
SWEEP = {"run": "s", "profile": "quick", "notebook": "02_distances", "seeds": 1, "fixed": FIXED, "grid": GRID}


def start(module, *arguments, **environment):
    """Start a Python module in a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", *module.split(), *map(str, arguments)],
        env=clean_environment() | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def sweep(folder, content, *arguments):
    folder.mkdir(exist_ok=True)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(content))
    outputs = {"HNAS_OUTPUTS": str(folder / "outputs"), "HNAS_QUIET": "1"}
    return start("hnas_kit.cli sweep", folder / "tiny.yaml", *arguments, **outputs)


def end(process, *signals):
    """What it printed; whatever is left of its processes is killed, kernels excepted."""
    try:
        out, err = process.communicate(timeout=600)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, out, err


def manifests(folder):
    """Of everything that is finished."""
    found = folder.glob("outputs/**/manifest.json")
    return {p.parent.relative_to(folder): json.loads(p.read_text()) for p in found if "attempt" not in str(p)}


def wait_for(condition, process, seconds=300):
    limit = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit
        time.sleep(0.05)


def busy(folder):
    """Whether two runs are under way after some have ended."""
    begun = [path for path in folder.glob("outputs/**/.*.lock") if path.read_text()]
    return len(manifests(folder)) >= 3 and len(begun) == 2


def kernels(process):
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            found += [child] if "ipykernel" in str(child.cmdline()) else []
    return found


def alive(processes):
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A sweep of 7 runs, killed as a whole: what it had finished, its kernels, and its second start."""
    folder = tmp_path_factory.mktemp("killed")
    process = sweep(folder, SWEEP, "--workers", 2)
    try:
        wait_for(lambda: busy(folder) and len(kernels(process)) == 2, process)
        orphans, before = kernels(process), manifests(folder)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    return folder, before, orphans, end(sweep(folder, SWEEP, "--workers", 2))


@pytest.mark.slow
def test_a_killed_sweep_goes_on_where_it_was(killed):
    folder, before, orphans, (status, out, err) = killed
    assert not alive(orphans)
    after = manifests(folder)
    assert 3 <= len(before) < len(after) == 5
    assert {name: m["started"] for name, m in before.items()}.items() <= {
        name: m["started"] for name, m in after.items()
    }.items()
    table = folder / "outputs/s/tiny.csv"
    assert (status, err) == (1, f"hnas: 5 of 7 runs done, 1 failed, 1 not run; {table} says why\n")
    (failed,) = re.findall("(?m)^failed: (.*)$", out)
    assert re.match(r"s/lr-\S+/seed0/01_pretrain: 01_pretrain, cell \d+: the loss is not finite at ", failed)
    assert re.search(r"(?m)^broken +0$", out)
    rows = pd.read_csv(table).set_index("label")
    assert (rows["status"].value_counts().to_dict(), rows["seed"].max()) == ({"done": 3, "not run": 1}, 0)
    assert rows.loc["broken", "error"] == failed.replace(": ", " failed: ", 1)
    row = rows.loc["measure l2, width 3", ["measure", "width", "run"]]
    assert row.tolist() == ["l2", 3, "s/width-3.measure-l2/seed0"]
    figures = after[Path("outputs/s/width-3.measure-l2/seed0/02_distances")]["figures"]
    assert rows.loc["measure l2, width 3", "mean_distance"] == figures["mean_distance"]
    assert not list(folder.glob("outputs/s/seed0/*.attempt-*"))


@pytest.mark.slow
def test_a_scheduler_with_workers_of_its_own_gives_the_same_bits(killed, tmp_path):
    """Of the same sweep the first product again, and one of the workers is killed."""
    address = tmp_path / "scheduler.json"
    (tmp_path / "elsewhere").mkdir()
    common = ["--scheduler-file", address, "--no-dashboard"]
    started = [start("distributed.cli.dask_scheduler", *common, "--host", "127.0.0.1", "--port", 0)]
    try:
        wait_for(address.exists, started[0])
        worker = ["--nthreads", 1, "--no-nanny", "--local-directory", tmp_path / "elsewhere"]
        started += [start("distributed.cli.dask_worker", *common, *worker) for _ in range(2)]
        scheduler = json.loads(address.read_text())["address"]
        process = sweep(tmp_path, SWEEP | {"grid": GRID[:1]}, "--scheduler", scheduler)
        wait_for(lambda: kernels(started[1]), process)
        orphans = kernels(started[1])
        started[1].kill()
        status, out, err = end(process)
    finally:
        for other in started:
            other.kill()
            other.communicate()
    assert (status, err) == (0, ""), (out, err)
    assert not alive(orphans)
    made, local = manifests(tmp_path), manifests(killed[0])
    assert len(made) == 4
    assert {name: m["outputs"] for name, m in made.items()} == {name: local[name]["outputs"] for name in made}
    rows = pd.read_csv(tmp_path / "outputs/s/tiny.csv")
    assert rows["status"].tolist() == ["done"] * 2

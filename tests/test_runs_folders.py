"""Run folders: what is written when, what is read back, and what makes a result out of date."""

from __future__ import annotations

import json
import re
import shutil
import time
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell

from hnas_kit import provenance, runs, spaces, trees
from hnas_kit.errors import HnasError
from hnas_kit.files import sha256
from hnas_kit.runs import Finished, Stage, folders
from hnas_kit.runs.params import NOTEBOOKS
from hnas_kit.training.step import Losses

ROOT = Path(__file__).resolve().parents[1]
QUICK = {name: cls.defaults() for name, cls in NOTEBOOKS.items()}
TREE = trees.random(spaces.make_space("pooling").enumerate(), seed=0)
ARTEFACTS = {
    "01_pretrain": {"supernet.pt": {"w": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(3)}},
    "02_distances": {"distances.npz": {"distances": np.eye(3), "archs": np.arange(9)}},
    "03_tree": {"tree.npz": TREE, "tree.json": {"newick": TREE.to_newick()}},
    "04_mcts": {"found.csv": pd.DataFrame({"rank": [2.5]}, index=pd.Index(["learned"], name="method"))},
    "05_ablations": {"rows.csv": pd.DataFrame({"rank": [3]})},
    "06_imagenet": {"found.csv": pd.DataFrame({"top-1": [16.5]}, index=pd.Index(["learned"], name="method"))},
}


pytestmark = pytest.mark.usefixtures("outputs")


def given(notebook, **changes):
    return NOTEBOOKS[notebook].checked(QUICK[notebook] | {"run": "a"} | changes, "here")


def begin(notebook, **changes):
    """A notebook's part with its artefacts saved, not finished."""
    stage = Stage(given(notebook, **changes))
    for name, value in ARTEFACTS[notebook].items():
        stage.save(name, value)
    return stage


def finish(*notebooks, **changes):
    for notebook in notebooks:
        begin(notebook, **changes).finish(f"headline of {notebook}", depth=8)


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def said(call, *args, **changes):
    """The error of a call: one line."""
    with pytest.raises(HnasError) as caught:
        call(*args, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def fingerprint(notebook, **changes):
    params = given(notebook, **changes)
    return runs.fingerprint(params, runs.upstream(params))


def test_nothing_is_written_before_the_first_artefact(outputs):
    stage = Stage(given("01_pretrain"))
    assert not outputs.exists()
    stage.checkpoints("pretrain", 10)
    assert set(contents(outputs)) == {Path("a/.01_pretrain.lock")}
    stage.save("a.json", {})
    assert set(contents(outputs)) == {
        Path("a/.01_pretrain.lock"),
        stage.attempt.relative_to(outputs) / "a.json",
    }


def test_a_finished_folder_is_put_in_place_as_a_whole(outputs):
    stage = begin("01_pretrain")
    stage.checkpoints("pretrain", 1).save(1, {"net": torch.nn.Linear(1, 1)})
    (stage.attempt / "left.png").write_text("by an attempt that was stopped")
    assert not stage.folder.exists()
    stage.finish("it went well", depth=8)
    assert set(contents(outputs / "a")) == {
        Path("01_pretrain/supernet.pt"),
        Path("01_pretrain/manifest.json"),
    }
    assert [p.name for p in (outputs / "a").iterdir()] == ["01_pretrain"]


def test_the_manifest_says_what_was_made_of_what(outputs):
    finish("01_pretrain", "02_distances")
    manifest = json.loads((outputs / "a" / "02_distances" / "manifest.json").read_text())
    assert (manifest["status"], manifest["notebook"]) == ("done", "02_distances")
    assert manifest["headline"] == "headline of 02_distances"
    assert manifest["figures"] == {"depth": 8}
    assert manifest["params"] == QUICK["02_distances"] | {"run": "a"}
    assert manifest["lineage"] == {
        notebook: runs.result_params(given(notebook)) for notebook in ("01_pretrain", "02_distances")
    }
    assert manifest["runs"] == {"01_pretrain": "a", "02_distances": "a"}
    assert manifest["device"] == "cpu"
    assert 0 <= manifest["seconds"] < 60
    assert manifest["peak_memory_mb"] > 50
    assert manifest["provenance"] == provenance.provenance()
    assert manifest["outputs"] == {"distances.npz": sha256(outputs / "a/02_distances/distances.npz")}
    assert manifest["inputs"] == {
        "01_pretrain/supernet.pt": sha256(outputs / "a/01_pretrain/supernet.pt"),
        "01_pretrain": Finished("a", "01_pretrain").manifest["fingerprint"],
    }


def test_artefacts_of_every_kind_come_back(outputs):
    finish(*NOTEBOOKS)
    state = Finished("a", "01_pretrain").load("supernet.pt")
    assert state.keys() == {"w", "n"}
    assert torch.equal(state["w"], ARTEFACTS["01_pretrain"]["supernet.pt"]["w"])
    arrays = Finished("a", "02_distances").load("distances.npz")
    assert arrays.keys() == {"distances", "archs"}
    np.testing.assert_array_equal(arrays["distances"], np.eye(3))
    tree = trees.load(Finished("a", "03_tree").read("tree.npz"))
    assert tree.archs == TREE.archs
    assert tree.to_newick() == TREE.to_newick()
    assert Finished("a", "03_tree").load("tree.json") == {"newick": TREE.to_newick()}
    pd.testing.assert_frame_equal(
        Finished("a", "04_mcts").load("found.csv"), ARTEFACTS["04_mcts"]["found.csv"]
    )


def test_the_same_values_give_the_same_bits_at_any_time(outputs, monkeypatch):
    def save_all(run):
        figure, axis = plt.subplots(figsize=(1, 1))
        axis.plot([1, 3, 2])
        stage = Stage(given("01_pretrain", run=run))
        for artefacts in ARTEFACTS.values():
            for name, value in artefacts.items():
                stage.save(name, value)
        stage.save("figure.png", figure)
        plt.close(figure)
        return contents(stage.attempt)

    first, now = save_all("a"), time.time
    monkeypatch.setattr(time, "time", lambda: now() + 100_000)
    assert save_all("b") == first
    assert len(first) == 7
    assert first[Path("figure.png")].startswith(b"\x89PNG")


def test_an_attempt_that_ends_early_leaves_the_earlier_result(outputs):
    finish("01_pretrain")
    before = contents(outputs / "a" / "01_pretrain")
    begin("01_pretrain", epochs=3)
    assert contents(outputs / "a" / "01_pretrain") == before
    assert Finished("a", "01_pretrain").params["epochs"] == QUICK["01_pretrain"]["epochs"]


def test_a_later_result_replaces_the_earlier_one(outputs):
    finish("01_pretrain")
    finish("01_pretrain", epochs=3)
    assert Finished("a", "01_pretrain").params["epochs"] == 3
    assert [p.name for p in (outputs / "a").iterdir()] == ["01_pretrain"]


REMEDY = "; run notebooks/01_pretrain.ipynb with run: a"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("supernet.pt", None, r"supernet.pt is missing"),
        ("supernet.pt", b"something else", r"supernet.pt is corrupt or not the file that was saved \(.*\)"),
        ("manifest.json", None, r"holds no finished 01_pretrain"),
        ("manifest.json", b'{"format": "hnas', r"manifest.json is corrupt \(JSONDecodeError.*\)"),
        ("manifest.json", b"\xff\xfe", r"manifest.json is corrupt \(UnicodeDecodeError.*\)"),
        ("manifest.json", b"[]", r"manifest.json is corrupt \(TypeError.*\)"),
        ("manifest.json", b"{}", r"manifest.json is corrupt \(KeyError\('format'\)\)"),
        (
            "manifest.json",
            json.dumps({"format": runs.FORMAT, "notebook": "01_pretrain"}).encode(),
            r"manifest.json is corrupt \(KeyError\('fingerprint', .*'params', .*\)\)",
        ),
        (
            "manifest.json",
            json.dumps({"format": runs.FORMAT, "notebook": "03_tree"}).encode(),
            r"manifest.json was not made by 01_pretrain of this kit",
        ),
        (
            "manifest.json",
            json.dumps({"format": "another", "notebook": "01_pretrain"}).encode(),
            r"manifest.json was not made by 01_pretrain of this kit",
        ),
    ],
)
def test_what_is_missing_foreign_or_corrupt_names_the_notebook_to_run(outputs, name, content, words):
    finish("01_pretrain")
    path = outputs / "a" / "01_pretrain" / name
    path.unlink() if content is None else path.write_bytes(content)
    line = said(lambda: Finished("a", "01_pretrain").load("supernet.pt"))
    assert re.fullmatch(f"{re.escape(str(outputs))}/a/01_pretrain.*{words}{REMEDY}", line), line
    assert runs.up_to_date(given("01_pretrain")) is None


def test_a_notebook_needs_those_it_reads_to_be_finished(outputs):
    where = f"{outputs}/a/01_pretrain holds no finished 01_pretrain"
    assert said(Stage, given("02_distances")) == where + REMEDY
    assert said(Stage, given("02_distances", run="b", source="a")) == where + REMEDY
    assert not outputs.exists()
    finish("01_pretrain")
    assert Stage(given("02_distances", run="b", source="a")).upstream["01_pretrain"].params["run"] == "a"


def test_what_is_further_up_is_read_from_where_the_nearest_was_made_from(outputs):
    """02 in run b read 01 in run a; what follows in b, and in c, follows from that 01."""
    finish("01_pretrain")
    finish("01_pretrain", run="b", epochs=3)
    finish("02_distances", run="b", source="a")
    finish("03_tree", run="b")
    stage = begin("04_mcts", run="c", source="b")
    stage.finish("found")
    assert {name: part.params["run"] for name, part in stage.upstream.items()} == {
        "01_pretrain": "a",
        "03_tree": "b",
    }
    made = {"01_pretrain": "a", "02_distances": "b", "03_tree": "b", "04_mcts": "c"}
    assert Finished("c", "04_mcts").runs == made
    assert Finished("a", "01_pretrain").runs == {"01_pretrain": "a"}
    assert Finished("c", "04_mcts").manifest["lineage"]["01_pretrain"]["epochs"] != 3
    assert runs.up_to_date(given("04_mcts", run="c", source="b"))
    shutil.rmtree(outputs / "a")
    where = f"{outputs}/a/01_pretrain holds no finished 01_pretrain"
    assert said(Stage, given("04_mcts", run="c", source="b")) == where + REMEDY


def test_a_manifest_from_before_it_said_the_runs_names_the_notebook_to_run(outputs):
    finish("01_pretrain", "02_distances")
    path = outputs / "a" / "02_distances" / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["runs"]
    path.write_text(json.dumps(manifest))
    remedy = "; run notebooks/02_distances.ipynb with run: a"
    assert said(Stage, given("03_tree")) == f"{path} is corrupt (KeyError('runs')){remedy}"
    assert runs.up_to_date(given("02_distances")) is None


@pytest.mark.parametrize("swapped", [False, True])
def test_a_swap_of_folders_that_was_cut_short_is_mended(outputs, swapped):
    """Between the two renames the older result is put back; after them its rest is removed."""
    finish("01_pretrain")
    folder, old = outputs / "a" / "01_pretrain", outputs / "a" / "01_pretrain.old"
    before = contents(folder)
    if swapped:
        shutil.copytree(folder, old)
        (old / "supernet.pt").write_bytes(b"older")
    else:
        folder.rename(old)
    assert runs.up_to_date(given("01_pretrain"))["headline"] == "headline of 01_pretrain"
    assert contents(folder) == before
    assert not old.exists()


@pytest.mark.parametrize("swapped", [False, True])
def test_finishing_after_a_swap_that_was_cut_short(outputs, swapped):
    finish("01_pretrain")
    folder, old = outputs / "a" / "01_pretrain", outputs / "a" / "01_pretrain.old"
    shutil.copytree(folder, old) if swapped else folder.rename(old)
    finish("01_pretrain", epochs=3)
    assert Finished("a", "01_pretrain").params["epochs"] == 3
    assert not old.exists()


@pytest.mark.parametrize(
    ("notebook", "same"),
    [
        ("01_pretrain", {"run": "b", "device": "cpu", "checkpoint_every": 7}),
        ("04_mcts", {"run": "b", "source": "a", "device": "cpu", "checkpoint_every": 7}),
    ],
)
def test_where_and_how_often_it_is_saved_does_not_change_the_fingerprint(notebook, same):
    finish("01_pretrain", "02_distances", "03_tree")
    assert fingerprint(notebook, **same) == fingerprint(notebook)


@pytest.mark.parametrize(
    ("notebook", "change"),
    [
        ("01_pretrain", {"seed": 1}),
        ("01_pretrain", {"precision": "bfloat16"}),
        ("02_distances", {"measure": "l2"}),
        ("03_tree", {"linkage": "average"}),
        ("04_mcts", {"compare": ["random"]}),
    ],
)
def test_a_parameter_changes_the_fingerprint(notebook, change):
    finish("01_pretrain", "02_distances", "03_tree")
    assert fingerprint(notebook, **change) != fingerprint(notebook)


def test_the_device_changes_the_fingerprint(monkeypatch):
    before = fingerprint("01_pretrain")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert fingerprint("01_pretrain") == fingerprint("01_pretrain", device="cuda") != before
    assert fingerprint("01_pretrain", device="cpu") == before


def test_inputs_change_the_fingerprint(outputs):
    finish("01_pretrain", "02_distances")
    before = fingerprint("03_tree")
    finish("01_pretrain", "02_distances", run="b")
    assert fingerprint("03_tree", source="b") == before
    finish("02_distances", run="b", source="a", images=3)
    finish("01_pretrain", run="b")
    assert fingerprint("03_tree", source="b") != before  # the same distances, of other images
    stage = Stage(given("02_distances", run="b"))
    stage.save("distances.npz", {"distances": np.ones(3)})
    stage.finish("other distances of the same images")
    assert fingerprint("03_tree", source="b") != before


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A copy of the project's notebooks and parameters, and the working folder in it."""
    for name in ("notebooks", "params"):
        shutil.copytree(ROOT / name, tmp_path / "project" / name)
    monkeypatch.chdir(tmp_path / "project" / "notebooks")
    return tmp_path / "project"


def test_only_a_notebooks_own_code_changes_the_fingerprint(project):
    def after(change):
        path = project / "notebooks" / "01_pretrain.ipynb"
        notebook = nbformat.read(path, as_version=4)
        change([c for c in notebook.cells if c.cell_type == "code"], notebook.cells)
        nbformat.write(notebook, path)
        return fingerprint("01_pretrain")

    before = fingerprint("01_pretrain")
    assert "run = " in nbformat.read(project / "notebooks/01_pretrain.ipynb", as_version=4).cells[1].source
    assert after(lambda code, cells: cells[0].update(source="another title")) == before
    assert after(lambda code, cells: code[0].update(source='run = "another default"')) == before
    assert after(lambda code, cells: code[1].update(outputs=[], execution_count=9)) == before
    assert after(lambda code, cells: code[-1].update(source="# other code")) != before


def test_a_result_is_up_to_date_until_something_it_follows_from_changes(outputs):
    finish("01_pretrain", "02_distances")
    assert runs.up_to_date(given("02_distances"))["headline"] == "headline of 02_distances"
    assert runs.up_to_date(given("02_distances", device="cpu")) is not None
    assert runs.up_to_date(given("02_distances", images=3)) is None
    assert runs.up_to_date(given("02_distances", run="b")) is None
    finish("01_pretrain", seed=1)
    assert runs.up_to_date(given("01_pretrain", seed=1)) is not None
    assert runs.up_to_date(given("02_distances")) is None
    shutil.rmtree(outputs / "a" / "01_pretrain")
    assert runs.up_to_date(given("02_distances")) is None


def test_whether_a_result_was_made_by_the_same_code(outputs):
    finish("01_pretrain")
    manifest = Finished("a", "01_pretrain").manifest
    assert runs.same_code(manifest)
    manifest["provenance"]["code_sha256"] = "0" * 64
    assert not runs.same_code(manifest)


def test_code_that_changes_while_a_notebook_runs_does_not_count_as_its_own(outputs, monkeypatch):
    stage, before = begin("01_pretrain"), provenance.code_digest()
    monkeypatch.setattr(folders, "code_digest", lambda: "0" * 64)
    monkeypatch.setattr(provenance, "code_digest", lambda: "0" * 64)
    monkeypatch.setattr(provenance, "git_revision", lambda: "later")
    stage.finish("a headline")
    manifest = Finished("a", "01_pretrain").manifest
    assert manifest["provenance"]["code_sha256"] == before
    assert manifest["provenance"]["git_revision"] != "later"
    assert not runs.same_code(manifest)


def test_what_goes_on_from_a_checkpoint_of_other_code_is_told_from_what_does_not(outputs, monkeypatch):
    made = Stage(given("01_pretrain")).checkpoints("pretrain", 5)
    part = Losses(10, torch.device("cpu"))
    monkeypatch.setattr(made, "codes", {"0" * 64})
    monkeypatch.setattr(made, "seconds", 100.0)
    made.save(5, {"part": part})
    stage = begin("01_pretrain")
    again = stage.checkpoints("pretrain", 5)
    assert again.restore({"part": part}) == 5
    again.save(10, {"part": part})
    stage.finish("a headline")
    manifest = Finished("a", "01_pretrain").manifest
    assert manifest["codes"] == ["0" * 64, provenance.code_digest()]
    assert not runs.same_code(manifest)
    assert 100 <= manifest["seconds"] < 160  # with those of the process before


def test_the_project_is_found_from_any_folder(project, tmp_path, monkeypatch):
    assert runs.project_root() == project
    (project / "params" / "own.yaml").touch()
    assert runs.provided("params/own.yaml") == project / "params" / "own.yaml"
    assert runs.provided("docs/results/table1.csv") == ROOT / "docs/results/table1.csv"
    monkeypatch.chdir(tmp_path)  # not in a copy: the package's own
    assert runs.project_root() == ROOT
    package = tmp_path / "site-packages" / "hnas_kit"  # installed without the project: its copies of it
    monkeypatch.setattr("hnas_kit.places.PACKAGE", package)
    monkeypatch.delenv("HNAS_OUTPUTS", raising=False)
    assert runs.project_root() == package
    assert runs.outputs_root() == tmp_path / "outputs"


def test_outputs_lie_in_the_project_unless_told_otherwise(project, outputs, monkeypatch):
    assert runs.outputs_root() == outputs
    monkeypatch.delenv("HNAS_OUTPUTS")
    assert runs.outputs_root() == project / "outputs"


def test_a_stand_in_is_read_only_for_what_is_missing(outputs, tmp_path, monkeypatch):
    finish("01_pretrain", run="reference")
    monkeypatch.setenv("HNAS_REFERENCE", str(outputs / "reference"))
    assert Finished("a", "01_pretrain").params["run"] == "reference"
    finish("01_pretrain")
    assert Finished("a", "01_pretrain").params["run"] == "a"
    (outputs / "a" / "01_pretrain" / "manifest.json").write_text("{}")
    assert "is corrupt" in said(Finished, "a", "01_pretrain")


def test_the_environment_says_which_device(monkeypatch):
    assert runs.device_of(given("01_pretrain")).type == "cpu"
    line = "device is cuda, but PyTorch finds no CUDA device here; use device: cpu or auto"
    assert said(runs.device_of, given("01_pretrain", device="cuda")) == line
    monkeypatch.setenv("HNAS_DEVICE", "cpu")
    assert runs.device_of(given("01_pretrain", device="cuda")).type == "cpu"
    monkeypatch.setenv("HNAS_DEVICE", "cuda")
    assert said(Stage, given("01_pretrain", device="cpu")) == line
    monkeypatch.setenv("HNAS_DEVICE", "tpu")
    assert said(Stage, given("01_pretrain")) == "device is 'tpu'; allowed: auto, cpu, cuda, mps"


def test_a_notebook_sets_the_number_of_threads():
    before = torch.get_num_threads()
    try:
        for threads in (2, 1):
            Stage(given("01_pretrain", threads=threads))
            assert torch.get_num_threads() == threads
        Stage(given("01_pretrain", threads=0))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.fixture
def cell(tmp_path, monkeypatch):
    """Runs a cell as a notebook does."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    shell.user_ns |= {"Stage": Stage, "params": given("01_pretrain")}
    yield lambda code: shell.run_cell(code, store_history=True)
    shell.history_manager.end_session()
    InteractiveShell.clear_instance()


def test_the_manifest_of_a_failed_attempt_names_the_cell(cell, outputs):
    cell("stage = Stage(params)")
    cell("1 / 0")
    assert not outputs.exists()
    cell("stage.save('a.json', 1)")
    cell("1 / 0")
    manifest = json.loads(next(outputs.glob("a/01_pretrain.attempt-*/manifest.json")).read_text())
    assert (manifest["status"], manifest["cell"]) == ("failed", 4)
    assert manifest["error"] == "ZeroDivisionError: division by zero"
    why = " (failed at cell 4: ZeroDivisionError: division by zero)"
    where = f"{outputs}/a/01_pretrain holds no finished 01_pretrain"
    assert said(Finished, "a", "01_pretrain") == where + why + REMEDY


def test_a_cell_that_fails_after_the_end_is_not_the_attempts(cell, outputs):
    cell("stage = Stage(params)")
    cell("stage = Stage(params)")  # run again: the first one watches no more
    cell("stage.save('a.json', 1)")
    cell("stage.finish('done')")
    before = contents(outputs)
    cell("1 / 0")
    assert contents(outputs) == before
    assert Finished("a", "01_pretrain").manifest["status"] == "done"


def test_progress_is_a_text_bar_unless_it_is_to_be_quiet(monkeypatch, capsys):
    for quiet, shown in (("", True), ("1", False)):
        monkeypatch.setenv("HNAS_QUIET", quiet)
        with runs.progress(2, "training") as bar:
            bar.update(2)
        assert ("training: 100%" in capsys.readouterr().out) == shown


def test_images_that_were_replaced_make_a_result_stale_and_their_reader_refuses(outputs, tmp_path, pets):
    """Of the same names and sizes; 02 would compute on other images than 01 was trained on."""
    own = shutil.copytree(pets, tmp_path / "own")
    images = {"dataset": f"imagefolder:{own}", "image_size": 16}
    finish("01_pretrain", **images)
    finish("02_distances")
    assert runs.up_to_date(given("01_pretrain", **images))
    path = next((own / "train" / "cat").glob("*.JPEG"))
    data = path.read_bytes()
    path.write_bytes(data[:-20] + bytes([data[-20] ^ 1]) + data[-19:])
    assert folders.outdated(given("01_pretrain", **images)) == "its images changed"
    assert folders.outdated(given("02_distances")) == "its images changed"
    line = said(Stage, given("02_distances"))
    assert line.startswith(
        f"02_distances: the images of imagefolder:{own} have changed since 01_pretrain was"
    )
    assert line.endswith("run 01_pretrain again")
    path.write_bytes(data)  # the same content at another time
    assert runs.up_to_date(given("01_pretrain", **images))


@pytest.mark.parametrize("change", [{"figures": {"a": 1}}, {"lineage": {}}, {"headline": "better"}])
def test_a_manifest_that_was_edited_is_refused(outputs, change):
    finish("01_pretrain")
    path = outputs / "a" / "01_pretrain" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert "manifest.json is corrupt (ValueError('it is not what was written" in said(
        Finished, "a", "01_pretrain"
    )
    assert said(Stage, given("02_distances")).endswith(REMEDY)
    assert folders.outdated(given("01_pretrain")) == "its manifest is damaged"

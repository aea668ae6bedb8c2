"""Executing a notebook: with what was asked for, in this interpreter; an earlier copy stays until the end."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
import pytest

from hnas_kit import cli
from hnas_kit.errors import Failure, HnasError
from hnas_kit.runs import notebook, params

ROOT = Path(__file__).resolve().parents[1]
VALUES = {"run": "asked", "seed": 3}


@pytest.fixture
def project(tmp_path, monkeypatch, outputs):
    """A project whose 01 is the given cells."""
    shutil.copytree(ROOT / "params", tmp_path / "params")
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))

    def write(*cells, tagged=(0,)):
        made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        for i in tagged:
            made.cells[i].metadata.tags = ["parameters"]
        nbformat.write(made, tmp_path / "notebooks" / "01_pretrain.ipynb")

    return write


READ = "from hnas_kit.runs import params\np = params.read('01_pretrain', globals())\nprint(p.run, p.seed)"


def printed(path):
    cells = nbformat.read(path, as_version=4).cells
    return [o["text"] for c in cells for o in c.get("outputs", []) if o.get("name") == "stdout"]


def execute():
    values = params.NOTEBOOKS["01_pretrain"].checked(VALUES, "").model_dump()
    notebook.execute("01_pretrain", "asked", values)


@pytest.mark.slow
def test_a_kernel_runs_in_this_interpreter_whatever_else_is_called_python3(project, outputs, tmp_path):
    spec = tmp_path / "jupyter" / "kernels" / "python3"
    spec.mkdir(parents=True)
    (spec / "kernel.json").write_text(
        json.dumps({"argv": ["false"], "display_name": "x", "language": "python"})
    )
    project("run = 'mine'\nseed = 0", READ, "import sys\nprint(sys.executable)")
    execute()
    assert printed(outputs / "asked" / "01_pretrain.ipynb") == ["asked 3\n", f"{sys.executable}\n"]
    assert [p.name for p in (outputs / "asked").iterdir()] == ["01_pretrain.ipynb"]


@pytest.mark.slow
def test_a_kernel_that_does_not_start_is_one_line(project, tmp_path, monkeypatch):
    project("seed = 0")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "ipykernel_launcher.py").write_text("raise SystemExit(1)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"))
    with pytest.raises(
        Failure, match=r"\A01_pretrain: its process did not start \(RuntimeError: Kernel died .*\)\Z"
    ):
        execute()


TRANSPORT = (
    "import json\nfrom ipykernel import get_connection_file\n"
    "print(json.load(open(get_connection_file()))['transport'])"
)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="there are no such sockets")
@pytest.mark.parametrize(("length", "transport"), [(0, "ipc"), (90, "tcp")])
def test_a_kernel_needs_no_free_port_unless_the_temporary_folder_has_too_long_a_path(
    project, outputs, tmp_path, monkeypatch, length, transport
):
    project("seed = 0", READ, TRANSPORT)
    with tempfile.TemporaryDirectory() as short:  # pytest's own are long
        folder = Path(short) / ("t" * length)
        folder.mkdir(exist_ok=True)
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        execute()
        assert not list(folder.glob("hnas-*"))
    assert printed(outputs / "asked" / "01_pretrain.ipynb") == ["asked 3\n", f"{transport}\n"]


@pytest.mark.slow
def test_an_executed_notebook_stays_until_a_new_one_is_whole(project, outputs):
    (outputs / "asked").mkdir(parents=True)
    kept = outputs / "asked" / "01_pretrain.ipynb"
    kept.write_text("earlier")
    project("seed = 0", "raise ValueError('a mistake')")
    with pytest.raises(Failure, match=r"cell 3: ValueError: a mistake \(see .*/01_pretrain.attempt.ipynb\)"):
        execute()
    assert kept.read_text() == "earlier"
    project("seed = 0", READ)
    execute()
    assert printed(kept) == ["asked 3\n"]
    assert [p.name for p in (outputs / "asked").iterdir()] == ["01_pretrain.ipynb"]


@pytest.mark.slow
def test_a_cell_that_sets_another_run_ends_before_anything_is_written(project, outputs):
    project("run = 'mine'", "run = 'precious'", READ)
    with pytest.raises(
        Failure, match="run is 'precious' in the notebook, and 'asked' was asked for: no cell"
    ):
        execute()
    assert [p.name for p in outputs.iterdir()] == ["asked"]


@pytest.mark.parametrize(
    ("tagged", "said"), [((), "has 0 cells tagged parameters"), ((0, 1), "has 2 cells tagged parameters")]
)
def test_a_notebook_whose_own_parameters_would_count_is_refused(project, outputs, capsys, tagged, said):
    """Without the tag papermill puts what was asked first, and the notebook's own cell comes after it."""
    project("run = 'precious'", READ, tagged=tagged)
    arguments = ["run", "quick", "--to", "01", "-p", "dataset", "digits", "-p", "run", "asked"]
    assert cli.main(arguments) == 2
    assert said in capsys.readouterr().err
    assert not outputs.exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"cells": [1]}', b"[" * 100_000, None])
def test_a_notebook_that_cannot_be_read_is_one_line(project, tmp_path, content):
    path = tmp_path / "notebooks" / "01_pretrain.ipynb"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(
        HnasError, match=r"\A.*01_pretrain.ipynb is no notebook that can be read \([^\n]*\)\Z"
    ):
        execute()


@pytest.mark.slow
def test_of_a_progress_bar_its_last_line_is_kept(project, outputs):
    loop = "for _ in range(50):\n    bar.update()\n    bar.refresh()"
    begin = "from hnas_kit import runs\nbar = runs.progress(50, 'steps')"
    project("run = 'mine'\nseed = 0", f"{begin}\n{loop}\nbar.close()\nprint('after')")
    execute()
    (text,) = printed(outputs / "asked" / "01_pretrain.ipynb")
    first, *rest = text.splitlines()
    assert first.startswith("steps: 100%|")
    assert rest == ["after"]

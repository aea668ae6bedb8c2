"""The course made of the notebooks: an exercise fails unsolved at its own check, and passes solved."""

from __future__ import annotations

import ast
import builtins
from pathlib import Path

import nbformat
import numpy as np
import pytest

from hnas_kit import cli, course
from hnas_kit.errors import HnasError
from hnas_kit.files import write_atomic
from hnas_kit.runs import Stage
from hnas_kit.runs.params import NOTEBOOKS

SOURCE = Path(__file__).resolve().parents[1] / "notebooks"


def cells(notebook: nbformat.NotebookNode, tag: str) -> list[str]:
    return [cell.source for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


def read(name: str, folder: Path = SOURCE) -> nbformat.NotebookNode:
    return nbformat.read(folder / f"{name}.ipynb", as_version=4)


def imports(notebook: nbformat.NotebookNode) -> ast.Module:
    """What the cells of a notebook import, and no more of it."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    nodes = [node for source in code for node in ast.parse(source).body]
    return ast.Module([node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)], [])


def wanted(*sources: str) -> set[str]:
    """Names that some cells use and do not make."""
    names = [node for source in sources for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)]
    loaded = {name.id for name in names if isinstance(name.ctx, ast.Load)}
    nodes = [node for source in sources for node in ast.walk(ast.parse(source))]
    made = {name.id for name in names if isinstance(name.ctx, ast.Store)}
    made |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    made |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    return loaded - made - set(vars(builtins))


def exercises() -> list:
    """Exercise, solution and check, with the imports of their notebook, if they need no more of it."""
    found = []
    for name in NOTEBOOKS:
        notebook = read(name)
        before = imports(notebook)
        known = {alias.asname or alias.name for node in before.body for alias in node.names}
        known |= {"truth", "table"}  # of a data set without ground truth
        parts = [cells(notebook, tag) for tag in ("exercise", "solution", "check")]
        for number, three in enumerate(zip(*parts, strict=True), start=1):
            if not wanted(*three) - known:
                found.append(pytest.param(before, *three, id=f"{name}-{number}"))
    return found


@pytest.mark.parametrize(("before", "exercise", "solution", "check"), exercises())
def test_an_exercise_fails_readably_until_it_is_solved(before, exercise, solution, check):
    space = {"truth": None}
    exec(compile(before, "imports", "exec"), space)
    exec(exercise, space)
    with pytest.raises((AssertionError, NotImplementedError)) as failure:
        exec(check, space)
    assert len(str(failure.value)) > 20  # words, not a bare assert
    exec(solution, space)
    exec(check, space)


def test_every_notebook_has_two_exercises_or_more():
    for name in NOTEBOOKS:
        numbers = {tag: len(cells(read(name), tag)) for tag in ("exercise", "solution", "check")}
        assert len(set(numbers.values())) == 1, name
        assert numbers["exercise"] >= 2, name


@pytest.fixture
def small(monkeypatch, tmp_path) -> Path:
    """A folder to be made, where no run has finished yet."""
    monkeypatch.setenv("HNAS_OUTPUTS", str(tmp_path / "outputs"))
    return tmp_path / "course"


def test_students_get_no_solutions_and_no_outputs(small, capsys):
    assert cli.main(["course", str(small)]) == 0
    assert "without results" in capsys.readouterr().out
    for name in NOTEBOOKS:
        before = read(name)
        student, solved = (read(name, small / part / "notebooks") for part in ("student", "solutions"))
        code = [cell for cell in (*student.cells, *solved.cells) if cell.cell_type == "code"]
        assert not any(cell.outputs or cell.execution_count for cell in code)
        for tag, kept in (("exercise", student), ("solution", solved), ("check", student), ("check", solved)):
            assert cells(kept, tag) == cells(before, tag)
        assert cells(student, "solution") == cells(solved, "exercise") == []
        removed = len(cells(before, "solution"))
        assert len(student.cells) == len(before.cells) - removed
    assert (small / "student" / "params" / "quick" / "01_pretrain.yaml").exists()
    assert "Two times 90 minutes" in (small / "teacher.md").read_text(encoding="utf-8")


def test_solving_the_students_version_gives_the_solutions(small):
    course.write(small)
    for name in NOTEBOOKS:
        student, solved = (read(name, small / part / "notebooks") for part in ("student", "solutions"))
        answers = iter(cells(read(name), "solution"))
        for cell in student.cells:
            if "exercise" in cell.metadata.get("tags", []):
                cell.source = next(answers)
        assert [cell.source for cell in student.cells] == [cell.source for cell in solved.cells]


def test_results_lie_beside_the_notebooks_as_far_as_they_go(small, monkeypatch, tmp_path):
    p = NOTEBOOKS["01_pretrain"].checked({"run": "quick", "device": "cpu"}, "01_pretrain")
    stage = Stage(p)
    stage.save("numbers.npz", {"a": np.arange(3)})
    stage.finish("done")
    write_atomic(tmp_path / "outputs" / "quick" / "01_pretrain" / "checkpoint.pt", b"large")
    assert course.write(small) == ["01_pretrain"]
    beside = small / "student" / "outputs" / "quick" / "01_pretrain"
    assert sorted(path.name for path in beside.iterdir()) == ["manifest.json", "numbers.npz"]


def test_a_folder_with_something_in_it_is_left_alone(small, capsys):
    small.mkdir()
    (small / "mine.txt").write_text("mine")
    with pytest.raises(HnasError, match="is there already; name a new folder, or an empty one"):
        course.write(small)
    assert cli.main(["course", str(small)]) == 2
    assert [path.name for path in small.iterdir()] == ["mine.txt"]

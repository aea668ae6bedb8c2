"""The notebooks as a course: a version for students, one with solutions, and a page for the teacher."""

import shutil
from pathlib import Path

import nbformat
from nbconvert.preprocessors import ClearOutputPreprocessor, TagRemovePreprocessor

from hnas_kit.errors import HnasError
from hnas_kit.files import write_atomic
from hnas_kit.runs import Finished, project_root
from hnas_kit.runs.params import NOTEBOOKS

REMOVED = {"student": "solution", "solutions": "exercise"}  # the tag of the cells that a version lacks
RUN = "quick"  # the run that the notebooks name


def version(notebook: nbformat.NotebookNode, name: str) -> nbformat.NotebookNode:
    """A notebook without the cells that a version lacks, and without outputs; asserts stay.

    Args:
        notebook: with cells tagged ``exercise``, ``solution`` and ``check``; it stays as it is.
        name: of ``REMOVED``.
    """
    removed, _ = TagRemovePreprocessor(remove_cell_tags={REMOVED[name]}).preprocess(
        nbformat.from_dict(notebook.copy()), {}
    )
    return ClearOutputPreprocessor().preprocess(removed, {})[0]


def write(folder: Path) -> list[str]:
    """Write ``student/``, ``solutions/`` and ``teacher.md``; it works wherever the package is installed.

    Beside the notebooks lie the profiles, the tables of finished sweeps, and what a finished run ``quick``
    hands from one notebook to the next, so that students may start anywhere.

    Returns:
        The notebooks whose results were there, and lie beside the students' notebooks now.

    Raises:
        HnasError: if the folder is there and not empty, or cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise HnasError(f"{folder} is there already; name a new folder, or an empty one")
    root, there = project_root(), _finished()
    try:
        for name in REMOVED:
            target = folder / name
            (target / "notebooks").mkdir(parents=True)
            for notebook in NOTEBOOKS:
                source = nbformat.read(root / "notebooks" / f"{notebook}.ipynb", as_version=4)
                nbformat.write(version(source, name), target / "notebooks" / f"{notebook}.ipynb")
            shutil.copytree(root / "params", target / "params")
            (target / "outputs").mkdir()
            for notebook, part in there.items():
                beside = target / "outputs" / RUN / notebook
                for file in ("manifest.json", *part.outputs):
                    (beside / file).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(part.folder / file, beside / file)
        write_atomic(folder / "teacher.md", Path(__file__).with_name("teacher.md").read_bytes())
    except OSError as error:
        raise HnasError(f"cannot write {folder}: {error.strerror}") from error
    return list(there)


def _finished() -> dict[str, Finished]:
    """The results of the run ``quick`` that are there, without 06, from which no notebook reads."""
    found = {}
    for notebook in ("01_pretrain", "02_distances", "03_tree", "04_mcts"):
        try:
            found[notebook] = Finished(RUN, notebook)
        except HnasError:
            break  # what comes after it was made from another one
    return found

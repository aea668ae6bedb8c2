"""Where notebooks, profiles and results lie, and which notebook reads which."""

import os
from pathlib import Path
from typing import Any

from hnas_kit.errors import HnasError, require_one_of
from hnas_kit.files import first_line, json_value, sha256, write_atomic

PACKAGE = Path(__file__).parent
# what each notebook reads of which others, besides their parameters
READS: dict[str, dict[str, tuple[str, ...]]] = {
    "01_pretrain": {},
    "02_distances": {"01_pretrain": ("supernet.pt",)},
    "03_tree": {"01_pretrain": ("ranking.csv",), "02_distances": ("distances.npz",)},
    "04_mcts": {"01_pretrain": (), "03_tree": ("tree.npz", "accuracy.npz")},
    "05_ablations": {"01_pretrain": ("supernet.pt",), "02_distances": (), "03_tree": ()},
    "06_imagenet": {},  # another space, with a supernet and a tree of its own
}
SEARCHES = ("04_mcts", "06_imagenet")  # the notebooks that search


def project_root() -> Path:
    """The folder that holds ``notebooks/`` and ``params/``.

    It is above the working folder, or above the package; or the package itself, which holds copies of them
    where it was installed without the project.
    """
    for folder in (*(Path.cwd() / "x").parents, PACKAGE.parent):
        if (folder / "notebooks").is_dir() and (folder / "params").is_dir():
            return folder
    return PACKAGE


def provided(path: str) -> Path:
    """A file or folder of the kit: the project's own where it has one, or else what came with the package."""
    folders = (project_root(), PACKAGE.parent, PACKAGE)
    return next((folder / path for folder in folders if (folder / path).exists()), folders[0] / path)


def notebook_path(notebook: str) -> Path:
    """A notebook: of a folder ``notebooks/`` in the working folder or above it, or else the project's."""
    for folder in (Path.cwd() / "x").parents:
        if (path := folder / "notebooks" / f"{notebook}.ipynb").exists():
            return path
    return project_root() / "notebooks" / f"{notebook}.ipynb"


def outputs_root() -> Path:
    """``HNAS_OUTPUTS``, or ``outputs/`` of the project; of the working folder where there is none."""
    if given := os.environ.get("HNAS_OUTPUTS"):
        if os.path.isfile(given):
            raise HnasError(f"HNAS_OUTPUTS is {given}, which is a file; name a folder")
        return Path(given)
    root = project_root()
    return (Path.cwd() if root == PACKAGE else root) / "outputs"


def profile_folder(profile: str) -> Path:
    """The folder that a profile's name or path stands for; raises :class:`HnasError` if there is none."""
    if os.path.isdir(profile):  # False for names that no folder can have
        return Path(profile)
    folders = (project_root() / "params").iterdir()
    require_one_of("profile", profile, sorted(p.name for p in folders if p.is_dir() and p.name != "sweeps"))
    return project_root() / "params" / profile


def copy_notebooks(folder: Path) -> None:
    """Copy the six notebooks into a folder; raises :class:`HnasError` if it is none, or has one already."""
    if folder.exists() and not folder.is_dir():
        raise HnasError(f"{folder} is no folder; choose another")
    targets = {name: folder / f"{name}.ipynb" for name in READS}
    if there := [path for path in targets.values() if path.exists()]:
        raise HnasError(f"{there[0]} is there already; choose another folder")
    for name, path in targets.items():
        write_atomic(path, notebook_path(name).read_bytes())


def notebook_digest(notebook: str) -> str:
    """SHA-256 of a notebook's cells without their outputs; the parameters cell does not count."""
    code = [
        "".join(cell["source"])
        for cell in cells(notebook)
        if cell["cell_type"] == "code" and "parameters" not in cell["metadata"].get("tags", [])
    ]
    return sha256("\0".join(code).encode())


def cells(notebook: str) -> list[dict[str, Any]]:
    """The cells of a notebook, as its file has them.

    Raises:
        HnasError: if it cannot be read, or has no cell, or several, that parameters go behind (papermill
            would put them first, and the notebook's own would count).
    """
    path = notebook_path(notebook)
    try:
        # plain JSON: nbformat would take a second to import, in every kernel and every command
        found = json_value(path)["cells"]
        tagged = [cell for cell in found if "parameters" in cell["metadata"].get("tags", [])]
        kinds = [cell["cell_type"] for cell in tagged]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise HnasError(f"{path} is no notebook that can be read ({first_line(error)})") from None
    if kinds != ["code"]:
        raise HnasError(f"{path} has {len(kinds)} cells tagged parameters; it must have one, of code")
    return found

"""Where the project's notebooks and settings lie, and where results go."""

from __future__ import annotations

import os
from pathlib import Path

from hnas_kit.errors import HnasError

PACKAGE = Path(__file__).parent


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

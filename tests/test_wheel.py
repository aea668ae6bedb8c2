"""The package without the project: a wheel, installed into an environment of its own, in an empty folder."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SETUP = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def call(*words: object, folder: Path, **environment: str) -> str:
    """What a command prints; nothing of this process's Python and of the project is seen by it."""
    mine = ("HNAS_", "PYTHON", "PYTEST", "VIRTUAL_ENV")
    others = {name: value for name, value in os.environ.items() if not name.startswith(mine)}
    done = subprocess.run(
        list(map(str, words)), cwd=folder, env=others | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def test_every_package_is_named():
    folders = {path.parent for path in (ROOT / "hnas_kit").rglob("__init__.py")}
    code = {".".join(path.relative_to(ROOT).parts) for path in folders}
    assert set(SETUP["packages"]) == code | {"hnas_kit.notebooks", "hnas_kit.params"}


@pytest.mark.slow
def test_a_wheel_runs_in_an_empty_folder(tmp_path):
    source, env, empty = tmp_path / "source", tmp_path / "env", tmp_path / "empty"
    empty.mkdir()
    left_out = shutil.ignore_patterns(".*", "__pycache__", "outputs", "build", "*.egg-info", "tests", "docs")
    shutil.copytree(ROOT, source, ignore=left_out)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    call(*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path, source, folder=tmp_path)
    (wheel,) = tmp_path.glob("hnas_kit-*.whl")
    # everything else comes from the environment of these tests
    call(sys.executable, "-m", "venv", "--without-pip", env, folder=tmp_path)
    python = env / "bin" / "python"
    where = call(python, "-c", "import site; print(site.getsitepackages()[0])", folder=empty).strip()
    (Path(where) / "others.pth").write_text("\n".join(site.getsitepackages()))
    call(*pip, "--python", python, "install", "--no-deps", wheel, folder=tmp_path)

    place = call(python, "-c", "import hnas_kit; print(hnas_kit.__file__)", folder=empty)
    assert place.startswith(str(env))
    tiny = ["-p", "epochs", "0", "-p", "width", "2", "-p", "scored", "100"]
    said = call(env / "bin" / "hnas", "run", "quick", "--to", "01", *tiny, folder=empty, HNAS_DEVICE="cpu")
    assert "supernet: mean accuracy" in said
    assert (empty / "outputs/quick/01_pretrain/manifest.json").exists()

    call(env / "bin" / "hnas", "notebooks", "notebooks", folder=empty)
    assert sorted(path.name for path in (empty / "notebooks").iterdir()) == sorted(
        path.name for path in (ROOT / "notebooks").glob("0*.ipynb")
    )
    edited = empty / "notebooks/01_pretrain.ipynb"
    edited.write_text(edited.read_text().replace("supernet: mean accuracy", "mine: mean accuracy"))
    said = call(env / "bin" / "hnas", "run", "quick", "--to", "01", *tiny, folder=empty, HNAS_DEVICE="cpu")
    assert "mine: mean accuracy" in said

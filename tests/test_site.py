"""The site: its links are checked, and built where Sphinx is installed it has every page and no warning."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def checker():
    spec = importlib.util.spec_from_file_location("links", ROOT / "docs" / "links.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_link_that_leads_nowhere_is_named(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "index.html").write_text(
        '<h1 id="here"></h1><a href="#here"></a><a href="a/b%20c.html#d"></a><a href="a/"></a>'
        '<a href="#gone"></a><a href="a/b%20c.html#e"></a><img src="no.png"><a href="https://x.y/z"></a>'
    )
    (tmp_path / "a" / "b c.html").write_text('<p id="d"></p><a href="../index.html#here"></a>')
    (tmp_path / "a" / "index.html").write_text("")
    bad = ["#gone", "a/b%20c.html#e", "no.png"]
    assert checker().broken(tmp_path) == [f"index.html: {link}" for link in bad]


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("sphinx_book_theme", reason="make site installs it")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "-q",
        "-c",
        "docs",
        "-d",
        tmp_path / "trees",
        ".",
        tmp_path / "site",
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert checker().broken(tmp_path / "site") == []
    pages = {path.stem for path in (tmp_path / "site").rglob("*.html")}
    assert {path.stem for path in (ROOT / "notebooks").glob("0*.ipynb")} <= pages
    assert {path.stem for path in (ROOT / "docs").glob("*.md")} | {"README", "CHANGELOG"} <= pages

"""Where a result comes from."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess

import pytest
import torch

from hnas_kit import provenance


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A folder that stands in for the package's, outside any git checkout."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.resolve()))
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "a.py").write_text("a = 1\n")
    (folder / "b.py").write_text("b = 1\n")
    monkeypatch.setattr(provenance, "__file__", str(folder / "provenance.py"))
    return folder


def test_it_is_plain_and_names_what_runs():
    value = provenance.provenance()
    assert json.loads(json.dumps(value)) == value
    assert value["versions"]["python"] == platform.python_version()
    assert value["versions"]["torch"].startswith(torch.__version__.split("+")[0])
    assert set(value["versions"]) == {"python", *provenance.PACKAGES}
    assert value["cores"] == os.cpu_count()
    assert value["processor"]
    assert len(value["code_sha256"]) == 64


def test_the_digest_of_the_code_changes_with_any_source_file(source):
    digests = [provenance.code_digest()]
    (source / "notes.txt").write_text("no code")
    assert provenance.code_digest() == digests[0]
    (source / "a.py").write_text("a = 2\n")
    digests.append(provenance.code_digest())
    (source / "b.py").rename(source / "c.py")
    digests.append(provenance.code_digest())
    (source / "d.py").touch()
    digests.append(provenance.code_digest())
    assert len(set(digests)) == 4


@pytest.mark.skipif(shutil.which("git") is None, reason="no git here")
def test_the_revision_says_whether_the_checkout_is_changed(source):
    def git(*args: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        return subprocess.run(
            ["git", *identity, *args], cwd=source, check=True, capture_output=True, text=True
        ).stdout.strip()

    revision = provenance.git_revision.__wrapped__  # without its cache
    assert revision() is None
    git("init")
    git("add", "b.py")
    git("commit", "-m", "another project, which has the package in a folder that it does not keep")
    assert revision() is None
    (source / "provenance.py").touch()
    git("add", "a.py", "provenance.py")
    git("commit", "-m", "first")
    assert revision() == git("rev-parse", "HEAD")
    (source / "a.py").write_text("a = 2\n")
    assert revision() == git("rev-parse", "HEAD") + "+"


def test_without_git_there_is_no_revision(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.git_revision.__wrapped__() is None

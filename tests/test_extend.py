"""docs/extend.md, executed as it stands."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from hnas_kit import data
from hnas_kit.names import DATASETS

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "extend.md").read_text()
BLOCK = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", re.S | re.M)


def hnas(folder: Path, *words: str) -> str:
    """What a command prints, with the outputs in the folder."""
    environment = os.environ | {
        "HNAS_OUTPUTS": str(folder / "outputs"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "HNAS_DEVICE": "cpu",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }
    call = (
        [sys.executable, "-m", "hnas_kit.cli", *words[1:]]
        if words[0] == "hnas"
        else [sys.executable, *words[1:]]
    )
    done = subprocess.run(call, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{shlex.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_the_page_is_executed(tmp_path):
    said = []
    for _, file, text in BLOCK.findall(TEXT):
        if file:
            path = tmp_path / file
            path.parent.mkdir(exist_ok=True)
            with path.open("a") as out:
                out.write(text)
    for language, file, text in BLOCK.findall(TEXT):
        if language == "console":
            said += [(line, hnas(tmp_path, *shlex.split(line))) for line in text.splitlines()]
        elif language == "python" and not file:
            exec(text, {"__name__": "__main__"})
            assert data.load("noise").num_classes == 3
            DATASETS.remove("noise")
    found = dict(said)
    assert "thompson found" in found["hnas run profile"]
    assert re.search(
        r"04_mcts.settings +\{\"noise\": 0.2\} +\{\"noise\": 0.4\}", found["hnas compare mine mine_again"]
    )
    page = (tmp_path / "outputs/mine/report.html").read_text()
    assert "Classes: disc, square." in page
    simulated = [text for line, text in said if line.startswith("hnas simulate")]
    assert re.search(r"^thompson ", simulated[0], re.M)
    assert (tmp_path / "found.pt2").exists()

"""Every figure of the README, the results and 05 that states a result comes from a committed table.

``sentences.py`` has what they say, as it stands, with each figure computed. A number that none of it covers
must be ``EXEMPT``, with a reason.
"""

from __future__ import annotations

import json
import re
from functools import cache

import pytest
from sentences import FILES, ROOT

NUMBER = re.compile(r"(?<![\w.,^/-])-?\d[\d,]*(?:\.\d+)?")
EXEMPT = {
    r"<!-- hnas results: begin -->.*<!-- hnas results: end -->": "see test_reports_results.py",
    r"```.*?```|`[^`]*`|\]\([^)]*\)": "code, and where a link goes",
    r"(Tables?|Fig\.|Eq\.|Algorithm|Sec\.) \d(, \d)*( and (Fig\. )?\d)?": "places in the paper",
    r"arXiv:[\d.]+(, 2025)?|AutoML 2023|CVPR 2021|Real et al., 2019": "what is cited",
    r"Python 3\.11|PyTorch 2\.14|NumPy 2\.4|about 6 GB": "versions, and their size",
    r"(\d+ min )?\d+ (min|s|minutes)\b|\d+ to \d+ seconds": "times",
    r"06 runs beside the others|\[0[1-6](_\w+)?|# 5 ·": "names of notebooks",
    r"1/2\^l|[Ss]upernets? \d( \(trained anew\))?( (to|and) \d)?|seed 0|first 64 images": "trees",
    r"of,? 36|in for 36|all 36|the 36 answer|36 networks|36 the worst|3,969 networks": "sizes of spaces",
    r"where the paper needs 200 epochs": "the paper's",
    r"trained for 20 and 10 epochs": "what results/README.md names",
    r"11,760 steps|width 32 and 120 epochs, average of 3|over 3 seeds|20 to 40 times as long": "the paper's",
    r"; the paper has 0\.5": "the paper's lambda",
    r"paper's width(,| and) 60 epochs|and with 20 seeds|of 20 searches": "settings of what stands there",
    r"searches of 300 and 1,000 steps|from some 3,000 steps": "numbers of steps in trees.csv",
    r"(980 steps|300 steps|, 300) \| [13],[09][20]0 \| (11,760|3,000)": "numbers of steps over a table",
    r"95 % interval|one side of 0": "what words mean",
    r"24 seeds a cell|at most 10 %": "forests.SEEDS, and what readings.largest calls little",
    r"draws have 0\.25|from 0, the more|\(1 for the smallest\)|finds: 1 is": "what words mean",
    r"\$C = 1\$|\$C\$ starts at 1": "the paper's",
    r"fit may give \$a = 0\$": "what is possible",
    r"\$m - 1\$|nor above 1|\*\*[12]\. |\$2\^n\$|\$2 / 2\^5 = 0\.0625\$|below 0\.(0[56]|25)": "exercises",
}


@cache
def prose(file: str) -> str:
    """The text of a file, its space made one."""
    text = (ROOT / file).read_text(encoding="utf-8")
    if file.endswith(".ipynb"):
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"]
        text = "\n\n".join("".join(cell["source"]) for cell in cells)
    return " ".join(text.split())


@cache
def said(file: str) -> list[str]:
    """What is computed of a file's sentences."""
    return [one for parts in FILES[file].values() for part in parts for one in part()]


def left(text: str, covered: list[str]) -> list[str]:
    """Numbers of a text, with what stands around them, that are neither covered nor exempt."""
    for known in covered:
        text = text.replace(known, " ; ")
    for pattern in EXEMPT:
        text = re.sub(pattern, " ; ", text)
    return [text[max(0, m.start() - 40) : m.end() + 25] for m in NUMBER.finditer(text)]


@pytest.mark.parametrize(("file", "table"), [(file, table) for file in FILES for table in FILES[file]])
def test_what_is_said_is_what_the_table_gives(file, table):
    assert (ROOT / table).is_file()
    sentences = [one for part in FILES[file][table] for one in part()]
    assert sentences
    assert not [one for one in sentences if one not in prose(file)]


@pytest.mark.parametrize("file", FILES)
def test_no_figure_is_without_a_table(file):
    assert not left(prose(file), said(file))


def test_a_figure_without_a_table_is_seen():
    text = "It finds rank 7 (12 % of draws, p = 0.3), | 1,342 | 0.5 |, of Table 1; the best 13."
    assert len(left(text, [])) == 6
    assert len(left(text, ["finds rank 7", "best 13."])) == 4
    assert left(text, [text]) == []


@pytest.mark.parametrize("pattern", EXEMPT)
def test_what_is_exempt_is_there(pattern):
    assert any(re.search(pattern, prose(file)) for file in FILES)

"""The notebooks' cells: none rebinds what another one needs, so each can be run again, in any order."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from hnas_kit.runs.params import NOTEBOOKS

ROOT = Path(__file__).resolve().parents[1]


def rebound(cells: list[tuple[str, bool]], parameters: set[str]) -> list[str]:
    """Names that are imported, or parameters, and given another value; cells with whether they are tagged."""
    trees = [
        (ast.parse("\n".join(line for line in text.splitlines() if line[:1] != "%")), tagged)
        for text, tagged in cells
    ]
    imported = {
        (alias.asname or alias.name).partition(".")[0]
        for tree, _ in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    found = []
    for tree, tagged in trees:
        inner = {
            id(n) for c in ast.walk(tree) if isinstance(c, ast.comprehension) for n in ast.walk(c.target)
        }
        for node in ast.walk(tree):
            stored = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and id(node) not in inner
            if stored and (node.id in imported or (node.id in parameters and not tagged)):
                found.append(node.id)
    return found


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_no_cell_rebinds_a_module_or_a_parameter(notebook):
    content = json.loads((ROOT / "notebooks" / f"{notebook}.ipynb").read_text(encoding="utf-8"))
    cells = [
        ("".join(cell["source"]), "parameters" in cell["metadata"].get("tags", []))
        for cell in content["cells"]
        if cell["cell_type"] == "code"
    ]
    assert rebound(cells, set(NOTEBOOKS[notebook].model_fields)) == []


@pytest.mark.parametrize(
    ("text", "tagged", "found"),
    [
        ("from hnas_kit import figures", False, []),
        ("figures = {}", False, ["figures"]),
        ("for figures in []:\n    pass", False, ["figures"]),
        ("[figures for figures in []]", False, []),
        ("seed = 1", False, ["seed"]),
        ("seed = 1", True, []),
    ],
)
def test_what_is_rebound_is_found(text, tagged, found):
    assert rebound([("from hnas_kit import figures", False), (text, tagged)], {"seed"}) == found

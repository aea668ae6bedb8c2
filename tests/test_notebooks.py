"""The notebooks' cells: none rebinds what another one needs, so each can be run again, in any order."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from hnas_kit.runs.params import NOTEBOOKS

ROOT = Path(__file__).resolve().parents[1]


def parsed(text: str) -> ast.Module:
    return ast.parse("\n".join(line for line in text.splitlines() if line[:1] != "%"))


def names_of(target: ast.AST) -> list[ast.Name]:
    return [node for node in ast.walk(target) if isinstance(node, ast.Name)]


def names(tree: ast.AST, kind: type[ast.expr_context]) -> set[str]:
    """Names that are stored or loaded, but those of comprehensions and of functions."""
    inner = {id(n) for c in ast.walk(tree) if isinstance(c, ast.comprehension) for n in ast.walk(c.target)}
    inner |= {id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for n in ast.walk(f)}
    found = [n for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, kind)]
    own = {n.id for c in ast.walk(tree) if isinstance(c, ast.comprehension) for n in names_of(c.target)}
    return {node.id for node in found if id(node) not in inner} - (own if kind is ast.Load else set())


def rebound(cells: list[tuple[str, bool]], parameters: set[str]) -> list[str]:
    """Names with another value: modules, parameters, what other cells need; cells with their tag."""
    trees = [(parsed(text), tagged) for text, tagged in cells]
    imported = {
        (alias.asname or alias.name).partition(".")[0]
        for tree, _ in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    stored = [names(tree, ast.Store) for tree, _ in trees]
    found = []
    for (tree, tagged), own in zip(trees, stored, strict=True):
        found += sorted(own & imported)
        found += sorted(own & parameters) if not tagged else []
        needed = names(tree, ast.Load) - own
        found += sorted(name for name in needed if sum(name in others for others in stored) > 1)
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
        ("x = [1]\nx", False, ["x"]),
    ],
)
def test_what_is_rebound_is_found(text, tagged, found):
    others = [("from hnas_kit import figures\nx = 1", False), ("x", False)]
    assert rebound([*others, (text, tagged)], {"seed"}) == found


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_no_cell_asks_for_more_images_than_there_may_be(notebook):
    """Data sets may be small: a limit follows from parameters, which are checked, or from the images."""
    cells = json.loads((ROOT / "notebooks" / f"{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    assert not re.findall(r"limit=\d+|fixed\([^()]*, \d+\)", code)


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_no_output_that_is_compared_depends_on_the_processor(notebook):
    """What a flag says, and whether it is there, follows from sums that no two processors round alike."""
    content = json.loads((ROOT / "notebooks" / f"{notebook}.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    compared = [cell for cell in cells if "nbval-check-output" in cell["metadata"].get("tags", [])]
    assert compared
    assert not [cell["id"] for cell in compared if "flags.shown(" in "".join(cell["source"])]

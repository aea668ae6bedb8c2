"""The package's order of imports: nothing imports upwards, no cycles, private names stay where they are."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# each may import what stands before it
# fmt: off
ORDER = (
    "errors", "names", "files", "places", "plugins", "randomness", "provenance", "processes",
    "spaces", "supernets", "cost", "data", "training", "evaluation", "distances", "trees",
    "samplers", "rewards", "search", "benchmarks", "runs", "studies", "figures",
    "reports", "export", "retraining", "course", "cli",
)
# fmt: on


def modules(package: Path) -> dict[str, ast.Module]:
    """The syntax of every module, by its dotted name; that of a folder's ``__init__`` is the folder's."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = ast.parse(path.read_text())
    return found


def imports(tree: ast.Module, known: dict[str, ast.Module]) -> Iterator[tuple[int, str, str, str]]:
    """All that is imported of ``known`` modules: line, module, name in it or "", what a module is called."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        inside = node.module if isinstance(node, ast.ImportFrom) else ""
        for alias in node.names:
            whole = f"{inside}.{alias.name}".lstrip(".")
            if whole in known:
                yield node.lineno, whole, "", alias.asname or alias.name
            elif inside in known:
                yield node.lineno, inside, alias.name, ""


def offences(package: Path, order: Sequence[str]) -> list[str]:
    """What breaks the order, or uses a private name of another module."""
    known, found, within = modules(package), [], {}
    place = {f"{package.name}.{name}": i for i, name in enumerate(order)}
    entries = {module: ".".join(module.split(".")[:2]) for module in known}
    found += [f"{e} is not in the order" for e in {*entries.values()} - {*place, package.name}]
    for module, tree in known.items():
        called = {}
        for line, other, name, alias in imports(tree, known):
            here, there = entries[module], entries[other]
            called |= {alias: other} if alias else {}
            if here == there:
                within.setdefault(module, set()).add(other)
            elif place.get(there, -1) >= place.get(here, -1):
                found.append(f"{module}:{line} imports {other}, which stands above it")
            if name.startswith("_"):
                found.append(f"{module}:{line} imports {name} of {other}")
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                private = node.attr.startswith("_") and not node.attr.startswith("__")
                if private and node.value.id in called:
                    found.append(f"{module}:{node.lineno} uses {node.attr} of {called[node.value.id]}")
    try:
        TopologicalSorter(within).prepare()
    except CycleError as error:
        found.append(f"a cycle of imports: {', '.join(error.args[1])}")
    return found


def test_nothing_imports_upwards_nor_private_names():
    assert offences(ROOT / "hnas_kit", ORDER) == []


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"a.py": "from p import b", "b.py": ""}, "p.a:1 imports p.b, which stands above it"),
        ({"a.py": "def f():\n    import p.b", "b.py": ""}, "p.a:2 imports p.b, which stands above it"),
        (
            {"b/c.py": "import p.b.d", "b/d.py": "from p.b.c import x"},
            "a cycle of imports: p.b.c, p.b.d, p.b.c",
        ),
        ({"a.py": "_x = 1", "b.py": "from p.a import _x"}, "p.b:1 imports _x of p.a"),
        ({"a.py": "_x = 1", "b.py": "from p import a as c\nc._x"}, "p.b:2 uses _x of p.a"),
        ({"a.py": "", "c.py": ""}, "p.c is not in the order"),
    ],
)
def test_an_offence_is_named(tmp_path, files, complaint):
    for name, text in {"__init__.py": "", **files}.items():
        path = tmp_path / "p" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert offences(tmp_path / "p", ["a", "b"]) == [complaint]


def test_where_things_are_is_written_in_that_order():
    text = (ROOT / "docs" / "design.md").read_text()
    assert " -> ".join(ORDER) in " ".join(text.split())


def outsized(package: Path, lines: int = 365, function: int = 60, arguments: int = 8) -> list[str]:
    """Modules and functions (without their docstrings) that are too long, calls of too many positions."""
    found = []
    for path in sorted(package.rglob("*.py")):
        text = path.read_text()
        if (count := text.count("\n")) > lines:
            found.append(f"{path.name} has {count} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and len(node.args) > arguments:
                found.append(f"{path.name}:{node.lineno} gives {len(node.args)} positional arguments")
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                own = (
                    body[-1].end_lineno - body[0].lineno + 1 + node.body[0].lineno - node.lineno
                    if body
                    else 0
                )
                if own > function:
                    found.append(f"{path.name}:{node.lineno} {node.name} has {own} lines")
    return found


def test_modules_functions_and_calls_are_short():
    assert outsized(ROOT / "hnas_kit") == []


def test_what_is_too_long_is_named(tmp_path):
    (tmp_path / "a.py").write_text('def f(x):\n    """Why."""\n    g(1, 2, 3)\n    return x\n')
    assert outsized(tmp_path, lines=3, function=2, arguments=2) == [
        "a.py has 4 lines", "a.py:1 f has 3 lines", "a.py:3 gives 3 positional arguments"
    ]  # fmt: skip

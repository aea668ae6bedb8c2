"""Sweep files: a grid of parameters, times seeds, expanded to runs of notebooks that are checked and placed.

What several points of a grid have in common is one task in one folder,
``outputs/<run>/<what differs from profile and fixed>/seed<N>``.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from hnas_kit import places, plugins
from hnas_kit.errors import HnasError
from hnas_kit.files import read_yaml, sha256
from hnas_kit.runs.fields import RunName
from hnas_kit.runs.params import NOTEBOOKS, Parameters, Phased, result_params
from hnas_kit.runs.profiles import load_profile, override
from hnas_kit.runs.schema import Checked, explain

Key = tuple[str, str]  # of a task: notebook and run
PLACED = ("run", "source", "seed")  # parameters that a sweep sets itself
LONGEST_SLUG = 100  # characters
MOST = 1000  # points of a product


class SweepFile(Checked):
    """What a sweep file holds; README.md describes it."""

    run: RunName
    profile: str
    notebook: Literal[tuple(NOTEBOOKS)]
    seeds: Annotated[int, Field(ge=1, le=1000)]
    grid: list[dict[str, Any]] = Field(min_length=1)
    fixed: dict[str, Any] = Field({})
    plugins: list[str] = Field([])


@dataclass(frozen=True)
class Task:
    """One run of one notebook: its parameters, the lineage of its result, and the tasks it needs."""

    params: Parameters
    lineage: dict[str, dict]
    needs: tuple[Key, ...]

    @property
    def key(self) -> Key:
        return self.params.notebook, self.params.run


@dataclass(frozen=True)
class Row:
    """One line of the table: a point of the grid with one seed, and the task that gives its result."""

    label: str
    seed: int
    values: dict[str, Any]  # of every name in the grid
    params: dict[str, Parameters]  # of the task and of all that it needs, by notebook

    @property
    def key(self) -> Key:
        *_, last = self.params.values()
        return last.notebook, last.run


@dataclass(frozen=True)
class Plan:
    """All that a sweep file expands to; a task stands after those it needs."""

    run: str
    rows: list[Row]
    tasks: dict[Key, Task]


def read(path: Path, own: Mapping[str, Any]) -> SweepFile:
    """A sweep file's content, with ``own`` run, seeds or profile instead of the file's.

    Raises:
        HnasError: one line that names the file.
    """
    content = read_yaml(path)
    fixed = content.get("fixed")
    for values in (content, fixed if isinstance(fixed, dict) else {}):
        if "plugins" in values:
            values["plugins"] = plugins.listed(values["plugins"], path.parent)
    try:
        return SweepFile.model_validate(content | dict(own))
    except ValidationError as error:
        mistakes = "; ".join(dict.fromkeys(explain(e, SweepFile) for e in error.errors()))
        raise HnasError(f"{path}: {mistakes.replace('parameter', 'key')}") from None


def load(path: Path, changes: Mapping[str, Any]) -> Plan:
    """Read a sweep file and check every run of it.

    Args:
        path: the file.
        changes: run, seeds or profile, or parameters that go over the fixed ones.

    Raises:
        HnasError: one line that names the file, and the point if it is one's mistake.
    """
    own = {name: value for name, value in changes.items() if name in ("run", "seeds", "profile")}
    file = read(path, own)
    try:
        return expand(file, {name: value for name, value in changes.items() if name not in own})
    except HnasError as error:
        raise HnasError(f"{path}: {error}") from None


def expand(file: SweepFile, changes: Mapping[str, Any]) -> Plan:
    """All rows and tasks of a sweep, checked; raises :class:`HnasError`, which names the point."""
    profile, books = load_profile(places.profile_folder(file.profile)), chain(file.notebook)
    if absent := [name for name in books if name not in profile]:
        raise HnasError(f"profile {file.profile} has no {absent[0]}.yaml, which {file.notebook} needs")
    try:
        base = {b: NOTEBOOKS[b].defaults() | profile[b] for b in books}
        base = {b: v | {"plugins": [*v["plugins"], *file.plugins]} for b, v in base.items()}
        base = assign(assign(base, file.fixed), changes)
    except HnasError as error:
        raise HnasError(f"fixed: {error}") from None
    tasks: dict[Key, Task] = {}
    placed, grid = [], points(file.grid)
    for label, values in grid:
        if any(name.rpartition(".")[2] == "plugins" for name in values):
            raise HnasError(f"point {label!r}: plugins are of the whole sweep, not of a point")
        for seed in range(file.seeds):
            try:
                made = _tasks(assign(base, values), base, file.run, seed)
                _used(made, values)
            except HnasError as error:
                raise HnasError(f"point {label!r}: {error}") from None
            tasks |= {task.key: task for task in made.values() if task.key not in tasks}
            placed.append((label, seed, {book: task.params for book, task in made.items()}))
    names = dict.fromkeys(name for _, values in grid for name in values)  # by now all of them are known
    rows = [Row(label, seed, {n: _value(made, n) for n in names}, made) for label, seed, made in placed]
    return Plan(file.run, rows, tasks)


def chain(notebook: str) -> list[str]:
    """A notebook and all that it follows from, in the notebooks' order."""
    needed = {notebook}
    for name in reversed(NOTEBOOKS):
        if name in needed:
            needed |= places.READS[name].keys()
    return [name for name in NOTEBOOKS if name in needed]


def points(grid: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Label and assignments of every point, products multiplied out; raises :class:`HnasError`."""
    found: dict[str, dict[str, Any]] = {}
    for number, entry in enumerate(grid, 1):
        own = {name: value for name, value in entry.items() if name not in ("label", "product")}
        axes = entry.get("product", {})
        named = isinstance(axes, dict) and all(isinstance(name, str) for name in axes)
        if not named or [] in axes.values() or not (axes or "product" not in entry):
            raise HnasError(f"point {number}: product is {axes!r}; it must hold name: [value, ...] lines")
        if twice := sorted(own.keys() & axes.keys()):
            raise HnasError(f"point {number}: {twice[0]} is given beside the product and in it")
        lists = [values if isinstance(values, list) else [values] for values in axes.values()]
        if (count := math.prod(map(len, lists))) > MOST:
            raise HnasError(f"point {number}: its product has {count} points; at most {MOST} are allowed")
        for values in product(*lists):
            chosen = dict(zip(axes, values, strict=True))
            label = [str(entry["label"])] if "label" in entry else [f"{n} {shown(v)}" for n, v in own.items()]
            label += [f"{name} {shown(value)}" for name, value in chosen.items()]
            name = ", ".join(label) or "as fixed"
            if name in found:
                raise HnasError(f"point {number}: there is another point {name!r}; give it another label")
            found[name] = own | chosen
    return list(found.items())


def shown(value: Any) -> str:
    """A value as it stands in a line of text."""
    return '""' if value == "" else str(value)


def assign(profile: Mapping[str, dict], changes: Mapping[str, Any]) -> dict[str, dict]:
    """As :func:`hnas_kit.runs.profiles.override`; what a sweep sets itself is refused, too."""
    for name in changes:
        if name.rpartition(".")[2] in PLACED:
            raise HnasError(f"{name} cannot be given here: it follows from the sweep's run and seeds")
    return override(dict(profile), changes)


def _tasks(values: Mapping[str, dict], base: Mapping[str, dict], run: str, seed: int) -> dict[str, Task]:
    """The tasks of one point and seed, one for each notebook; raises :class:`HnasError`."""
    checked, made = {}, {}
    for book, given in values.items():
        own = given | {"run": run, "seed": seed} | ({"source": ""} if places.READS[book] else {})
        checked[book] = NOTEBOOKS[book].checked(own, book)
    for book, params in checked.items():
        parts = {name: checked[name] for name in chain(book)}
        needs = tuple(made[name].key for name in places.READS[book])
        place = {"run": "/".join(filter(None, (run, slug(parts, base), f"seed{seed}")))}
        if needs:
            place["source"] = needs[-1][1]
        lineage = {name: result_params(part) for name, part in parts.items()}
        made[book] = Task(params.model_copy(update=place), lineage, needs)
    return made


def _used(made: Mapping[str, Task], names: Iterable[str]) -> None:
    """Raise :class:`HnasError` if a point gives its search a setting that none of its methods has."""
    names = [name.rpartition(".")[2] for name in names]
    for task in made.values():
        if isinstance(task.params, Phased) and (mistake := task.params.unused(names)):
            raise HnasError(mistake)


def slug(params: Mapping[str, Parameters], base: Mapping[str, Mapping[str, Any]]) -> str:
    """A folder's name for what differs from ``base``; other differences have another name.

    Args:
        params: the parameters of a notebook and of all that it follows from.
        base: those of profile and fixed.
    """
    entries: list[tuple[str, Any]] = []
    dumped = {book: p.model_dump() for book, p in params.items()}
    for name in dict.fromkeys(name for p in dumped.values() for name in p if name not in PLACED):
        values = {book: p[name] for book, p in dumped.items() if name in p}
        changed = {book: value for book, value in values.items() if value != base[book].get(name)}
        first = next(iter(values.values()))
        # a run called retrain-3 would be taken for a training of hnas retrain
        if changed and name != "retrain" and all(value == first for value in values.values()):
            entries.append((name, first))
        else:
            entries += [(f"{book}-{name}", value) for book, value in changed.items()]
    texts = [(name, *_plain(value)) for name, value in entries]
    text = ".".join(f"{name}-{value}" for name, value, _ in texts)
    if len(text) > LONGEST_SLUG or not all(exact for *_, exact in texts):
        digest = sha256(json.dumps(entries).encode())[:8]
        text = f"{text[:LONGEST_SLUG]}.x{digest}"  # no other part of a name is without a -
    return text


def _plain(value: Any) -> tuple[str, bool]:
    """A value in characters that a folder's name may have, and whether no other value looks like that."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(value).replace("+", ""), True
    exact = isinstance(value, str) and re.fullmatch(r"([A-Za-z_][A-Za-z0-9_]*)?", value) is not None
    return re.sub(r"[^A-Za-z0-9_]+", "_", str(value)), exact


def _value(made: Mapping[str, Parameters], name: str) -> Any:
    """A parameter's value at a point: that of the last notebook which has it."""
    book, _, own = name.rpartition(".")
    books = [book] if book else [b for b in made if own in NOTEBOOKS[b].model_fields]
    return made[books[-1]].model_dump()[own]

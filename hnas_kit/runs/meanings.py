"""What ``hnas parameters`` prints: every parameter with its default, what is allowed, and its meaning."""

import itertools
import json
import textwrap
from collections.abc import Iterable
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from hnas_kit.runs.command_params import Benchmark, Retrain, Simulate
from hnas_kit.runs.fields import OneOf
from hnas_kit.runs.params import NOTEBOOKS
from hnas_kit.runs.schema import Checked

COMMANDS = {"retrain": Retrain, "benchmark": Benchmark, "simulate": Simulate}
DESCRIBED: dict[str, type[Checked]] = NOTEBOOKS | COMMANDS
WIDEST = 44  # characters of what is allowed in a line


def allowed(field: FieldInfo) -> str:
    """What a parameter may be, in words: names, or a type and its limits."""
    inside = get_args(field.annotation)
    if get_origin(field.annotation) is Literal:
        return ", ".join(inside)
    if get_origin(field.annotation) is list:
        return f"a list of {_names(get_args(inside[0])[1:])}".removesuffix(" of ")
    if get_origin(field.annotation) is dict:
        return "{name: value, ...}"
    if names := _names(field.metadata):
        return names
    words = {int: "a whole number", float: "a number", str: "text"}[field.annotation]
    signs = {Ge: ">=", Gt: ">", Le: "<=", Lt: "<"}
    found = [(kind, part) for part in field.metadata for kind in signs if isinstance(part, kind)]
    limits = [f"{signs[kind]} {getattr(part, kind.__name__.lower())}" for kind, part in found]
    return f"{words} {' and '.join(limits)}".rstrip()


def _names(parts: Iterable[Any]) -> str:
    """The names that a field may hold, if it holds one of some."""
    return ", ".join(name or '""' for part in parts if isinstance(part, OneOf) for name in part.allowed)


def rows(cls: type[Checked]) -> list[tuple[str, str, str, str]]:
    """Name, default, what is allowed, and meaning of every parameter."""
    return [
        (name, "" if field.is_required() else value(field.get_default()), allowed(field), field.description)
        for name, field in cls.model_fields.items()
    ]


def value(of: Any) -> str:
    """A value as ``-p`` takes it."""
    return '""' if of == "" else of if isinstance(of, str) else json.dumps(of).replace('"', "")


def table(name: str) -> str:
    """The parameters of a notebook or command as aligned text."""
    head = ("name", "default", "allowed", "meaning")
    lines: list[tuple[str, ...]] = []
    for *cells, may, meaning in [head, *rows(DESCRIBED[name])]:
        parts = textwrap.wrap(may, WIDEST)
        lines += itertools.zip_longest(*([cell] for cell in cells), parts, [meaning], fillvalue="")
    widths = [max(len(line[column]) for line in lines) for column in range(3)]
    text = ["  ".join((*map(str.ljust, line, widths), line[3])).rstrip() for line in lines]
    return "\n".join([name, *(f"  {line}" for line in text)])

"""The table of parameters: every one in a line, with what is allowed in words."""

from __future__ import annotations

import pytest

from hnas_kit.names import SAMPLERS
from hnas_kit.runs import meanings
from hnas_kit.runs.params import NOTEBOOKS


@pytest.mark.parametrize("name", meanings.DESCRIBED)
def test_every_parameter_has_a_row_that_says_what_it_is(name):
    found = {row[0]: row for row in meanings.rows(meanings.DESCRIBED[name])}
    assert list(found) == list(meanings.DESCRIBED[name].model_fields)
    assert all(allowed and meaning for _, _, allowed, meaning in found.values())
    assert all(default or name == "retrain" for _, default, *_ in found.values())


@pytest.mark.parametrize(
    ("notebook", "name", "default", "allowed"),
    [
        ("01_pretrain", "epochs", "12", "a whole number >= 0"),
        ("01_pretrain", "lr", "0.03", "a number > 0"),
        ("01_pretrain", "dataset", "textures", "text"),
        ("01_pretrain", "space", "pooling", "pooling, macro, mobile"),
        ("02_distances", "decay", "1.0", "a number > 0 and <= 1"),
        ("04_mcts", "beta", "0.95", "a number >= 0 and < 1"),
        ("04_mcts", "communication", '""', '"", shared_table, equivalent_nodes'),
        ("04_mcts", "compare", "[default, uniform]", "a list"),
        ("06_imagenet", "methods", "[learned, regularised, boltzmann, uniform]", "a list of learned, boltzm"),
        ("simulate", "rewards", "true", "true, supernet"),
        ("retrain", "architecture", "", "text"),
    ],
)
def test_what_is_allowed_is_said_in_words(notebook, name, default, allowed):
    (row,) = [row for row in meanings.rows(meanings.DESCRIBED[notebook]) if row[0] == name]
    assert row[1] == default
    assert row[2].startswith(allowed)


def test_columns_are_aligned_and_long_lists_go_on_below():
    title, head, *lines = meanings.table("04_mcts").splitlines()
    assert title == "04_mcts"
    starts = [head.index(name) for name in ("name", "default", "allowed", "meaning")]
    first = {line.split()[0]: i for i, line in enumerate(lines) if line[2] != " "}
    assert list(first) == list(NOTEBOOKS["04_mcts"].model_fields)
    for line in lines:
        assert all(line[start - 2 : start] == "  " for start in starts if len(line) > start)
    i = first["reward"]
    assert "relative training loss" in " ".join(line[starts[2] :].strip() for line in lines[i + 1 : i + 6])


def test_a_name_that_was_registered_is_in_the_table(monkeypatch):
    monkeypatch.setitem(SAMPLERS, "mine", object)
    assert "mcts_reg, mine" in meanings.table("04_mcts")

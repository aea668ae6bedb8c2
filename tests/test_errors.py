"""Errors that a user can mend: one line, with what is allowed."""

from __future__ import annotations

import pytest
from IPython.core.interactiveshell import InteractiveShell

from hnas_kit.errors import HnasError, require_one_of


@pytest.mark.parametrize("value", ["learned", 2])
def test_an_allowed_value_passes(value):
    require_one_of("tree", value, ("learned", "random", 2))


def test_a_near_miss_is_suggested():
    with pytest.raises(HnasError) as caught:
        require_one_of("tree", "lerned", iter(("learned", "random")))
    assert str(caught.value) == "unknown tree 'lerned' (did you mean 'learned'?); allowed: learned, random"


def test_nothing_is_suggested_where_nothing_is_near():
    with pytest.raises(HnasError) as caught:
        require_one_of("tree", 7, ("learned", "random"))
    assert str(caught.value) == "unknown tree 7; allowed: learned, random"


def test_a_notebook_shows_one_line_and_no_traceback(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    shell = InteractiveShell()
    try:
        shell.run_cell("from hnas_kit.errors import HnasError\nraise HnasError('width is 0')")
    finally:
        shell.history_manager.end_session()
    assert capsys.readouterr().out.strip() == "HnasError: width is 0"

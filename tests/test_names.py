"""Names: what they stand for, when it is imported, and new ones."""

from __future__ import annotations

import sys
import types

import pytest

from hnas_kit import names
from hnas_kit.errors import HnasError
from hnas_kit.samplers import Sampler
from hnas_kit.spaces import SearchSpace


@pytest.fixture
def module(monkeypatch):
    """A module to import ``Cheese`` from."""
    module = types.ModuleType("somewhere")
    module.Cheese = type("Cheese", (), {})
    monkeypatch.setitem(sys.modules, "somewhere", module)
    return module


def test_a_text_is_imported_when_it_is_asked_for(module):
    known = names.Registry("cheese", {"brie": "nowhere:Cheese", "feta": "somewhere:Cheese"})
    assert list(known) == ["brie", "feta"]
    assert "brie" in known
    assert known["feta"] is known.get("feta") is module.Cheese
    assert known.get("edam") is None
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        known["brie"]


@pytest.mark.parametrize("name", ["feto", 3, None, ["feta"]])
def test_an_unknown_name_is_refused_with_the_known_ones(name):
    known = names.Registry("cheese", {"brie": 1, "feta": 2})
    near = " (did you mean 'feta'?)" if name == "feto" else ""
    with pytest.raises(HnasError) as caught:
        known[name]
    assert str(caught.value).startswith(f"unknown cheese {name!r}{near}")
    assert str(caught.value).endswith("; allowed: brie, feta")


def test_a_new_name_is_known_and_a_taken_one_refused():
    known = names.Registry("cheese", {"feta": 2})
    known.register("brie", 1)
    assert dict(known) == {"feta": 2, "brie": 1}
    with pytest.raises(HnasError, match=r"\Athere is a cheese 'feta' already; choose another name\Z"):
        known.register("feta", 3)
    assert known["feta"] == 2


@pytest.mark.parametrize(("known", "kind"), [(names.SPACES, SearchSpace), (names.SAMPLERS, Sampler)])
def test_every_name_stands_for_a_class_of_its_kind(known, kind):
    assert all(issubclass(known[name], kind) for name in known)
    assert len(set(known.values())) == len(known)


def test_a_space_goes_by_its_own_name():
    assert {name: space.name for name, space in names.SPACES.items()} == {name: name for name in names.SPACES}


def test_a_lazy_package_has_its_names_and_no_others(module):
    module.__name__, module.own = "somewhere", 1
    inner = sys.modules["somewhere.inner"] = types.ModuleType("somewhere.inner")
    try:
        inner.value = 7
        module.__getattr__, listed = names.lazy("somewhere", {"value": "inner"})
        assert module.value == 7
        assert {"own", "value", "Cheese"} <= set(listed())
        with pytest.raises(AttributeError, match="module 'somewhere' has no attribute 'other'"):
            module.other  # noqa: B018
    finally:
        del sys.modules["somewhere.inner"]

"""The compiled loops are kept for later processes, or made in each where nothing can be written."""

from __future__ import annotations

from numba.core import caching

from hnas_kit.samplers.compiled import kept


def add(a, b):
    return a + b


def test_where_no_folder_can_be_written_compiled_code_is_not_kept(monkeypatch):
    """As without a home, in a package that belongs to somebody else."""
    assert kept(add).stats.cache_path is not None
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    assert kept(add).stats.cache_path is None
    assert kept(add)(1, 2) == kept(fastmath=False)(add)(1, 2) == 3

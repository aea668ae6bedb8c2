"""The published file of NAS-Bench-Macro against the space and the network of this kit."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pooch
import pytest

from hnas_kit import benchmarks, cost, nas_bench_macro
from hnas_kit.errors import HnasError
from hnas_kit.spaces import make_space

SPACE = make_space("macro")
GIVEN = Path(os.environ.get("HNAS_DATA_DIR", "")) / nas_bench_macro.FILE
needs_file = pytest.mark.skipif(
    "HNAS_DATA_DIR" not in os.environ or not GIVEN.exists(),
    reason=f"needs {nas_bench_macro.FILE} in the folder that HNAS_DATA_DIR names",
)


@pytest.fixture(scope="module")
def records() -> dict[str, dict]:
    """All rows of the file, by code."""
    return json.loads(GIVEN.read_text())


@pytest.fixture
def empty(tmp_path, monkeypatch) -> Path:
    """Data folders that hold nothing; the first of them."""
    monkeypatch.setenv("HNAS_DATA_DIR", str(tmp_path / "given"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "given").mkdir()
    return tmp_path / "given"


@needs_file
@pytest.mark.data
def test_macs_and_parameters_of_every_row_are_those_of_the_network(records):
    assert len(records) == 6561
    wrong = [
        code
        for code, record in records.items()
        if cost.macs(SPACE, SPACE.parse(code)) != record["flops"]
        or cost.params(SPACE, SPACE.parse(code)) != record["params"]
    ]
    assert wrong == []


@needs_file
@pytest.mark.data
def test_codes_of_one_network_have_one_record_and_others_another(records):
    canonical = {code: SPACE.format(SPACE.parse(code)) for code in records}
    assert all(records[code] == records[other] for code, other in canonical.items())
    distinct = {json.dumps(records[code]) for code in canonical.values()}
    assert len(distinct) == len(set(canonical.values())) == 3969


@needs_file
@pytest.mark.data
def test_ranks_are_over_the_networks(records):
    table = benchmarks.load("cifar10-macro")
    assert list(table.index) == [SPACE.format(arch) for arch in SPACE.enumerate()]
    assert list(table.columns) == ["accuracy", "rank", "macs", "params"]
    assert table["accuracy"].idxmax() == "22212220"
    assert table.loc["22212220", "accuracy"] == pytest.approx(93.127, abs=5e-4)
    assert table.loc[["22212220", "12222222"], "rank"].tolist() == [1, 21]
    for code in table.index[::97]:
        record = records[code]
        assert table.loc[code, "accuracy"] == pytest.approx(record["mean_acc"])
        assert table.loc[code, ["macs", "params"]].tolist() == [record["flops"], record["params"]]
    np.testing.assert_allclose(benchmarks.per_seed("cifar10-macro").mean(axis=1), table["accuracy"])
    pd.testing.assert_frame_equal(benchmarks.for_dataset("macro", "cifar10_jpeg"), table)


@needs_file
@pytest.mark.data
def test_it_is_downloaded_once_into_the_cache(empty, monkeypatch):
    asked = []

    def download(url, output_file, pooch):
        asked.append(url)
        Path(output_file).write_bytes(GIVEN.read_bytes())

    monkeypatch.setattr(pooch.core, "choose_downloader", lambda *args, **kwargs: download)
    first, second = nas_bench_macro.read(), nas_bench_macro.read()
    assert asked == [nas_bench_macro.URL]
    assert (empty.parent / "cache/hnas_kit" / nas_bench_macro.FILE).read_bytes() == GIVEN.read_bytes()
    pd.testing.assert_frame_equal(first, second)


def test_without_the_file_and_a_network_one_line_says_where_to_get_and_to_put_it(empty, monkeypatch):
    def unreachable(*args, **kwargs):
        raise OSError("no route\nto host")

    monkeypatch.setattr(pooch, "retrieve", unreachable)
    with pytest.raises(HnasError) as caught:
        benchmarks.load("cifar10-macro")
    line = str(caught.value)
    assert "\n" not in line
    assert "cannot be downloaded (no route to host)" in line
    assert all(part in line for part in (nas_bench_macro.URL, f"{empty} or {empty.parent}/cache/hnas_kit"))


def test_another_file_of_that_name_is_refused(empty):
    (empty / nas_bench_macro.FILE).write_text("{}")
    with pytest.raises(HnasError, match=r"\A.*nas-bench-macro_cifar10.json is not the published file.*\Z"):
        benchmarks.load("cifar10-macro")

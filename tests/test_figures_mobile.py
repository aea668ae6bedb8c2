"""The figure of ImageNet architectures says of every layer what its name says."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from common import texts
from matplotlib.colors import to_rgb

from hnas_kit.figures import draws_and_rewards, macs_histogram, mobile_architectures, operation_shares
from hnas_kit.figures.mobile import HEIGHTS, IDENTITY, KERNELS
from hnas_kit.spaces import make_space

MOBILE = make_space("mobile")

pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.usefixtures("drawn")]


def test_every_layer_is_drawn_as_its_operation():
    archs = {
        "one": MOBILE.canonical([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 6, 2, 8, 5, 11, 12, 7]),
        "other": MOBILE.canonical([12] * 21),
    }
    figure = mobile_architectures(archs)
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["one", "other"]
    for axis, arch in zip(figure.axes, archs.values(), strict=True):
        assert len(axis.patches) == 21
        for bar, op in zip(axis.patches, arch, strict=True):
            if op == 12:
                assert to_rgb(bar.get_facecolor()) == to_rgb(IDENTITY)
                assert bar.get_height() < min(HEIGHTS.values())
                continue
            kernel, expansion, *squeeze = MOBILE.ops[0][op].split()
            assert to_rgb(bar.get_facecolor()) == to_rgb(KERNELS[kernel])
            assert bar.get_height() == pytest.approx(HEIGHTS[expansion])
            assert (bar.get_linewidth() > 1) == bool(squeeze)
    assert len({to_rgb(colour) for colour in (*KERNELS.values(), IDENTITY)}) == 4


def test_gaps_part_the_stages():
    (axis,) = mobile_architectures({"one": MOBILE.canonical([3] * 21)}).axes
    left = [bar.get_x() for bar in axis.patches]
    steps = [b - a for a, b in itertools.pairwise(left)]
    assert [i + 1 for i, step in enumerate(steps) if step > 1.1] == [4, 8, 12, 16, 20]


def test_the_histogram_holds_every_draw_and_marks_the_window():
    macs = np.random.default_rng(0).normal(450, 40, 1000)
    (axis,) = macs_histogram(macs, 277.2, 280).axes
    *bars, window = axis.patches
    assert sum(bar.get_height() for bar in bars) == 1000
    assert (window.get_x(), window.get_width()) == (277.2, pytest.approx(2.8))
    assert min(bar.get_x() for bar in bars) == pytest.approx(277.2)
    assert axis.get_ylabel() == "of 1,000 draws"


def test_shares_are_drawn_on_one_scale_and_every_operation_is_named():
    tables = {"one": np.full((21, 13), 1 / 13), "other": np.eye(21, 13)}
    first, second, bar = operation_shares(tables).axes
    assert [axis.get_title() for axis in (first, second)] == ["one", "other"]
    meshes = [axis.collections[0] for axis in (first, second)]
    for mesh, table in zip(meshes, tables.values(), strict=True):
        assert np.asarray(mesh.get_array()) == pytest.approx(100 * table.T)
        assert (mesh.norm.vmin, mesh.norm.vmax) == (0, 100)
    assert texts(first.get_yticklabels()) == list(MOBILE.ops[0])
    assert bar.get_ylabel() == "share (%)"


def test_searches_are_drawn_with_what_was_new_in_them():
    phases = ["uniform"] * 2 + ["warm-up"] * 2 + ["search"] * 6
    histories = {
        name: pd.DataFrame({"phase": phases, "architecture": archs, "reward": np.arange(10) / 10})
        for name, archs in (("learned", [*"abcaabbaaa"]), ("uniform", [*"abcdefghij"]))
    }
    left, right = draws_and_rewards(histories, 0.25).axes
    for line in left.lines[:2]:
        assert line.get_ydata() == pytest.approx(10.0 * np.arange(10))
    assert left.lines[2].get_ydata()[0] == 25
    assert list(right.lines[0].get_ydata()) == [1, 2, 3, 3, 3, 3, 3, 3, 3, 3]
    assert list(right.lines[1].get_ydata()) == list(range(1, 11))
    assert [line.get_xdata()[0] for line in right.lines[2:]] == [2, 4]

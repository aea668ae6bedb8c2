"""The figure of ImageNet architectures says of every layer what its name says."""

from __future__ import annotations

import itertools

import matplotlib.pyplot as plt
import pytest
from matplotlib.colors import to_rgb

from hnas_kit.plots_mobile import HEIGHTS, IDENTITY, KERNELS, mobile_architectures
from hnas_kit.spaces import make_space

MOBILE = make_space("mobile")


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


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

"""The cost of a tree: measured for what it says, and the fit of a curve that is known."""

from __future__ import annotations

import pandas as pd
import pytest

from hnas_kit import evaluation
from hnas_kit.errors import HnasError
from hnas_kit.studies import complexity


def test_the_fit_finds_the_curve():
    n = pd.Index([100, 300, 1000, 3000])
    exact = pd.DataFrame({"outputs": 0.02 * n, "tree": 3e-7 * n**2}, index=n)
    assert complexity.fit(exact) == pytest.approx((3e-7, 0.02))
    assert complexity.fit(exact[["outputs"]]) == pytest.approx((0, 0.02), abs=1e-12)


def test_every_size_is_measured_on_so_many_networks(monkeypatch):
    sizes, outputs = [], evaluation.outputs

    def seen(net, archs, x):
        sizes.append((len(set(archs)), len(x)))
        return outputs(net, archs, x)

    monkeypatch.setattr(evaluation, "outputs", seen)
    seconds = complexity.measure([30, 60], width=1, images=4)
    assert sizes[1:] == [(30, 4), (60, 4)]
    assert list(seconds.index) == [30, 60]
    assert (seconds > 0).all(axis=None)
    with pytest.raises(HnasError, match="sizes has 5000; there are 3,969 architectures"):
        complexity.measure([5000])

"""Figures of the paper's eight architectures."""

from __future__ import annotations

import pytest

from hnas_kit import figures


@pytest.mark.parametrize("draw", [figures.factorisations, figures.two_trees])
def test_a_figure_has_three_panels(draw):
    assert len(draw().axes) == 3

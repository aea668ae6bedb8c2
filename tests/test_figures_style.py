"""What figures share: colours of methods, running means."""

from __future__ import annotations

import numpy as np

from hnas_kit.figures import style
from hnas_kit.samplers import METHODS


def test_smooth_is_the_mean_of_the_last_values():
    np.testing.assert_allclose(style.smooth([1, 3, 5, 9], 2), [1, 2, 4, 7])


def test_every_method_has_a_colour_of_its_own():
    own = style.colours(["learned", "MCTS + Reg", "mine"])
    assert own["learned"] == style.COLOURS["learned"]
    assert len(set(own.values())) == 3
    assert set(METHODS) <= set(style.COLOURS)
    assert len(set(style.COLOURS.values())) == len(style.COLOURS)

"""What figures share: colours of methods, running means."""

from __future__ import annotations

import itertools

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from skimage.color import rgb2lab

from hnas_kit import figures
from hnas_kit.figures import style
from hnas_kit.files import read_csv
from hnas_kit.runs import provided
from hnas_kit.samplers import METHODS


def test_smooth_is_the_mean_of_the_last_values():
    np.testing.assert_allclose(style.smooth([1, 3, 5, 9], 2), [1, 2, 4, 7])


def test_every_method_has_a_colour_of_its_own():
    own = style.colours(["learned", "MCTS + Reg", "mine"])
    assert own["learned"] == style.COLOURS["learned"]
    assert len(set(own.values())) == 3
    assert set(METHODS) <= set(style.COLOURS)
    assert len(set(style.COLOURS.values())) == len(style.COLOURS)


# What a reader without one kind of cone sees, of linear RGB (Machado, Oliveira, Fernandes, 2009)
BLINDNESS = {
    "none": np.eye(3),
    "red": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
}


@pytest.mark.parametrize("matrix", BLINDNESS.values(), ids=BLINDNESS)
def test_methods_are_told_apart_by_readers_of_every_colour_vision(matrix):
    linear = np.array([mpl.colors.to_rgb(colour) for colour in style.COLOURS.values()]) ** 2.2
    seen = rgb2lab(np.clip(linear @ np.transpose(matrix), 0, 1)[None] ** (1 / 2.2))[0]
    apart = {
        pair: np.linalg.norm(a - b)
        for pair, (a, b) in zip(
            itertools.combinations(style.COLOURS, 2), itertools.combinations(seen, 2), strict=True
        )
    }
    assert min(apart.values()) > 10, sorted(apart.items(), key=lambda item: item[1])[:3]
    for pair in (("learned", "boltzmann"), ("default", "accuracy"), ("uniform", "independent")):
        assert apart.get(pair, apart.get(pair[::-1])) > 20


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figures.bonuses(0.5, 0.02),
        lambda: figures.complexity(pd.DataFrame({"outputs": [1.0], "tree": [0.1]}, index=[100]), 1e-5, 0.01),
        lambda: figures.readings(read_csv(provided("docs/results/readings.csv"))),
    ],
    ids=["bonuses", "complexity", "readings"],
)
def test_numbers_along_logarithmic_axes_are_plain(draw):
    figures.use_style()
    figure = draw()
    figure.canvas.draw()
    labels = [t.get_text() for a in figure.axes for t in (*a.get_xticklabels(), *a.get_yticklabels())]
    assert {"10", "100"} & set(labels)
    assert not [label for label in labels if "$" in label]

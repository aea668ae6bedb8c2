"""Figures of the paper's eight architectures."""

from __future__ import annotations

import pytest

from hnas_kit import figures

pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.usefixtures("drawn")]


def test_probabilities_are_factorised_in_three_ways():
    assert len(figures.factorisations().axes) == 3


def test_both_trees_have_their_questions_and_the_means_of_their_nodes():
    default, learned = figures.two_trees().axes
    for axis, first, means in ((default, "a", ("61.3", "63.3")), (learned, "c", ("48.5", "76.0"))):
        texts = [text.get_text() for text in axis.texts]
        assert len(axis.lines) == 14
        assert {f"{first} = 0", f"{first} = 1", *means, "000", "111"} <= set(texts)
        assert axis.get_title().endswith(f"parts {means[0]} % from {means[1]} %")


def test_the_still_says_how_often_c_was_1():
    first, second = figures.toy_search_still(steps=56).axes
    shares = [int(axis.get_title().split(": ")[1].split(" %")[0]) for axis in (first, second)]
    assert 0 < shares[0] < shares[1] < 100

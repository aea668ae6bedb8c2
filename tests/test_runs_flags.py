"""Flags: what cannot be right is said, what can be is not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hnas_kit.runs import flags


def probabilities(answers, classes=3):
    return np.eye(classes)[np.array(answers)]


def test_an_architecture_that_predicts_one_class_for_everything_is_flagged():
    line = "1 of 2 architectures predict one class for all 3 images"
    assert flags.one_class(probabilities([[0, 1, 0], [2, 2, 2]])) == [line]
    assert flags.one_class(probabilities([[0, 1, 0], [2, 2, 1]])) == []
    assert flags.one_class(probabilities([[0]])) == []  # of a single image it says nothing


@pytest.mark.parametrize(
    ("accuracy", "epochs", "flagged"),
    [(0.1, 3, True), (0.119, 3, True), (0.121, 3, False), (0.1, 0, False)],
)
def test_an_accuracy_at_chance_after_pretraining_is_flagged(accuracy, epochs, flagged):
    """Twice the standard error of guessing among ten classes on 900 images is 0.02."""
    line = f"mean accuracy {100 * accuracy:.1f} % after 3 epochs of pre-training: guessing gives 10.0 %"
    assert flags.at_chance([accuracy] * 2, 10, 900, epochs) == ([line] if flagged else [])


def test_equal_rows_of_a_distance_matrix_are_flagged():
    distances = np.abs(np.subtract.outer([0.0, 1, 5, 1], [0.0, 1, 5, 1]))
    line = "2 architectures have the distances of another one, as b, d"
    assert flags.equal_rows(distances, list("abcd")) == [line]
    assert flags.equal_rows(distances[:3, :3], list("abc")) == []
    assert flags.equal_rows(np.array([[-0.0, 0.0], [0.0, 0.0]]), list("ab")) != []


def history(drawn):
    phases = ["warm-up", "warm-up"] + ["search"] * len(drawn)
    return pd.DataFrame({"phase": phases, "architecture": ["a", "a", *drawn]})


def test_a_third_phase_that_never_repeats_an_architecture_is_flagged():
    different = history([str(i) for i in range(30)])
    line = "mine: the third phase's 30 draws are all different, of 100"
    assert flags.never_repeats({"mine": different}, 100, {"mine": True}) == [line]
    assert flags.never_repeats({"mine": different}, 1e6, {"mine": True}) == []  # too many to repeat
    assert flags.never_repeats({"mine": different}, 100, {"mine": False}) == []  # it prefers none
    again = history(["0", *map(str, range(29))])
    assert flags.never_repeats({"mine": again}, 100, {"mine": True}) == []


def test_lines_are_printed_and_kept(capsys):
    assert flags.shown(["a"], [], ["b"]) == ["a", "b"]
    assert capsys.readouterr().out == "look at this: a\nlook at this: b\n"

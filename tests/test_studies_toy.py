"""The paper's eight architectures: what its Fig. 1 and 2 say holds for them."""

from __future__ import annotations

import numpy as np
import pytest

from hnas_kit import trees
from hnas_kit.errors import HnasError
from hnas_kit.samplers import MCTS, Boltzmann, Independent
from hnas_kit.studies import toy
from hnas_kit.studies.toy import taught


def test_there_are_eight_architectures():
    assert len(toy.ARCHS) == len(set(toy.ARCHS)) == 8
    assert [toy.SPACE.parse(toy.SPACE.format(arch)) for arch in toy.ARCHS] == toy.ARCHS
    with pytest.raises(HnasError, match="'012' is not an architecture"):
        toy.SPACE.parse("012")


def test_outputs_are_probabilities_that_know_nothing_of_accuracy(monkeypatch):
    before = toy.outputs()
    assert before.shape == (8, 3, 3)
    np.testing.assert_allclose(before.sum(axis=2), 1)
    monkeypatch.setattr(toy, "ACCURACY", dict.fromkeys(toy.ARCHS, 0.5))
    np.testing.assert_array_equal(toy.outputs(), before)


@pytest.mark.parametrize(
    ("influence", "first"), [((0.2, 0.6, 1.2), "c"), ((1.2, 0.6, 0.2), "a"), ((0.3, 1.2, 0.6), "b")]
)
def test_the_learned_tree_asks_first_what_changes_answers_most(influence, first):
    tree = toy.learned_tree(influence)
    assert {toy.question(tree, 1), toy.question(tree, 2)} == {f"{first} = 0", f"{first} = 1"}


def test_the_learned_tree_parts_good_from_bad_and_the_default_tree_does_not():
    for tree, expected in ((toy.learned_tree(), (0.485, 0.76)), (trees.default(toy.SPACE), (0.6125, 0.6325))):
        assert toy.means(tree)[1:3] == pytest.approx(expected)
        assert toy.means(tree)[0] == pytest.approx(np.mean(list(toy.ACCURACY.values())))
    tree = trees.default(toy.SPACE)
    assert [toy.pattern(tree, v) for v in (0, 1, 3, 8)] == ["···", "0··", "00·", "001"]
    assert [toy.question(tree, v) for v in (2, 4, 8)] == ["a = 1", "b = 1", "c = 1"]


def test_a_search_is_looked_at_after_the_steps_that_are_asked_for():
    looked = toy.searched(MCTS(toy.learned_tree()), (0, 1, 7))
    assert [visits[0] for _, _, visits in looked] == [0, 1, 7]
    assert np.all(looked[0][1] == 1)
    once = MCTS(toy.learned_tree())
    chance, value, _ = toy.searched(once, (7,))[0]
    np.testing.assert_array_equal(value, looked[2][1])
    np.testing.assert_array_equal(chance, once.conditional())


def test_independent_layers_cannot_say_what_the_joint_distribution_says():
    independent, joint = (taught(s) for s in (Independent(toy.SPACE), Boltzmann(toy.ARCHS)))
    # with c = 0, b = 1 is worse than b = 0: the joint distribution knows, layers on their own do not
    p, q = joint.probabilities(), independent.probabilities()
    assert p[0, 1, 0] < p[0, 0, 0]
    assert q[0, 1, 0] > q[0, 0, 0]


def test_a_tree_says_as_much_as_the_joint_distribution():
    conditional = taught(MCTS(trees.default(toy.SPACE))).probabilities()
    assert conditional[0, 1, 0] < conditional[0, 0, 0]
    assert max(conditional, key=conditional.get) == (1, 1, 1)

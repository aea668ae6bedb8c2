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


def test_the_learned_tree_decides_the_layer_that_matters_first():
    tree = toy.learned_tree()
    groups = tree.groups(1)
    c = np.array([arch[2] for arch in tree.archs])
    assert len(set(zip(groups.tolist(), c.tolist(), strict=True))) == 2  # the root splits by c
    accuracy = [toy.ACCURACY[arch] for arch in tree.archs]
    first = {name: trees.variance_explained(t, accuracy)[1][1] for name, t in
             {"learned": tree, "default": trees.default(toy.SPACE)}.items()}  # fmt: skip
    assert first["learned"] > 0.8 > 0.1 > first["default"]


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

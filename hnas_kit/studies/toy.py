"""The paper's example of eight architectures, computed: three binary choices a, b, c (Fig. 1 and 2)."""

from collections.abc import Sequence

import numpy as np
from scipy.special import softmax

from hnas_kit import distances, trees
from hnas_kit.samplers import MCTS, Sampler
from hnas_kit.spaces import SearchSpace
from hnas_kit.trees import ArchTree


class ToySpace(SearchSpace):
    """Three layers of two operations each; written as three digits. There is no network for it."""

    name = "toy"
    ops = (("0", "1"),) * 3
    separator = ""


SPACE = ToySpace()

ARCHS = SPACE.enumerate()

# mostly c decides, then b, and b only where c is 1: independent layers cannot say that
ACCURACY = {(a, b, c): 0.50 + 0.02 * a + 0.20 * c + 0.10 * b * c - 0.05 * b * (1 - c) for a, b, c in ARCHS}


def outputs(influence: Sequence[float] = (0.2, 0.6, 1.2), images: int = 3, seed: int = 16) -> np.ndarray:
    """Made-up answers: what each architecture says of some images, with no regard to accuracy.

    An operation moves the logits of an image in a random direction, its alternative the other way, as far as
    the layer has influence. That c has most, as it has on accuracy, is the paper's bet, and is assumed here:
    with another ``influence`` the same clustering asks another question first.

    Args:
        influence: of layers a, b and c.
        images: how many.
        seed: of the directions.

    Returns:
        (8, images, 3) class probabilities.
    """
    directions = np.random.default_rng(seed).normal(size=(3, images, 3))
    sides = 2.0 * np.array(ARCHS) - 1
    return softmax(np.einsum("al,l,lic->aic", sides, np.asarray(influence), directions), axis=2)


def learned_tree(influence: Sequence[float] = (0.2, 0.6, 1.2)) -> ArchTree:
    """The tree clustered from :func:`outputs`."""
    return trees.learned(distances.from_outputs(outputs(influence)), ARCHS)


def pattern(tree: ArchTree, node: int) -> str:
    """The text form of the architectures under a node, a point where they differ: ``··1`` is c = 1."""
    below = np.array([tree.archs[i] for i in tree.members[node]])
    return "".join("·" if np.ptp(ops) else str(ops[0]) for ops in below.T)


def question(tree: ArchTree, node: int) -> str:
    """In what a node's architectures are alike beyond those of its parent, for instance ``c = 1``."""
    pairs = zip("abc", pattern(tree, node), pattern(tree, int(tree.parent[node])), strict=True)
    return ", ".join(f"{layer} = {new}" for layer, new, old in pairs if new != old)


def means(tree: ArchTree) -> np.ndarray:
    """(V,) mean accuracy of the architectures under each node."""
    accuracy = np.array([ACCURACY[arch] for arch in tree.archs])
    return np.array([accuracy[below].mean() for below in tree.members])


def searched(sampler: MCTS, at: Sequence[int]) -> list[tuple[np.ndarray, ...]]:
    """A search whose rewards are the share of right answers among 64 images.

    Args:
        sampler: moved on.
        at: after which steps, in rising order, to look at it.

    Returns:
        For each of these steps, all (V,): probability of each node given its parent, C, visits.
    """
    rng, seen = np.random.default_rng(0), []
    for steps in np.diff(at, prepend=0):
        for _ in range(steps):
            arch = sampler.sample(rng)
            sampler.update(arch, rng.binomial(64, ACCURACY[arch]) / 64)
        seen.append((sampler.conditional(), sampler.value.copy(), sampler.visits.copy()))
    return seen


def taught(sampler: Sampler, temperature: float = 0.1) -> Sampler:
    """The sampler after each architecture's accuracy was seen 100 times, exploring no more."""
    for _ in range(100):
        for arch in ARCHS:
            sampler.update(arch, ACCURACY[arch])
    sampler.anneal(temperature)
    return sampler.exploit()

"""The paper's example of eight architectures, computed: three binary choices a, b, c (Fig. 1 and 2)."""

import numpy as np

from hnas_kit import distances, trees
from hnas_kit.samplers import Sampler
from hnas_kit.spaces import SearchSpace
from hnas_kit.trees import ArchTree


class ToySpace(SearchSpace):
    """Three layers of two operations each; written as three digits. There is no network for it."""

    name = "toy"
    ops = (("0", "1"),) * 3
    separator = ""

    def describe(self) -> str:
        return "3 layers of 0 or 1"


SPACE = ToySpace()

ARCHS = SPACE.enumerate()

# mostly c decides, then b, and b only where c is 1: independent layers cannot say that
ACCURACY = {(a, b, c): 0.50 + 0.02 * a + 0.20 * c + 0.10 * b * c - 0.05 * b * (1 - c) for a, b, c in ARCHS}


def learned_tree() -> ArchTree:
    """A tree clustered from made-up outputs: the class probabilities that give these accuracies."""
    outputs = np.array([[[ACCURACY[arch], 1 - ACCURACY[arch]]] for arch in ARCHS])
    return trees.learned(distances.from_outputs(outputs), ARCHS)


def taught(sampler: Sampler, temperature: float = 0.1) -> Sampler:
    """The sampler after each architecture's accuracy was seen 100 times, exploring no more."""
    for _ in range(100):
        for arch in ARCHS:
            sampler.update(arch, ACCURACY[arch])
    sampler.anneal(temperature)
    return sampler.exploit()

"""Uniform pre-training of the shared weights (Sec. 4; Algorithm 1, "pre-training")."""

from collections.abc import Callable
from typing import Any

import numpy as np

from hnas_kit.randomness import Generators
from hnas_kit.spaces import Arch
from hnas_kit.supernets import Supernet
from hnas_kit.training.problem import Problem
from hnas_kit.training.step import train


def pretrain(
    problem: Problem,
    *,
    seed: int,
    epochs: int,
    batch_size: int,
    draw: Callable[[np.random.Generator], Arch] | None = None,
    **training: Any,
) -> tuple[Supernet, np.ndarray]:
    """Train new shared weights, a uniformly drawn architecture at every step.

    Args:
        problem: the space and the images; half of them are trained on.
        seed: of all draws.
        epochs: passes over that half.
        batch_size: images a step.
        draw: draws an architecture (default: uniformly from the whole space).
        training: ``lr``, ``weight_decay`` and so on, see :func:`hnas_kit.training.train`.

    Returns:
        The supernet, and the (steps,) training loss of every step.
    """
    generators = Generators(seed)
    net, rng = problem.supernet(generators), generators.numpy("architectures")
    archs = () if draw else problem.space.enumerate()
    losses = train(
        net,
        problem.dataset.batches(problem.train, batch_size, generators),
        lambda step: draw(rng) if draw else archs[rng.integers(len(archs))],
        problem.steps(epochs, batch_size),
        states={"generators": generators},
        **training,
    )
    return net, losses

"""One architecture trained alone, from new weights: what it is truly worth."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from hnas_kit import evaluation, training
from hnas_kit.data import Dataset
from hnas_kit.data.rendering import layout
from hnas_kit.randomness import Generators
from hnas_kit.spaces import Arch, SearchSpace
from hnas_kit.supernets import Supernet, make_supernet, prune


@dataclass(frozen=True)
class Trained:
    """An architecture's network, see :func:`hnas_kit.supernets.prune`.

    Attributes:
        net: as the last step left it.
        average: with the moving average of its weights and of its BatchNorm statistics; None without one.
        losses: (steps,) training loss.
    """

    net: Supernet
    average: Supernet | None
    losses: np.ndarray


def train(
    space: SearchSpace,
    dataset: Dataset,
    arch: Arch,
    seed: int,
    *,
    width: int,
    epochs: int,
    batch_size: int,
    warmup_epochs: int = 0,
    ema_decay: float = 0.0,
    **options: Any,
) -> Trained:
    """Train one architecture from new weights on the whole training set.

    Args:
        space, dataset, width: of the network.
        arch: the architecture.
        seed: of weights, order and augmentation.
        epochs: passes over the training set.
        batch_size: images a step.
        warmup_epochs: the learning rate rises over so many of the epochs.
        ema_decay: d of the moving average after every step, d * average + (1 - d) * weights; it starts as
            the weights after the first step. 0 keeps none.
        options: ``lr``, ``weight_decay`` and so on, see :func:`hnas_kit.training.train`.
    """
    generators = Generators(seed)
    sizes = dataset.in_channels, dataset.num_classes, width
    new = generators.torch("weights")
    net = prune(make_supernet(space, *sizes, shared=False, generator=new), arch)
    batches = dataset.batches(dataset.train, batch_size, generators)
    net.to(batches.device, memory_format=layout(batches.device))
    average, after_step, states = None, None, {"generators": generators}
    if ema_decay:
        average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(ema_decay), use_buffers=True)
        states["average"] = average

        def after_step(step: int, logits: torch.Tensor, labels: torch.Tensor) -> None:
            average.update_parameters(net)

    losses = training.train(
        net,
        batches,
        lambda step: arch,
        epochs * batches.steps_per_epoch,
        warmup_steps=warmup_epochs * batches.steps_per_epoch,
        after_step=after_step,
        states=states,
        **options,
    )
    return Trained(net, average and average.module, losses)


def accuracy(net: Supernet, arch: Arch, dataset: Dataset) -> float:
    """Accuracy of a trained network on the test set, a fraction."""
    scored = [(evaluation.accuracy(net, [arch], x, y)[0], len(y)) for x, y in dataset.pieces(dataset.test)]
    values, images = zip(*scored, strict=True)
    return float(np.average(values, weights=images))

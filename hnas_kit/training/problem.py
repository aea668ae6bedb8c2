"""What a supernet is trained for: a search space, images of it in two halves, and a width."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from hnas_kit import data
from hnas_kit.data import Dataset, Split
from hnas_kit.randomness import Generators
from hnas_kit.spaces import SearchSpace, make_space
from hnas_kit.supernets import Supernet, make_supernet


@dataclass(frozen=True, eq=False)  # images are compared by nobody
class Problem:
    """A search space and the images that architectures are compared on.

    Attributes:
        space: the search space.
        dataset: all images.
        train, valid: the halves of its training set: weights are trained on one, rewards measured on the
            other (Appendix B.1).
        width: channels of the supernet's stem.
    """

    space: SearchSpace
    dataset: Dataset
    train: Split
    valid: Split
    width: int

    @classmethod
    def of(cls, params: Mapping[str, Any], device: str | torch.device = "cpu") -> Problem:
        """The problem of a notebook's parameters.

        Args:
            params: ``space``, ``dataset``, ``image_size``, ``width`` and ``seed`` (of the halves); and, for
                images that do not fit in memory, ``workers``.
            device: where the images lie.

        Raises:
            HnasError: for an unknown space or data set, or images that cannot be read.
        """
        dataset = data.load(params["dataset"], device, params["image_size"], params.get("workers", 0))
        halves = dataset.halves(Generators(params["seed"]).torch("split"))
        return cls(make_space(params["space"]), dataset, *halves, params["width"])

    def supernet(self, generators: Generators | None = None) -> Supernet:
        """The supernet on the CPU, its weights drawn from ``generators`` if they are given."""
        sizes = self.dataset.in_channels, self.dataset.num_classes, self.width
        weights = generators.torch("weights") if generators else None
        return make_supernet(self.space, *sizes, generator=weights)

    def steps(self, epochs: int, batch_size: int) -> int:
        """Steps of so many passes over the images that weights are trained on."""
        return epochs * -(-len(self.train) // batch_size)

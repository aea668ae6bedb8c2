"""Data sets as uint8 tensors on the device, with splits and batches; all of it batched tensor operations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from hnas_kit.data.rendering import Render
from hnas_kit.errors import HnasError, said
from hnas_kit.processes.distributed import LONE, Team
from hnas_kit.randomness import Generators


@dataclass(frozen=True)
class Split:
    """Images uint8 (N, C, H, W) and labels int64 (N,), on one device."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor) -> Split:
        index = index.to(self.labels.device)
        return Split(self.images[index], self.labels[index])


@dataclass(frozen=True)
class Dataset:
    """A training and a test set, and how an image becomes the network's input.

    Attributes:
        name: the name that parameters and artefacts use.
        classes: class names, by label.
        train: images for search and training.
        test: images for final figures only.
        render: augmentation and normalisation of a batch.
        image_size: height and width of the network's input, pixels.
        views: times each image is drawn into a fixed evaluation set (more than one only where drawing
            is random there too).
        first_half: so many training images, from the start, are for search training and the others for
            validation (of a set in ``SHUFFLED``); None splits them at random.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    test: Split
    render: Render
    image_size: int
    views: int = 1
    first_half: int | None = None

    @property
    def device(self) -> torch.device:
        """Where batches are used."""
        return self.train.labels.device

    @property
    def in_channels(self) -> int:
        return self.train.images.shape[1]

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    def mistake(self) -> str:
        """What is wrong about it, in words; empty if a network can be trained on it."""
        for name, split in {"train": self.train, "test": self.test}.items():
            x, y = split.images, split.labels
            if x.dtype != torch.uint8 or x.dim() != 4 or x.shape[2] != x.shape[3]:
                return f"{name}.images is {x.dtype} {tuple(x.shape)}; it must be torch.uint8 (N, C, H, H)"
            if y.dtype != torch.int64 or y.shape != x.shape[:1]:
                return f"{name}.labels is {y.dtype} {tuple(y.shape)}; it must be torch.int64 ({len(x)},)"
            if len(y) < 2:
                return f"{name} has {len(y)} images"
            if y.min() < 0 or y.max() >= len(self.classes):
                return f"{name}.labels go from {y.min()} to {y.max()}; there are {len(self.classes)} classes"
        if self.train.images.shape[1] != self.test.images.shape[1]:
            return "images to train and to test have different numbers of channels"
        for train in (True, False):
            generator = torch.Generator(self.device).manual_seed(0)
            try:
                x = self.render(self.train.images[:2], generator, train)
            except Exception as error:
                return f"render raised {said(error)}"
            expected = (2, self.in_channels, self.image_size, self.image_size)
            if not isinstance(x, Tensor) or tuple(x.shape) != expected or not x.is_floating_point():
                found = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
                return f"render gives {found}; it must give floating point numbers {expected}"
        return ""

    def halves(self, generator: torch.Generator) -> tuple[Split, Split]:
        """The training set split 50/50 into search training and validation (Appendix B.1)."""
        if self.first_half is None:
            order, half = torch.randperm(len(self.train), generator=generator), len(self.train) // 2
        else:
            order, half = torch.arange(len(self.train)), self.first_half
        return self.train.take(order[:half]), self.train.take(order[half:])

    def batches(
        self, split: Split, batch_size: int, generators: Generators, name: str = "", train: bool = True
    ) -> Batches:
        """An endless stream of batches of a split, with generators of its own (called after ``name``)."""
        order = generators.torch(f"{name} order".lstrip())
        augment = generators.torch(f"{name} augment".lstrip(), split.labels.device)
        return Batches(split, self.render, batch_size, order, augment, train)

    def fixed(self, split: Split, limit: int | None = None) -> tuple[Tensor, Tensor]:
        """Input (M, C, H, W) and labels (M,) of a split, the same at every call: for comparing networks.

        Args:
            split: which images.
            limit: only this many of them, from the start (default: all).

        Raises:
            HnasError: if there are not that many.
        """
        if limit is not None and limit > len(split):
            raise HnasError(f"{limit} images are asked for, and there are {len(split)}")
        images, labels = split.images[:limit], split.labels[:limit]
        generator = torch.Generator(images.device).manual_seed(0)
        x = self.render(images.repeat(self.views, 1, 1, 1), generator, False)
        return x, labels.repeat(self.views)

    def pieces(self, split: Split, limit: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """What :meth:`fixed` gives, in pieces that fit in memory: here one."""
        yield self.fixed(split, limit)


class Batches:
    """An endless stream of shuffled, augmented batches; all of it in tensor operations on the device.

    Every epoch is a new permutation; the batch at its end is filled from the next one, so all batches
    are full.

    Args:
        split: the images.
        render: see :class:`Dataset`.
        batch_size: images a batch.
        order: generator of the permutations (CPU).
        augment: generator of the augmentation, on the images' device.
        train: whether ``render`` augments.

    Raises:
        HnasError: if the batch is larger than the split.
    """

    def __init__(
        self,
        split: Split,
        render: Render,
        batch_size: int,
        order: torch.Generator,
        augment: torch.Generator,
        train: bool = True,
    ) -> None:
        if not 1 <= batch_size <= len(split):
            raise HnasError(
                f"batch_size is {batch_size}; it must be from 1 to the {len(split)} images there are"
            )
        self.split, self.render, self.batch_size, self.train = split, render, batch_size, train
        self._order_generator, self._augment_generator = order, augment
        self._order = torch.empty(0, dtype=torch.int64)

    @property
    def device(self) -> torch.device:
        """Where the batches are."""
        return self.split.labels.device

    def __next__(self) -> tuple[Tensor, Tensor]:
        if len(self._order) < self.batch_size:
            epoch = torch.randperm(len(self.split), generator=self._order_generator)
            self._order = torch.cat([self._order, epoch])
        index, self._order = self._order[: self.batch_size], self._order[self.batch_size :]
        batch = self.split.take(index)
        return self.render(batch.images, self._augment_generator, self.train), batch.labels

    def share(self, team: Team = LONE, parts: int = 1) -> list[tuple[Tensor, Tensor]]:
        """What a process trains on of the next batch, cut into equal parts.

        Every process draws the whole batch, so its generators' states are those of all.

        Raises:
            HnasError: if parts or processes cannot be equal.
        """
        mine = team.mine(parts, self.batch_size)
        x, y = next(self)
        pieces = list(zip(x.chunk(parts), y.chunk(parts), strict=True))
        return [pieces[i] for i in mine]

    def state_dict(self) -> dict:
        return {"order": self._order.clone()}

    def load_state_dict(self, state: dict) -> None:
        self._order = state["order"].clone()

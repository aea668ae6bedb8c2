"""Images too many for memory: decoded as they are needed, by processes beside the training."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from hnas_kit.data.rendering import photo_render
from hnas_kit.data.sources import Part
from hnas_kit.errors import HnasError
from hnas_kit.files import first_line
from hnas_kit.processes.distributed import LONE, Team
from hnas_kit.randomness import Generators

if TYPE_CHECKING:  # it takes more than a second, and is imported where it is used
    from torchvision.transforms import v2

# of ImageNet's training images, as in torchvision.transforms._presets.ImageClassification
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
GRAY_MEAN, GRAY_STD = (0.449,), (0.226,)  # means of these
SIZE = 224  # of an image, pixels (facts of the ImageNet space)
MARGIN = 256 / 224  # shorter side to the window cut from its middle, in evaluation (the same presets)
HELD_OUT = 50_000  # training images for the reward, of 1.28 million (Su et al., CVPR 2021)
PIECE = 250  # images that are evaluated at a time, at most

Place = tuple[int, int]  # (epoch, position in a part)


class Decoder(torch.utils.data.Dataset):
    """Micro-batches of a part, uint8 (B, C, size, size) and labels (B,); an image's randomness is its own.

    ``transform`` may draw from PyTorch's generator, seeded for each image by ``seed``, epoch and position.
    """

    def __init__(self, part: Part, transform: "v2.Transform", seed: int) -> None:
        self.part, self.transform, self.seed = part, transform, seed

    def __getitem__(self, places: Sequence[Place]) -> tuple[Tensor, Tensor] | HnasError:
        from torchvision.transforms.v2.functional import pil_to_tensor

        images = []
        with torch.random.fork_rng(devices=[]):  # torchvision draws from the process's own generator
            for epoch, position in places:
                source, i = self.part.source, int(self.part.index[position])
                try:
                    image = source.read(i)
                except Exception as error:  # a broken file may raise anything
                    # returned: a DataLoader would wrap what is raised in the trace of its process
                    said = f"is not an image that can be read ({first_line(error)})"
                    return HnasError(f"{source.name(i)} {said}")
                state = np.random.SeedSequence((self.seed, epoch, position)).generate_state(1, np.uint64)
                torch.default_generator.manual_seed(int(state[0]) >> 1)
                images.append(self.transform(pil_to_tensor(image)))
        return torch.stack(images), self.part.labels[[position for _, position in places]]


class Stream:
    """An endless stream of shuffled batches, the same whatever the number of processes.

    The order follows from the seed and the epoch, an image's augmentation from these and its position, so
    the number of batches that were taken is all of the state. As in :class:`hnas_kit.data.Batches`, the
    batch at the end of an epoch is filled from the next one. A picture that cannot be read is named in an
    :class:`HnasError`. ``order`` is the order's seed; for ``workers`` see :class:`StreamedDataset`.
    """

    def __init__(
        self, decoder: Decoder, order: int, batch_size: int, device: torch.device, workers: int
    ) -> None:
        images = len(decoder.part)
        if not 1 <= batch_size <= images:
            raise HnasError(f"batch_size is {batch_size}; it must be from 1 to the {images} images there are")
        self.split, self.batch_size, self.device, self.workers = decoder.part, batch_size, device, workers
        self._decoder, self._order = decoder, order
        self.load_state_dict({"step": 0})

    def __next__(self) -> tuple[Tensor, Tensor]:
        return self.share()[0]

    def share(self, team: Team = LONE, parts: int = 1) -> list[tuple[Tensor, Tensor]]:
        """As :meth:`hnas_kit.data.Batches.share`; no other images are read."""
        mine = team.mine(parts, self.batch_size)
        if self._cut != (mine, parts):
            self._cut = mine, parts
            self._running = read(self._decoder, self._places(mine, parts), self.device, self.workers)
        batch = [next(self._running) for _ in mine]
        self._step += 1
        return batch

    def _places(self, mine: Sequence[int], parts: int) -> Iterator[list[Place]]:
        """What each of ``mine`` of a step's parts holds, from the next step on, without end.

        It holds nothing of the stream: one that is dropped ends its processes at once.
        """
        images, size, seed = len(self.split), self.batch_size // parts, self._order

        @lru_cache(maxsize=2)  # a batch may reach into the next epoch
        def order(epoch: int) -> np.ndarray:
            return np.random.default_rng((seed, epoch)).permutation(images)

        def part_of(number: int) -> list[Place]:
            taken = (divmod(k, images) for k in range(number * size, (number + 1) * size))
            return [(epoch, int(order(epoch)[k])) for epoch, k in taken]

        return (part_of(step * parts + part) for step in itertools.count(self._step) for part in mine)

    def state_dict(self) -> dict:
        return {"step": self._step}

    def load_state_dict(self, state: dict) -> None:
        self._step, self._cut, self._running = state["step"], None, iter(())


def read(
    decoder: Decoder, asked: Iterable[list[Place]], device: torch.device, workers: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Normalised images (B, 3, size, size), channels last in memory, and labels (B,), on the device."""
    loader = DataLoader(
        decoder,
        batch_size=None,  # what is asked for is a batch already
        sampler=asked,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # or starting it would draw from the process's own
    )
    moments = (MEAN, STD) if decoder.part.source.channels == 3 else (GRAY_MEAN, GRAY_STD)
    mean, std = (torch.tensor(values, device=device) for values in moments)
    normalise, batches = photo_render(mean, std), iter(loader)
    try:
        for batch in batches:
            if isinstance(batch, HnasError):
                raise HnasError(str(batch))
            images, labels = (tensor.to(device, non_blocking=True) for tensor in batch)
            yield normalise(images, None, False), labels
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        advice = f"perhaps for want of memory: try fewer workers ({first_line(error)})"
        raise HnasError(f"a process that reads images died, {advice}") from error
    finally:
        del batches  # ends the processes now, however long the trace of an error is kept


@dataclass(frozen=True)
class StreamedDataset:
    """A data set that is read as it is used; see :class:`hnas_kit.data.Dataset`.

    Training images are cut at random (scale 0.08 to 1, ratio 3/4 to 4/3) and mirrored, others cut from the
    middle.
    """

    name: str
    classes: tuple[str, ...]
    train: Part
    test: Part
    image_size: int
    device: torch.device  # where batches go
    workers: int  # processes that read images, for each stream; 0: the one that asks for them
    in_channels: int = 3

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    def halves(self, generator: torch.Generator) -> tuple[Part, Part]:
        """Training images for the search, and the ``HELD_OUT`` for validation, at most half.

        Every class gives its share, to within an image. Both are in the order of the training images.
        """
        images = len(self.train)
        held_out = min(HELD_OUT, images // 2)
        shuffled = torch.randperm(images, generator=generator)
        by_class = shuffled[torch.argsort(self.train.labels[shuffled], stable=True)]
        counted = torch.arange(images + 1) * held_out // images
        chosen = counted[1:] > counted[:-1]
        train, valid = (by_class[mask].sort().values for mask in (~chosen, chosen))
        return self.train.take(train), self.train.take(valid)

    def _decoder(self, split: Part, train: bool, seed: int = 0) -> Decoder:
        from torchvision.transforms import v2

        size = self.image_size
        steps = [v2.RandomResizedCrop(size), v2.RandomHorizontalFlip()]
        if not train:
            steps = [v2.Resize(round(size * MARGIN)), v2.CenterCrop(size)]
        return Decoder(split, v2.Compose(steps), seed)

    def batches(
        self, split: Part, batch_size: int, generators: Generators, name: str = "", train: bool = True
    ) -> Stream:
        """An endless stream of batches of a split, with seeds of its own (called after ``name``)."""
        names = (f"{name} {use}".lstrip() for use in ("order", "augment"))
        order, augment = (generators.torch(name).initial_seed() for name in names)
        decoder = self._decoder(split, train, augment)
        return Stream(decoder, order, batch_size, self.device, self.workers)

    def pieces(self, split: Part, limit: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """What :meth:`fixed` gives, in pieces of equal size (to within an image)."""
        count = len(split) if limit is None else limit
        if not 1 <= count <= len(split):
            raise HnasError(f"{limit} images are asked for, and there are {len(split)}")
        pieces = np.array_split(range(count), -(-count // PIECE))  # BatchNorm has statistics of each
        cut = [[(0, int(k)) for k in piece] for piece in pieces]
        return read(self._decoder(split, train=False), cut, self.device, self.workers)

    def fixed(self, split: Part, limit: int | None = None) -> tuple[Tensor, Tensor]:
        """As :meth:`hnas_kit.data.Dataset.fixed`; each image takes 0.6 MB at 224 pixels."""
        x, y = zip(*self.pieces(split, limit), strict=True)
        return torch.cat(x), torch.cat(y)

"""How fast the kit trains a supernet, beside what the network alone allows and beside the usual loader.

Images per second of single-path training on CIFAR-10's geometry (Pooling supernet of full width, 32x32
colour images, batches of 256, SGD with Nesterov momentum), three ways with the same architectures and the
same initial weights:

- ``kit``: ``hnas_kit.training.train`` with its batches and its augmentation (crop, mirroring,
  normalisation);
- ``bare``: forward pass, backward pass and optimiser step on one ready tensor: what no data handling and
  no bookkeeping would give;
- ``loader``: the same bare step fed by torchvision's transforms on PIL images in a ``DataLoader`` with one
  worker per core.

The ways take turns within one run, first untimed warm-up steps, then timed ones, so that a drift of the
machine meets all of them; a ratio is the median of the ratios inside one turn. Images are random, which costs
the same as real ones. Prints one JSON object.

    python performance/train_step.py [--quick] [--steps N] [--repeats N] [--device auto|cpu|cuda]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torchvision import transforms

from hnas_kit.data import Batches, Split
from hnas_kit.data.rendering import photo_render
from hnas_kit.processes.parallel import cores
from hnas_kit.provenance import provenance
from hnas_kit.randomness import Generators
from hnas_kit.samplers import Uniform
from hnas_kit.spaces import make_space
from hnas_kit.supernets import Supernet, make_supernet, skeleton
from hnas_kit.training import pick_device, train

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # CIFAR-10's
LR, WEIGHT_DECAY, MOMENTUM = 0.05, 1.0e-3, 0.9
SPACE = make_space("pooling")


class PhotoFiles(torch.utils.data.Dataset):
    """Images (N, H, W, C) as the usual loader has them: one PIL image at a time, transformed on the CPU."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self.images, self.labels = images, labels
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, 4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.images[i])), int(self.labels[i])


def random_split(images: int, device: torch.device, size: int = 32) -> Split:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (images, 3, size, size), generator=generator, dtype=torch.uint8)
    return Split(pixels.to(device), torch.randint(10, (images,), generator=generator).to(device))


def new_net(width: int) -> Supernet:
    return make_supernet(SPACE, width=width, generator=torch.Generator().manual_seed(1))


def kit_batches(split: Split, batch_size: int) -> Batches:
    generators, device = Generators(0), split.labels.device
    render = photo_render(torch.tensor(MEAN, device=device), torch.tensor(STD, device=device))
    return Batches(split, render, batch_size, generators.torch("order"), generators.torch("augment", device))


def architectures(steps: int) -> list[tuple[int, ...]]:
    sampler, rng = Uniform(SPACE.enumerate()), np.random.default_rng(2)
    return [sampler.sample(rng) for _ in range(steps)]


class Clock:
    """Seconds from the end of the warm-up steps to the end of all steps."""

    def __init__(self, warm_up: int, device: torch.device) -> None:
        self.warm_up, self.device = warm_up, device

    def now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def begin(self, step: int) -> None:
        """To be called at the start of every step."""
        if step == self.warm_up:
            self.start = self.now()

    def end(self) -> float:
        return self.now() - self.start


def kit(batches: Batches, width: int, archs: list, warm_up: int) -> float:
    """Seconds that the steps after the warm-up take in the kit's training loop."""
    clock = Clock(warm_up, batches.split.labels.device)

    def choose(step: int) -> tuple[int, ...]:
        clock.begin(step)
        return archs[step]

    train(new_net(width), batches, choose, len(archs), lr=LR, weight_decay=WEIGHT_DECAY, momentum=MOMENTUM)
    return clock.end()


def plain(batches: Iterator, device: torch.device, width: int, archs: list, warm_up: int) -> float:
    """Seconds that the steps after the warm-up take in the shortest loop there is."""
    clock = Clock(warm_up, device)
    net = new_net(width).to(device, memory_format=torch.channels_last).train()
    optimiser = torch.optim.SGD(
        net.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=True
    )
    for step, arch in enumerate(archs):
        clock.begin(step)
        x, y = next(batches)
        x = x.to(device, non_blocking=True, memory_format=torch.channels_last)
        loss = F.cross_entropy(net(x, arch), y.to(device, non_blocking=True))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    return clock.end()


def usual_loader(split: Split, batch_size: int, batches: int, workers: int) -> Iterator:
    dataset = PhotoFiles(split.images.permute(0, 2, 3, 1).cpu().numpy(), split.labels.cpu().numpy())
    # one long epoch, so that starting the workers is not part of any turn
    order = torch.utils.data.RandomSampler(dataset, replacement=True, num_samples=batch_size * batches)
    return iter(
        torch.utils.data.DataLoader(
            dataset,
            batch_size,
            sampler=order,
            num_workers=workers,
            pin_memory=split.labels.device.type == "cuda",
        )
    )


def measure(
    device: torch.device, width: int, batch_size: int, images: int, steps: int, warm_up: int, repeats: int
) -> dict[str, list[float]]:
    """Images per second of each way, one value a turn."""
    split = random_split(images, device)
    batches, archs = kit_batches(split, batch_size), architectures(warm_up + steps)
    workers = cores()
    queue = 2 * workers  # batches that a DataLoader makes ahead
    loader = usual_loader(split, batch_size, repeats * (warm_up + steps) + queue, workers)
    ready = next(batches)

    def ready_for_ever() -> Iterator:
        while True:
            yield ready

    ways: dict[str, Callable[[], float]] = {
        "kit": lambda: kit(batches, width, archs, warm_up),
        "bare": lambda: plain(ready_for_ever(), device, width, archs, warm_up),
        "loader": lambda: plain(loader, device, width, archs, warm_up),
    }
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    ways["bare"]()  # the first run of each architecture prepares its convolutions
    names = list(ways)
    for turn in range(repeats):
        for name in names[turn % 3 :] + names[: turn % 3]:
            speeds[name].append(steps * batch_size / ways[name]())
            if name == "loader":
                time.sleep(1.0)  # its workers fill the queue again: not on the next one's time
    return speeds


def median_ratio(above: list[float], below: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tiny network and few steps, to see it work")
    parser.add_argument("--steps", type=int, help="timed steps a turn (default: 8 on a CPU, 200 on a GPU)")
    parser.add_argument("--repeats", type=int, help="turns of each way (default: 7)")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    options = parser.parse_args()
    device = pick_device(options.device)
    gpu = device.type == "cuda"
    parameters = {
        "width": 4 if options.quick else skeleton(SPACE).width,
        "batch_size": 32 if options.quick else 256,
        "images": 256 if options.quick else 10_000,
        "steps": options.steps or (2 if options.quick else 200 if gpu else 8),
        "warm_up": 50 if gpu and not options.quick else 1,
        "repeats": options.repeats or (2 if options.quick else 7),
    }
    speeds = measure(device, **parameters)
    result = {
        "benchmark": "train_step",
        "parameters": parameters | {"image_size": 32, "in_channels": 3, "quick": options.quick},
        "device": torch.cuda.get_device_name() if gpu else "cpu",
        "threads": torch.get_num_threads(),
        "images_per_second": {name: round(statistics.median(v), 1) for name, v in speeds.items()},
        "images_per_second_of_each_turn": {name: [round(x, 1) for x in v] for name, v in speeds.items()},
        "ratio": {
            "kit_to_bare": round(median_ratio(speeds["kit"], speeds["bare"]), 4),
            "kit_to_loader": round(median_ratio(speeds["kit"], speeds["loader"]), 4),
        },
        "required": {"kit_to_bare": 0.95},
        "provenance": provenance(),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()

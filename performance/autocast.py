"""What half precision gains in speed and costs in accuracy, for one training step of each space's supernet.

Images per second of ``hnas_kit.training.train`` (supernets of full width, random architectures) in float32,
bfloat16 and float16, and the training loss of the last quarter of the steps beside that of float32: every
precision starts from the same weights and sees the same images and architectures. The precisions take turns;
a ratio is the median of the ratios inside one turn. Images are random. Prints one JSON object.

    python performance/autocast.py [--quick] [--steps N] [--repeats N] [--device auto|cpu|cuda]
"""

from __future__ import annotations

import argparse
import json
import statistics

import numpy as np
import torch
from train_step import Clock, kit_batches, median_ratio, random_split

from hnas_kit.data import Batches
from hnas_kit.provenance import provenance
from hnas_kit.spaces import Arch, make_space
from hnas_kit.supernets import make_supernet, skeleton
from hnas_kit.training import PRECISIONS, pick_device, train

IMAGE_SIZE = {"pooling": 32, "macro": 32, "mobile": 224}


def draw(name: str, steps: int) -> list[Arch]:
    space, rng, archs = make_space(name), np.random.default_rng(0), []
    while len(archs) < steps:
        arch = tuple(int(rng.integers(len(ops))) for ops in space.ops)
        if space.is_valid(arch):
            archs.append(space.canonical(arch))
    return archs


def photos(images: int, size: int, batch_size: int, device: torch.device) -> Batches:
    """Batches of random images of ten classes, augmented as photographs are."""
    return kit_batches(random_split(images, device, size), batch_size)


def measure(name: str, quick: bool, steps: int, repeats: int, device: torch.device) -> dict:
    gpu = device.type == "cuda"
    width = 4 if quick else skeleton(make_space(name)).width
    size = 32 if quick else IMAGE_SIZE[name]
    batch_size = 8 if quick else 256 if gpu else 512 // size
    warm_up = 50 if gpu and not quick else 1
    archs = draw(name, warm_up + steps)
    speeds: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
    last: dict[str, float] = {}

    def turn(precision: str, archs: list[Arch]) -> None:
        net = make_supernet(make_space(name), width=width, generator=torch.Generator().manual_seed(1))
        clock = Clock(warm_up, device)

        def choose(step: int) -> Arch:
            clock.begin(step)
            return archs[step]

        batches = photos(2 * batch_size, size, batch_size, device)
        losses = train(net, batches, choose, len(archs), lr=0.01, weight_decay=1e-4, precision=precision)
        speeds[precision].append(steps * batch_size / clock.end())
        last[precision] = float(np.mean(losses[-max(steps // 4, 1) :]))

    names = list(PRECISIONS)
    for i in range(repeats):
        for precision in names[i % 3 :] + names[: i % 3]:
            turn(precision, archs)
    return {
        "width": width,
        "image_size": size,
        "batch_size": batch_size,
        "images_per_second": {name: round(statistics.median(v), 1) for name, v in speeds.items()},
        "ratio": {
            half: round(median_ratio(speeds[half], speeds["float32"]), 3) for half in ("bfloat16", "float16")
        },
        "loss": {name: round(loss, 4) for name, loss in last.items()},
        "loss_difference": {half: round(last[half] - last["float32"], 4) for half in ("bfloat16", "float16")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny networks and few steps, to see it work")
    parser.add_argument("--steps", type=int, help="timed steps a turn (default: 4 on a CPU, 200 on a GPU)")
    parser.add_argument("--repeats", type=int, help="turns of each precision (default: 3)")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    options = parser.parse_args()
    device = pick_device(options.device)
    gpu = device.type == "cuda"
    steps = options.steps or (4 if options.quick else 200 if gpu else 4)
    repeats = options.repeats or (1 if options.quick else 3)
    result = {
        "benchmark": "autocast",
        "parameters": {"steps": steps, "repeats": repeats, "quick": options.quick},
        "device": torch.cuda.get_device_name() if gpu else "cpu",
        "threads": torch.get_num_threads(),
        "spaces": {name: measure(name, options.quick, steps, repeats, device) for name in IMAGE_SIZE},
        "provenance": provenance(),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()

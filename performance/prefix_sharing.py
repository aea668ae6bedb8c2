"""What computing common prefixes once saves when all architectures of a space are compared.

Seconds for the outputs of all 3,969 networks of NAS-Bench-Macro and of all 36 of the Pooling space (full
width, a batch of 64 colour images of 32x32) by ``hnas_kit.evaluation.outputs``, beside the plain loop over
architectures, measured on random samples and scaled up; the two take turns. Also the ratio of their MACs and
the largest difference of their outputs. Images and weights are random. Prints one JSON object.

    python performance/prefix_sharing.py [--quick] [--threads N]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import numpy as np
import torch

from hnas_kit import cost, evaluation
from hnas_kit.provenance import provenance
from hnas_kit.spaces import Arch, SearchSpace, make_space
from hnas_kit.supernets import make_supernet, skeleton
from hnas_kit.training import pick_device


def shared_macs(space: SearchSpace, archs: list[Arch], width: int) -> tuple[float, float]:
    """MACs for one image of all architectures, one by one and with every prefix computed once."""
    table = cost.table(space.name, width)
    prefixes: dict[Arch, int] = {}
    for arch in archs:
        _, *layers, head = table.parts(arch)
        prefixes |= {arch[: i + 1]: macs for i, macs in enumerate(layers)}
    stem = table.parts(archs[0])[0]
    return sum(table.macs(arch) for arch in archs), stem + sum(prefixes.values()) + head * len(archs)


def seconds_since(start: float, device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def compare(name: str, quick: bool, device: torch.device) -> dict:
    space = make_space(name)
    width, batch_size = (4, 8) if quick else (skeleton(space).width, 64)
    turns, size = (2, 5) if quick else (4, 30)
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    net = make_supernet(space, width=width, generator=generator)
    net.to(device, memory_format=torch.channels_last)
    x = torch.randn(batch_size, 3, 32, 32, generator=generator)
    x = x.to(device, memory_format=torch.channels_last)
    archs = space.enumerate()[:: 60 if quick and name == "macro" else 1]
    evaluation.outputs(net, archs[:size], x)  # the first run of each layer prepares its convolutions
    loop, walk, difference = [], [], 0.0
    for turn in range(turns):
        sample = rng.permutation(len(archs))[:size]
        start = time.perf_counter()
        alone = [evaluation.outputs(net, [archs[i]], x)[0] for i in sample]
        loop.append(seconds_since(start, device) / len(sample) * len(archs))
        if turn == 0 or len(archs) < 100:
            start = time.perf_counter()
            together = evaluation.outputs(net, archs, x)
            walk.append(seconds_since(start, device))
        difference = max(difference, float((together[sample] - torch.stack(alone)).abs().max()))
    alone_macs, shared = shared_macs(space, archs, width)
    return {
        "architectures": len(archs),
        "width": width,
        "batch_size": batch_size,
        "sample": turns * size,
        "loop_seconds": round(statistics.median(loop), 2),
        "shared_seconds": round(statistics.median(walk), 2),
        "ratio": round(statistics.median(loop) / statistics.median(walk), 2),
        "macs_ratio": round(alone_macs / shared, 2),
        "gmacs_an_image": [round(alone_macs / 1e9, 1), round(shared / 1e9, 1)],
        "largest_difference": difference,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small networks, to see it work")
    parser.add_argument("--threads", type=int, default=0, help="of PyTorch (default: all cores)")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    device = pick_device(options.device)
    result = {
        "benchmark": "prefix_sharing",
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "parameters": {"quick": options.quick},
        "spaces": {name: compare(name, options.quick, device) for name in ("pooling", "macro")},
        "required": {"pooling": 2.0, "macro": 3.3},
        "provenance": provenance(),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()

"""What drawing an architecture from a large tree and learning from its reward cost.

Samples and updates per second of ``hnas_kit.samplers.MCTS`` on a learned tree of 4,000 leaves (clustered from
random output vectors; one thread), and the share of a real training step (Pooling supernet of full width,
32x32 colour images, batches of 256, measured in the same run with all of PyTorch's threads) that one sample
with its update costs. Prints one JSON object.

    python performance/tree_ops.py [--quick]
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time

import numpy as np
import torch
from train_step import architectures, kit, kit_batches, random_split

from hnas_kit import distances, trees
from hnas_kit.provenance import provenance
from hnas_kit.samplers import MCTS
from hnas_kit.spaces import make_space
from hnas_kit.supernets import skeleton
from hnas_kit.training import pick_device


def random_learned_tree(leaves: int) -> trees.ArchTree:
    """A tree clustered from random class probabilities of 8 images, over codes of 8 layers with 3 choices."""
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(2 * rng.standard_normal((leaves, 8, 10)))
    archs = list(itertools.islice(itertools.product(range(3), repeat=8), leaves))
    return trees.learned(distances.from_outputs(torch.softmax(logits, dim=2)), archs)


def seconds_per_operation(tree: trees.ArchTree, operations: int, repeats: int) -> list[float]:
    """Seconds of one sample and one update, the search going on from repeat to repeat."""
    rng = np.random.default_rng(1)
    quality = dict(zip(tree.archs, rng.uniform(0.5, 0.7, tree.num_leaves).tolist(), strict=True))
    sampler = MCTS(tree)
    result = []
    for repeat in range(repeats + 1):
        start = time.perf_counter()
        for _ in range(operations):
            arch = sampler.sample(rng)
            sampler.update(arch, quality[arch])
        if repeat:  # the first one compiles
            result.append((time.perf_counter() - start) / operations)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small tree and network, to see it work")
    options = parser.parse_args()
    quick, device = options.quick, pick_device("auto")
    gpu = device.type == "cuda"
    leaves, operations, repeats = (200, 500, 2) if quick else (4000, 20_000, 7)
    width, batch_size, steps = (4, 32, 2) if quick else (skeleton(make_space("pooling")).width, 256, 4)
    warm_up = 20 if gpu else 1
    tree = random_learned_tree(leaves)
    batches = kit_batches(random_split(10 * batch_size, device), batch_size)
    archs = architectures(warm_up + steps)
    kit(batches, width, archs, warm_up)  # the first run of each architecture prepares its convolutions
    step = kit(batches, width, archs, warm_up) / steps
    operation = statistics.median(seconds_per_operation(tree, operations, repeats))
    result = {
        "benchmark": "tree_ops",
        "parameters": {
            "leaves": leaves,
            "depth": tree.depth,
            "operations": operations,
            "repeats": repeats,
            "width": width,
            "batch_size": batch_size,
            "steps": steps,
            "quick": quick,
        },
        "threads": 1,
        "sample_and_update_per_second": round(1 / operation),
        "sample_and_update_microseconds": round(1e6 * operation, 2),
        "train_step": {
            "device": torch.cuda.get_device_name() if gpu else "cpu",
            "threads": torch.get_num_threads(),
            "seconds": round(step, 4),
        },
        "ratio": {"sample_and_update_to_train_step": float(f"{operation / step:.3g}")},
        "required": {"sample_and_update_per_second": 50_000},
        "provenance": provenance(),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()

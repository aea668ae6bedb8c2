"""What the distances and the tree of many architectures cost: seconds and peak memory.

Random output vectors of N architectures (10 classes, 64 images), each N in a process of its own: the
distances of ``hnas_kit.distances`` and the tree of ``hnas_kit.trees`` up to 10,000, and the tree of groups of
``hnas_kit.trees.large_trees`` beyond. How far the latter is from the exact one is told on the outputs of the
3,969 networks of NAS-Bench-Macro, those of a run if given: correlation of the cophenetic distances, and
adjusted Rand index of the cuts into 10 and 100 clusters; also between the trees of two seeds of k-means.
Seconds of outputs (full width) and trees of 250 to 3,969 networks give a and b of a N^2 + b N (Appendix
C.5). Prints one JSON object.

    python performance/clustering.py [--quick] [--outputs outputs/RUN/02_distances/outputs.npz]
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from hnas_kit import distances, trees  # others where they are needed: what is loaded counts as memory, too

EXACT = 10_000  # architectures, at most
REQUIRED = {"3969": {"seconds": 20, "peak_gb": 1}, "100000": {"seconds": 900, "peak_gb": 6}}


def random_outputs(n: int) -> np.ndarray:
    """(N, 64, 10) float32: some hundreds of centres and noise, as different architectures have."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((300, 64, 10), dtype=np.float32)
    logits = centres[rng.integers(300, size=n)]
    logits += 0.5 * rng.standard_normal(logits.shape, dtype=np.float32)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=2, keepdims=True)
    return logits


def tree_of(n: int) -> dict:
    """Cluster n random outputs in this process."""
    outputs = random_outputs(n)
    archs = list(itertools.islice(itertools.product(range(10), repeat=6), n))
    before, start = peak_gb(), time.perf_counter()
    if n <= EXACT:
        matrix = distances.from_outputs(outputs)
        middle = time.perf_counter()
        tree = trees.learned(matrix, archs)
    else:
        from hnas_kit.trees import large_trees

        middle = start
        tree = large_trees.learned(outputs, archs)
    end = time.perf_counter()
    return {
        "architectures": n,
        "route": "exact" if n <= EXACT else "groups",
        "distance_seconds": round(middle - start, 2),
        "tree_seconds": round(end - middle, 2),
        "seconds": round(end - start, 2),
        "peak_gb": round(peak_gb(), 2),
        "before_gb": round(before, 2),
        "depth": tree.depth,
    }


def peak_gb() -> float:
    """Of this process, imports and the outputs themselves included.

    On Linux not by getrusage, whose peak begins with that of the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) / 2**20
    from hnas_kit.runs import peak_memory_mb

    return peak_memory_mb() / 2**10


def in_a_process(n: int) -> dict:
    command = [sys.executable, __file__, "--one", str(n)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def closeness(path: str | None, group: int, step: int) -> dict:
    """How far trees of groups are from the exact tree, and from each other."""
    import torch
    from scipy.cluster import hierarchy
    from sklearn.metrics import adjusted_rand_score

    from hnas_kit import evaluation
    from hnas_kit.spaces import make_space
    from hnas_kit.supernets import make_supernet
    from hnas_kit.trees import large_trees

    space = make_space("macro")
    archs = space.enumerate()[::step]
    if path:
        outputs = np.load(path)["outputs"][::step]
    else:
        net = make_supernet(space, width=4, generator=torch.Generator().manual_seed(0))
        x = torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(1))
        outputs = evaluation.outputs(net, archs, x).numpy()
    linkages = {"exact": trees.learned(distances.from_outputs(outputs), archs).to_linkage()}
    for seed in (0, 1):
        linkages[f"seed {seed}"] = large_trees.learned(outputs, archs, group=group, seed=seed).to_linkage()
    result = {"outputs": path or "of random weights", "architectures": len(archs), "group": group}
    for one, other in itertools.combinations(linkages, 2):
        a, b = linkages[one], linkages[other]
        heights = np.corrcoef(hierarchy.cophenet(a), hierarchy.cophenet(b))[0, 1]
        cuts = {
            f"adjusted_rand_{k}": round(
                float(adjusted_rand_score(*(hierarchy.fcluster(z, k, "maxclust") for z in (a, b)))), 3
            )
            for k in (10, 100)
        }
        result[f"{one} and {other}"] = {"cophenetic": round(float(heights), 3)} | cuts
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few architectures, to see it work")
    parser.add_argument("--outputs", metavar="FILE", help="outputs that 02_distances saved")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(tree_of(options.one)))
        return
    import torch

    from hnas_kit.provenance import provenance
    from hnas_kit.studies import complexity

    sizes = (200, 500) if options.quick else (3969, 10_000, 30_000, 100_000)
    counts = [50, 100] if options.quick else [250, 500, 1000, 2000, 3969]
    seconds = complexity.measure(counts, width=2 if options.quick else 32)
    a, b = complexity.fit(seconds)
    result = {
        "benchmark": "clustering",
        "parameters": {"quick": options.quick, "outputs": options.outputs},
        "threads": torch.get_num_threads(),
        "sizes": [in_a_process(n) for n in sizes],
        "closeness": closeness(options.outputs, *((40, 20) if options.quick else (500, 1))),
        "complexity": {"seconds": seconds.round(3).T.to_dict(), "a": a, "b": b, "paper": complexity.PAPER},
        "required": REQUIRED,
        "provenance": provenance(),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()

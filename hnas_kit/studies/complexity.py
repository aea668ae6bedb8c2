"""What a learned tree costs: outputs of N architectures, their distances, clustering (Appendix C.5)."""

import time
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from scipy.optimize import nnls

from hnas_kit import distances, evaluation, trees
from hnas_kit.errors import HnasError
from hnas_kit.spaces import make_space
from hnas_kit.supernets import make_supernet

PAPER = {"a": 1e-8, "b": 0.01}  # seconds, for its ImageNet experiments


def measure(sizes: Sequence[int], width: int = 8, images: int = 64) -> pd.DataFrame:
    """Time both steps on networks of NAS-Bench-Macro with random weights and random 32x32 colour images.

    Args:
        sizes: numbers of architectures N, each at most 3,969; so many are drawn at random.
        width: of the supernet's stem.
        images: of the mini-batch.

    Returns:
        Indexed by N: ``outputs`` and ``tree``, seconds. Outputs are computed with common prefixes shared, so
        they cost less per architecture the more of a space there are.

    Raises:
        HnasError: for more architectures than there are.
    """
    space, rng = make_space("macro"), np.random.default_rng(0)
    everything, generator = space.enumerate(), torch.Generator().manual_seed(0)
    if max(sizes) > len(everything):
        raise HnasError(f"sizes has {max(sizes)}; there are {len(everything):,} architectures")
    net = make_supernet(space, width=width, generator=generator)
    net.to(memory_format=torch.channels_last)
    x = torch.randn(images, 3, 32, 32, generator=generator).contiguous(memory_format=torch.channels_last)
    evaluation.outputs(net, everything[:20], x)  # the first run of each layer prepares its convolutions
    rows = {}
    for n in sizes:
        archs = [everything[i] for i in rng.permutation(len(everything))[:n]]
        start = time.perf_counter()
        outputs = evaluation.outputs(net, archs, x)
        middle = time.perf_counter()
        trees.learned(distances.from_outputs(outputs), archs)
        rows[n] = {"outputs": middle - start, "tree": time.perf_counter() - middle}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("architectures")


def fit(seconds: pd.DataFrame) -> tuple[float, float]:
    """a and b, not negative, of a N^2 + b N closest to the relative size of the measured sums."""
    n, total = seconds.index.to_numpy(dtype=float), seconds.sum(axis=1).to_numpy()
    (a, b), _ = nnls(np.column_stack([n**2, n]) / total[:, None], np.ones(len(n)))
    return float(a), float(b)

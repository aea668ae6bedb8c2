"""How different two architectures are: distances between their outputs (Sec. 4, Table 2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import pdist, squareform

from hnas_kit.errors import HnasError, require_one_of

MEASURES = ("kl", "l2", "cross_entropy")


def from_outputs(outputs: ArrayLike, measure: str = "kl") -> np.ndarray:
    """Pairwise distances D_ij = dist(o_i, o_j) of Algorithm 1.

    The distance of two distributions over classes is averaged over the images:

    - ``kl``: sum_c p log(p / q); ``cross_entropy``: -sum_c p log q. Both made symmetric,
      (d(i,j) + d(j,i)) / 2; the cross-entropy of an output with itself, its entropy, is set to 0.
    - ``l2``: Euclidean norm of p - q.

    The paper says neither how it makes them symmetric nor how it averages; these are this kit's choices.

    Args:
        outputs: (N, B, C) class probabilities of N architectures for B images.
        measure: one of ``MEASURES``.

    Returns:
        (N, N) float64, symmetric, not negative, zero diagonal.

    Raises:
        HnasError: for an unknown measure, or values that are not probabilities.
    """
    require_one_of("distance measure", measure, MEASURES)
    p = np.asarray(outputs, dtype=np.float64)
    if p.ndim != 3 or min(p.shape) < 1:
        raise HnasError(f"outputs have shape {p.shape}; they must be (architectures, images, classes)")
    if not (np.all(p >= 0) and np.allclose(p.sum(axis=2), 1, atol=1e-3)):
        raise HnasError("outputs must be probabilities: not negative, and adding up to 1 over the classes")
    n, images, _ = p.shape
    if measure == "l2":
        return squareform(sum(pdist(p[:, b]) for b in range(images)) / images)
    logs = np.log(np.maximum(p, np.finfo(np.float32).tiny))  # a probability may have underflowed to 0
    cross = (
        p.reshape(n, -1) @ logs.reshape(n, -1).T / images
    )  # cross[i, j] = mean over images of sum_c p_i log p_j
    cross = (cross + cross.T) / 2
    negative_entropy = np.diag(cross)
    distances = -cross
    if measure == "kl":
        distances += (negative_entropy[:, None] + negative_entropy[None, :]) / 2
    np.fill_diagonal(distances, 0)
    return np.maximum(distances, 0)  # rounding may leave -1e-17 between equal outputs

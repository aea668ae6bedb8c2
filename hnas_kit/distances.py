"""How different two architectures are, by their outputs or by their codes (Sec. 4, Tables 2 and 3)."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import pdist, squareform

from hnas_kit.errors import HnasError, require_one_of
from hnas_kit.names import MEASURES

ROOTS = ("sqrt_kl", "hellinger")
BLOCK = 1024  # rows and columns that are computed at once, so that nothing but the result is N x N


def probabilities(outputs: ArrayLike, measure: str) -> np.ndarray:
    """Outputs of which distances can be made; raises :class:`HnasError` as :func:`from_outputs` does."""
    require_one_of("distance measure", measure, MEASURES)
    p = np.asarray(outputs, dtype=np.float64)
    if p.ndim != 3 or min(p.shape) < 1:
        raise HnasError(f"outputs have shape {p.shape}; they must be (architectures, images, classes)")
    if not (np.all(p >= 0) and np.allclose(p.sum(axis=2), 1, atol=1e-3)):
        raise HnasError("outputs must be probabilities: not negative, and adding up to 1 over the classes")
    return p


def from_outputs(outputs: ArrayLike, measure: str = "kl") -> np.ndarray:
    """Pairwise distances D_ij = dist(o_i, o_j) of Algorithm 1.

    The distance of two distributions over classes is averaged over the images:

    - ``kl``: sum_c p log(p / q); ``cross_entropy``: -sum_c p log q. Both made symmetric,
      (d(i,j) + d(j,i)) / 2; the cross-entropy of an output with itself, its entropy, is set to 0.
    - ``l2``: Euclidean norm of p - q.

    Ward's criterion is made for Euclidean distances. Two measures are near to one, or are one: roots of what
    is averaged over the images,

    - ``sqrt_kl``: of ``kl``;
    - ``hellinger``: of sum_c (sqrt p - sqrt q)^2 / 2.

    The paper has the first three. It says neither how it makes them symmetric nor how it averages, and names
    Ward's criterion without a root; these are this kit's choices.

    Args:
        outputs: (N, B, C) class probabilities of N architectures for B images.
        measure: one of ``MEASURES``.

    Returns:
        (N, N) float64, symmetric, not negative, zero diagonal.

    Raises:
        HnasError: for an unknown measure, or values that are not probabilities.
    """
    p = probabilities(outputs, measure)
    n, images, _ = p.shape
    if measure == "l2":
        return squareform(sum(pdist(p[:, b]) for b in range(images)) / images)
    if measure == "hellinger":
        left = right = np.sqrt(p).reshape(n, -1)
        own = (left**2).sum(axis=1) / images  # 1, but for rounding
    else:
        logs = np.log(np.maximum(p, np.finfo(np.float32).tiny))  # a probability may have underflowed to 0
        p, logs = p.reshape(n, -1), logs.reshape(n, -1)
        own = np.einsum("nd,nd->n", p, logs) / images  # its negative entropy
        left, right = np.hstack([p, logs]) / 2, np.hstack([logs, p])
    distances = np.empty((n, n))
    for i in range(0, n, BLOCK):
        for j in range(i, n, BLOCK):
            rows, columns = slice(i, i + BLOCK), slice(j, j + BLOCK)
            # mean over images of sum_c p log q, averaged over both ways; or of sum_c sqrt(p q)
            part = left[rows] @ right[columns].T / images
            if measure != "cross_entropy":
                part -= (own[rows, None] + own[None, columns]) / 2
            part = -(part + part.T) / 2 if i == j else -part  # rounding may differ by the way
            np.maximum(part, 0, out=part)  # and leave -1e-17 between equal outputs
            if measure in ROOTS:
                np.sqrt(part, out=part)
            distances[rows, columns], distances[columns, rows] = part, part.T
    np.fill_diagonal(distances, 0)
    return distances


def _column_layers(encodings: np.ndarray, kind: str) -> np.ndarray:
    """(D,) the layer of each column, from 0 on; of a one-hot encoding unless it is called or cannot be one.

    A layer of a one-hot encoding ends where all its rows have had their 1. Columns without a 1 may then count
    as the next layer's: no distance depends on them.
    """
    ones = np.cumsum(encodings, axis=1)
    layers = np.append(0, ones.min(axis=0)[:-1])  # a layer ends where all rows have had their 1
    one_hot = np.isin(encodings, (0, 1)).all() and (ones <= layers + 1).all() and not np.ptp(ones[:, -1])
    return layers if one_hot and kind != "vector" else np.arange(encodings.shape[1])


def from_encodings(encodings: ArrayLike, decay: float | None = None, kind: str = "") -> np.ndarray:
    """Pairwise L2 distances of encoded architectures: no network is needed (Sec. 5.2, Table 3).

    Args:
        encodings: (N, D) as :meth:`hnas_kit.spaces.SearchSpace.encode` gives them.
        decay: weigh layer l, counted from 1, with ``decay ** l`` (the paper: 1/2^l), so that early layers
            decide; None for all alike.
        kind: of the encoding, which says the columns of a layer; "" where zeros and ones alone tell it.

    Returns:
        (N, N) float64, symmetric, zero diagonal.

    Raises:
        HnasError: for another shape, or a decay that is not above 0 and at most 1.
    """
    encodings = np.asarray(encodings, dtype=np.float64)
    if encodings.ndim != 2 or min(encodings.shape) < 1:
        raise HnasError(f"encodings have shape {encodings.shape}; they must be (architectures, columns)")
    if decay is not None:
        if not 0 < decay <= 1:
            raise HnasError(f"decay is {decay}; it must be above 0 and at most 1, or None")
        encodings = encodings * decay ** (1 + _column_layers(encodings, kind))
    return squareform(pdist(encodings))

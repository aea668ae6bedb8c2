"""Samplers without a tree: uniform, independent layers, and a balanced mixture of supernets (Sec. 3)."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

from hnas_kit.errors import HnasError
from hnas_kit.samplers import compiled
from hnas_kit.samplers.sampler import Sampler, Smoothed
from hnas_kit.spaces import Arch, SearchSpace


class Uniform(Sampler):
    """All architectures alike (Sec. 3, "Uniform sampling"; Guo et al., 2020)."""

    weighs = False

    def sample(self, rng: np.random.Generator) -> Arch:
        return self.sample_uniform(rng)

    def probabilities(self) -> dict[Arch, float]:
        return dict.fromkeys(self.archs, 1 / len(self.archs))


class Independent(Smoothed):
    """Each layer has its own probabilities: p(a) = p(a_1) p(a_2) ... (Sec. 3, "independent probabilities").

    C of each operation of each layer is a moving average as in Eq. 4, and a layer's probabilities are its
    softmax at temperature T. Under a constraint the product holds for the allowed architectures, each in
    proportion; they are drawn exactly, by dynamic programming over the space's automaton.

    Args:
        space: the search space.
        beta: smoothing of C, from 0 to below 1.
        temperature: T, above 0.

    Attributes:
        value: one (operations,) array of C a layer, 1 at the start.
        padded: (layers, operations) the same, layers with fewer operations padded.
        transitions: (layers, states, operations) the automaton's, padded with -1.
    """

    def __init__(self, space: SearchSpace, beta: float = 0.95, temperature: float = 0.02) -> None:
        self.archs, self.beta = tuple(space.enumerate()), beta
        self.anneal(temperature)
        states = max(1 + space.transitions[-1].max(), *(len(table) for table in space.transitions))
        shape = len(space.ops), states, max(map(len, space.ops))
        self.transitions = np.full(shape, -1)
        for padded, table in zip(self.transitions, space.transitions, strict=True):
            padded[: table.shape[0], : table.shape[1]] = table
        self.padded = np.ones((shape[0], shape[2]))
        self._sizes = [len(names) for names in space.ops]

    @property
    def value(self) -> list[np.ndarray]:  # made anew: kept views would be cut off from ``padded`` in a copy
        return [row[:size] for row, size in zip(self.padded, self._sizes, strict=True)]

    def sample(self, rng: np.random.Generator) -> Arch:
        """Draw an architecture; takes one uniform number a layer."""
        tables, ops = np.empty(self.transitions.shape), np.empty(len(self._sizes), dtype=np.int64)
        compiled.conditionals(self.padded, self.transitions, self.temperature, tables)
        compiled.draw_layers(tables, self.transitions, rng.random(len(ops)), ops)
        return tuple(ops.tolist())

    def update(self, arch: Arch, reward: float) -> None:
        for value, op in zip(self.value, arch, strict=True):
            value[op] = self.beta * value[op] + (1 - self.beta) * reward

    def layer_probabilities(self) -> list[np.ndarray]:
        """One (operations,) array a layer: p(a_l), before any constraint."""
        return [softmax(value / self.temperature) for value in self.value]

    def _log_probabilities(self) -> np.ndarray:
        """(N,) of ``archs``, not normalised."""
        codes = np.array(self.archs)
        return sum(value[codes[:, layer]] for layer, value in enumerate(self.value)) / self.temperature

    def probabilities(self) -> dict[Arch, float]:
        return dict(zip(self.archs, softmax(self._log_probabilities()).tolist(), strict=True))

    def greedy(self) -> Arch:
        """The most probable architecture."""
        return self.archs[int(np.argmax(self._log_probabilities()))]


class Mixture(Smoothed, Uniform):
    """Uniform over architectures, each in one of M supernets that suits it (Roshtkhari et al., AutoML 2023).

    Per architecture and supernet a moving average C of the reward as in Eq. 4. Given the architecture, the
    supernet is drawn from the softmax of C over T, re-balanced so that on average every supernet is trained
    alike. The balance is what dividing columns by the marginal over supernets and normalising rows, again
    and again, converges to; it is found as the minimum of the convex dual, which is quick at any T.

    Args:
        archs: the architectures.
        models: M, at least 1; with one this is uniform sampling.
        beta: smoothing of C, from 0 to below 1.
        temperature: T, above 0.

    Attributes:
        value: (N, M) C, 1 at the start.
        visits: (N, M) rewards of each.
    """

    own_draws = 1  # learned rewards choose the supernet from the second phase on
    TOLERANCE = 1e-6  # of a supernet's share of the draws

    def __init__(
        self, archs: Sequence[Arch], models: int = 4, beta: float = 0.95, temperature: float = 0.02
    ) -> None:
        self.beta = beta
        self.anneal(temperature)
        if models < 1:
            raise HnasError(f"models is {models}; allowed: models >= 1")
        self.archs, self.models, self.rounds = tuple(archs), models, models
        self.value = np.ones((len(self.archs), models))
        self.visits = np.zeros((len(self.archs), models), dtype=np.int64)
        self._position = {arch: i for i, arch in enumerate(self.archs)}
        self._model = 0  # of the last draw
        self._offset = np.zeros(models)  # what balances the supernets, added to C / T

    def conditional(self) -> np.ndarray:
        """(N, M) probability of each supernet given the architecture; its mean over rows is 1 / M."""
        logs = self.value / self.temperature

        def dual(offset: np.ndarray) -> tuple[float, np.ndarray]:
            """Convex, and at its minimum the mean over rows is uniform."""
            shifted = logs + offset
            value = logsumexp(shifted, axis=1).mean() - offset.mean()
            return value, softmax(shifted, axis=1).mean(axis=0) - 1 / self.models

        found = minimize(dual, self._offset, jac=True, method="BFGS", options={"gtol": self.TOLERANCE})
        self._offset = found.x  # where the next search for it starts
        return softmax(logs + self._offset, axis=1)

    def sample(self, rng: np.random.Generator) -> Arch:
        arch = Sampler.sample_uniform(self, rng)
        if self.models > 1:
            cumulative = np.cumsum(self.conditional()[self._position[arch]])
            self._model = int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))
        return arch

    def sample_uniform(self, rng: np.random.Generator) -> Arch:
        arch = super().sample_uniform(rng)
        if self.models > 1:
            self._model = int(rng.integers(self.models))
        return arch

    def path(self, arch: Arch) -> tuple[int, ...]:
        """The supernet of the last draw, then the operations (see :func:`hnas_kit.supernets.mixture`)."""
        return (self._model, *arch)

    def update(self, arch: Arch, reward: float) -> None:
        cell = self._position[arch], self._model
        self.visits[cell] += 1
        self.value[cell] = self.beta * self.value[cell] + (1 - self.beta) * reward

    def exploit(self) -> "Mixture":
        return _BestModel(self)

    def state_dict(self) -> dict:
        arrays = {"value": self.value, "visits": self.visits, "offset": self._offset}
        return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}

    def load_state_dict(self, state: dict) -> None:
        self.value[:], self.visits[:] = state["value"].numpy(), state["visits"].numpy()
        self._offset = state["offset"].numpy().copy()


class _BestModel(Mixture):
    """Every architecture in the supernet that gave it the highest reward, on average: C without its start."""

    def __init__(self, mixture: Mixture) -> None:
        self.__dict__.update(mixture.__dict__)

    def path(self, arch: Arch) -> tuple[int, ...]:
        value, visits = (of[self._position[arch]] for of in (self.value, self.visits))
        start = self.beta**visits  # the part of C that is still the 1 of its start
        mean = np.divide(value - start, 1 - start, out=np.full(self.models, -np.inf), where=visits > 0)
        return (int(np.argmax(mean)), *arch)

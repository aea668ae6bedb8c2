"""Samplers without a tree: uniform, independent layers, and a balanced mixture of supernets (Sec. 3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from hnas_kit.errors import HnasError
from hnas_kit.sampler import Sampler
from hnas_kit.spaces import Arch, SearchSpace


class Uniform(Sampler):
    """All architectures alike (Sec. 3, "Uniform sampling"; Guo et al., 2020)."""

    weighs = False

    def __init__(self, archs: Sequence[Arch]) -> None:
        self.archs = tuple(archs)

    def sample(self, rng: np.random.Generator) -> Arch:
        return self.sample_uniform(rng)

    def probabilities(self) -> dict[Arch, float]:
        return dict.fromkeys(self.archs, 1 / len(self.archs))


class Independent(Sampler):
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
    """

    def __init__(self, space: SearchSpace, beta: float = 0.95, temperature: float = 0.02) -> None:
        if not (0 <= beta < 1 and temperature > 0):
            raise HnasError(
                f"beta is {beta}, temperature {temperature}; allowed: 0 <= beta < 1, temperature > 0"
            )
        self.archs, self.beta, self.temperature = tuple(space.enumerate()), beta, temperature
        self.value = [np.ones(len(names)) for names in space.ops]
        self._transitions = space.transitions

    def _weights(self) -> list[np.ndarray]:
        """A layer's unnormalised probabilities, the largest 1."""
        return [np.exp((v - v.max()) / self.temperature) for v in self.value]

    def sample(self, rng: np.random.Generator) -> Arch:
        """Draw an architecture; takes one uniform number a layer."""
        weights = self._weights()
        ahead = [np.ones(1 + self._transitions[-1].max())]  # mass of all completions, by state
        steps = []  # mass of each operation and its completions, (states, operations) a layer
        for weight, after in zip(reversed(weights), reversed(self._transitions), strict=True):
            steps.append(np.where(after >= 0, weight * ahead[-1][after], 0.0))
            mass = steps[-1].sum(axis=1)
            ahead.append(mass / mass.max())  # or a deep space would underflow
        state, arch = 0, []
        for mass, after, draw in zip(
            reversed(steps), self._transitions, rng.random(len(weights)), strict=True
        ):
            cumulative = np.cumsum(mass[state])
            op = int(np.searchsorted(cumulative, draw * cumulative[-1], side="right"))
            arch.append(op)
            state = after[state, op]
        return tuple(arch)

    def update(self, arch: Arch, reward: float) -> None:
        for value, op in zip(self.value, arch, strict=True):
            value[op] = self.beta * value[op] + (1 - self.beta) * reward

    def layer_probabilities(self) -> list[np.ndarray]:
        """One (operations,) array a layer: p(a_l), before any constraint."""
        return [weight / weight.sum() for weight in self._weights()]

    def _log_probabilities(self) -> np.ndarray:
        """(N,) of ``archs``, not normalised."""
        codes = np.array(self.archs)
        return sum(value[codes[:, layer]] for layer, value in enumerate(self.value)) / self.temperature

    def probabilities(self) -> dict[Arch, float]:
        logs = self._log_probabilities()
        weights = np.exp(logs - logs.max())
        return dict(zip(self.archs, (weights / weights.sum()).tolist(), strict=True))

    def greedy(self) -> Arch:
        """The most probable architecture."""
        return self.archs[int(np.argmax(self._log_probabilities()))]

    def anneal(self, temperature: float) -> None:
        self.temperature = temperature

    def state_dict(self) -> dict:
        return {"value": [torch.from_numpy(v.copy()) for v in self.value]}

    def load_state_dict(self, state: dict) -> None:
        for value, saved in zip(self.value, state["value"], strict=True):
            value[:] = saved.numpy()


class Mixture(Sampler):
    """Uniform over architectures, each in one of M supernets that suits it (Roshtkhari et al., AutoML 2023).

    Per architecture and supernet a moving average C of the reward as in Eq. 4. Given the architecture, the
    supernet is drawn from the softmax of C over T, re-balanced so that on average every supernet is trained
    alike: columns are divided by the marginal over supernets and rows normalised, until that marginal is
    uniform.

    Args:
        archs: the architectures.
        models: M, at least 1; with one this is uniform sampling.
        beta: smoothing of C, from 0 to below 1.
        temperature: T, above 0.

    Attributes:
        value: (N, M) C, 1 at the start.
    """

    weighs = False
    TOLERANCE = 1e-6  # KL divergence, nats, of the marginal over supernets from the uniform one

    def __init__(
        self, archs: Sequence[Arch], models: int = 2, beta: float = 0.95, temperature: float = 0.02
    ) -> None:
        if not (models >= 1 and 0 <= beta < 1 and temperature > 0):
            raise HnasError(
                f"models is {models}, beta {beta}, temperature {temperature}; "
                "allowed: models >= 1, 0 <= beta < 1, temperature > 0"
            )
        self.archs, self.models, self.rounds = tuple(archs), models, models
        self.beta, self.temperature = beta, temperature
        self.value = np.ones((len(self.archs), models))
        self._position = {arch: i for i, arch in enumerate(self.archs)}
        self._model = 0  # of the last draw

    def conditional(self) -> np.ndarray:
        """(N, M) probability of each supernet given the architecture; its mean over rows is 1 / M."""
        weights = np.exp((self.value - self.value.max(axis=1, keepdims=True)) / self.temperature)
        weights /= weights.sum(axis=1, keepdims=True)
        for _ in range(1000):
            marginal = weights.mean(axis=0)
            if np.log(marginal.clip(1e-300) * self.models).mean() > -self.TOLERANCE:
                break
            weights = weights / marginal.clip(1e-300)
            weights /= weights.sum(axis=1, keepdims=True)
        return weights

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
        self.value[cell] = self.beta * self.value[cell] + (1 - self.beta) * reward

    def probabilities(self) -> dict[Arch, float]:
        return dict.fromkeys(self.archs, 1 / len(self.archs))

    def anneal(self, temperature: float) -> None:
        self.temperature = temperature

    def exploit(self) -> Mixture:
        return _BestModel(self)

    def state_dict(self) -> dict:
        return {"value": torch.from_numpy(self.value.copy())}

    def load_state_dict(self, state: dict) -> None:
        self.value[:] = state["value"].numpy()


class _BestModel(Mixture):
    """Every architecture in the supernet that gave it the highest reward."""

    def __init__(self, mixture: Mixture) -> None:
        self.__dict__.update(mixture.__dict__)

    def path(self, arch: Arch) -> tuple[int, ...]:
        return (int(np.argmax(self.value[self._position[arch]])), *arch)

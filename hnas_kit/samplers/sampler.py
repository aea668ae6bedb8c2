"""What every sampler offers: how the next architecture is drawn, and what is learned from its reward."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from hnas_kit.errors import HnasError
from hnas_kit.spaces import Arch

MADE_OVER = ("archs", "space", "tree", "budget")  # attributes that are no part of a state


class Sampler(ABC):
    """A distribution over architectures that learns from rewards.

    All draws come from the generator given to the method. A new sampler says how it samples, what it learns
    and its probabilities; all else has a default. :func:`hnas_kit.samplers.register` gives it a name.

    Attributes:
        archs: the architectures it draws from, None if they are too many to list.
        rounds: searches take this many times the steps of a single supernet's.
        weighs: whether it learns to prefer some architectures; if not, the final choice scores them all.
        phased: whether the paper gives it uniform phases first ("for MCTS methods", App. B.1); see
            :class:`hnas_kit.training.Schedule`.
        own_draws: the phase, counted from 0, from which it draws by what it has learned.
    """

    archs: Sequence[Arch] | None
    weighs = True
    rounds = 1
    phased = False
    own_draws = 2

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.__doc__ = (cls.__doc__ or "").strip() or f"{cls.__name__}."  # tables show its first line

    def __init__(self, archs: Sequence[Arch]) -> None:
        self.archs = tuple(archs)

    @abstractmethod
    def sample(self, rng: np.random.Generator) -> Arch:
        """Draw an architecture."""

    def sample_uniform(self, rng: np.random.Generator) -> Arch:
        """Draw without preference, as the first two phases of a search do."""
        return self.archs[rng.integers(len(self.archs))]

    def path(self, arch: Arch) -> tuple[int, ...]:
        """What the network is to run for the architecture that was drawn last: its operations."""
        return arch

    def update(self, arch: Arch, reward: float) -> None:  # noqa: B027 - learning nothing is the default
        """Learn from the reward of the architecture that was drawn last."""

    @abstractmethod
    def probabilities(self) -> dict[Arch, float]:
        """The exact probability with which :meth:`sample` draws each architecture now."""

    def greedy(self) -> Arch:
        """The architecture that is best by what was learned, nothing explored; by default the most probable.

        Raises:
            HnasError: if the sampler prefers none.
        """
        if not self.weighs:
            raise HnasError(f"{type(self).__name__} prefers no architecture, so none is the most probable")
        probabilities = self.exploit().probabilities()
        return max(probabilities, key=probabilities.get)

    def anneal(self, temperature: float) -> None:  # noqa: B027
        """Set the temperature of the Boltzmann selection, for samplers that have one."""

    def exploit(self) -> "Sampler":
        """The same sampler without exploration (lambda = 0), sharing what was learned."""
        return self

    def state_dict(self) -> dict:
        """All that a sampler knows, to go on from: by default every attribute but what it was made over.

        Raises:
            HnasError: if one is neither number, text, array, tensor nor a container of such.
        """
        own = {name: value for name, value in vars(self).items() if name not in MADE_OVER}
        return {name: _plain(f"{type(self).__name__}.{name}", value) for name, value in own.items()}

    def load_state_dict(self, state: dict) -> None:
        """Restore what :meth:`state_dict` gave."""
        vars(self).update({name: _restored(value) for name, value in state.items()})


def _plain(name: str, value: Any) -> Any:
    """A value as a checkpoint may hold it: arrays are tensors in a dict of their own."""
    if value is None or (isinstance(value, bool | int | float | str) and not isinstance(value, np.generic)):
        return value
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufc":
        return {"array": torch.from_numpy(np.array(value)), "scalar": isinstance(value, np.generic)}
    if isinstance(value, torch.Tensor):
        return {"tensor": value.clone()}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [_plain(name, part) for part in value]}
    if isinstance(value, dict) and type(value) is dict:
        return {"keys": [_plain(name, k) for k in value], "values": [_plain(name, v) for v in value.values()]}
    raise HnasError(
        f"{name} is of type {type(value).__name__}; give the sampler a state_dict and a load_state_dict"
    )


def _restored(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "keys" in value:
        return dict(zip(map(_restored, value["keys"]), map(_restored, value["values"]), strict=True))
    if "array" in value:
        array = value["array"].numpy().copy()
        return array[()] if value["scalar"] else array
    if "tensor" in value:
        return value["tensor"].clone()
    ((kind, parts),) = value.items()
    return (list if kind == "list" else tuple)(map(_restored, parts))


class Smoothed(Sampler):
    """What draws at a temperature T by moving averages C, smoothed with beta (Eq. 4)."""

    def anneal(self, temperature: float) -> None:
        """Set T, above 0; raises :class:`HnasError` for another, or unless 0 <= beta < 1."""
        if not (0 <= self.beta < 1 and temperature > 0):
            told = f"beta is {self.beta}, temperature {temperature}"
            raise HnasError(f"{told}; allowed: 0 <= beta < 1, temperature > 0")
        self.temperature = temperature

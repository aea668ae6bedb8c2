"""What every sampler offers: how the next architecture is drawn, and what is learned from its reward."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from hnas_kit.errors import HnasError
from hnas_kit.spaces import Arch


class Sampler(ABC):
    """A distribution over architectures that learns from rewards.

    All draws come from the generator given to the method. A new sampler is one subclass and one line in
    :mod:`hnas_kit.samplers.methods`.

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
        """The architecture that is best by what was learned, nothing explored."""
        raise HnasError(f"{type(self).__name__} prefers no architecture, so none is the most probable")

    def anneal(self, temperature: float) -> None:  # noqa: B027
        """Set the temperature of the Boltzmann selection, for samplers that have one."""

    def exploit(self) -> "Sampler":
        """The same sampler without exploration (lambda = 0), sharing what was learned."""
        return self

    def state_dict(self) -> dict:
        return {}

    def load_state_dict(self, state: dict) -> None:  # noqa: B027
        """Restore what :meth:`state_dict` gave."""


def check_smoothing(beta: float, temperature: float) -> None:
    """Raise :class:`HnasError` unless 0 <= beta < 1 (Eq. 4) and T > 0."""
    if not (0 <= beta < 1 and temperature > 0):
        raise HnasError(f"beta is {beta}, temperature {temperature}; allowed: 0 <= beta < 1, temperature > 0")

"""The three phases of a search, and the temperature over it (Appendix B.1)."""

from dataclasses import dataclass

import numpy as np

from hnas_kit.errors import HnasError

PHASES = ("uniform", "warm-up", "search")


@dataclass(frozen=True)
class Schedule:
    """The phases of a search, and its temperature (Appendix B.1).

    Uniform sampling without statistics, then uniform sampling with statistics recorded (warm-up), then
    sampling by the sampler while T falls linearly. The paper has these phases "for MCTS methods". A search
    that is not ``phased`` learns and draws by its sampler from the first step, T falls over all steps, and
    its phases only name parts of it: the third is the same share of the steps for every method.

    Attributes:
        steps: number of steps in all.
        uniform, warmup: shares of the first and second phase; the third is what is left.
        temperature_start, temperature_end: T at the first and the last step of the third phase, or of all.
        phased: see above.
    """

    steps: int
    uniform: float = 0.40
    warmup: float = 0.25
    temperature_start: float = 0.02
    temperature_end: float = 0.0025
    phased: bool = True

    def __post_init__(self) -> None:
        if self.steps < 0 or min(self.uniform, self.warmup) < 0 or self.uniform + self.warmup > 1 + 1e-9:
            raise HnasError(
                f"steps is {self.steps}, uniform {self.uniform}, warmup {self.warmup}; allowed: steps >= 0, "
                "and shares that are not negative and at most 1 together"
            )

    @property
    def starts(self) -> tuple[int, int, int]:
        """The first step of each phase."""
        return 0, round(self.uniform * self.steps), round((self.uniform + self.warmup) * self.steps)

    @property
    def learns_from(self) -> int:
        """The first step whose reward is learned from."""
        return self.starts[1] if self.phased else 0

    def draws_from(self, own_draws: int = 2) -> int:
        """The first step drawn by a sampler whose own draws begin with that phase."""
        return self.starts[own_draws] if self.phased else 0

    def phase(self, step: int) -> int:
        """0, 1 or 2: position in ``PHASES``."""
        _, warmup, search = self.starts
        return int(step >= warmup) + int(step >= search)

    def temperature(self, step: int | np.ndarray) -> float | np.ndarray:
        """T at a step, or at each of an array of steps; ``temperature_start`` before it begins to fall."""
        first, last = self.draws_from(), self.steps - 1
        share = np.clip((step - first) / max(last - first, 1), 0.0, 1.0)
        return self.temperature_start + share * (self.temperature_end - self.temperature_start)

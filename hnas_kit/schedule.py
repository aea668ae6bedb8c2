"""The three phases of a search, and the temperature over its third (Appendix B.1)."""

from __future__ import annotations

from dataclasses import dataclass

PHASES = ("uniform", "warm-up", "search")


@dataclass(frozen=True)
class Schedule:
    """The phases of a search, and the temperature over its third (Appendix B.1).

    Uniform sampling without statistics, then uniform sampling with statistics recorded (warm-up), then
    sampling by the sampler while T falls linearly.

    Attributes:
        steps: number of steps in all.
        uniform, warmup: shares of the first and second phase; the third is what is left.
        temperature_start, temperature_end: T at the first and the last step of the third phase.
    """

    steps: int
    uniform: float = 0.40
    warmup: float = 0.25
    temperature_start: float = 0.02
    temperature_end: float = 0.0025

    @property
    def starts(self) -> tuple[int, int, int]:
        """The first step of each phase."""
        return 0, round(self.uniform * self.steps), round((self.uniform + self.warmup) * self.steps)

    def phase(self, step: int) -> int:
        """0, 1 or 2: position in ``PHASES``."""
        _, warmup, search = self.starts
        return int(step >= warmup) + int(step >= search)

    def temperature(self, step: int) -> float:
        """T at a step; ``temperature_start`` before the third phase."""
        first, last = self.starts[2], self.steps - 1
        share = min(max((step - first) / max(last - first, 1), 0.0), 1.0)
        return self.temperature_start + share * (self.temperature_end - self.temperature_start)

"""What a search is rewarded with: accuracy or loss, absolute or relative, on validation or training data."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from hnas_kit.names import REWARDS


class Reward:
    """The reward of one step from the logits of the step's architecture (Appendix C.1, Table 7).

    - ``absolute ... accuracy``: the mini-batch's accuracy, 0 to 1 (the paper's choice, on validation).
    - ``absolute ... loss``: minus the mini-batch's cross-entropy, so that more is better.
    - ``relative ... accuracy``: accuracy over its moving average A: acc / A.
    - ``relative ... loss``: the moving average over the loss, L / loss (Su et al., 2021a).

    A moving average is updated before it is used, x <- beta x + (1 - beta) new. It starts at the first
    value, not at 0 as in Su et al.'s code, where the first rewards are tiny. ``validation`` is a mini-batch
    of the validation half after the step, ``training`` the step's own mini-batch before its update.

    Args:
        name: one of ``REWARDS``.
        beta: smoothing of the moving average (Su et al.: 0.96).

    Raises:
        HnasError: for an unknown name.
    """

    def __init__(self, name: str = "absolute validation accuracy", beta: float = 0.96) -> None:
        scale, images, self.measure = REWARDS[name]
        self.name, self.beta = name, beta
        self.relative, self.on_training = scale == "relative", images == "training"
        self.average = math.nan

    def __call__(self, logits: Tensor, labels: Tensor) -> float:
        """Reward for logits (B, C) and labels (B,) of one mini-batch."""
        return self.of(self.measured(logits, labels))

    @torch.no_grad()
    def measured(self, logits: Tensor, labels: Tensor) -> float:
        """The accuracy (0 to 1) or loss (nats) of a mini-batch; the mean over equal parts is the whole's."""
        if self.measure == "accuracy":
            return (logits.argmax(1) == labels).sum().item() / len(labels)
        return F.cross_entropy(logits.float(), labels).item()

    def of(self, value: float) -> float:
        """Reward for an accuracy (0 to 1) or a loss (nats), whichever this reward measures."""
        if not self.relative:
            return value if self.measure == "accuracy" else -value
        first = math.isnan(self.average)
        self.average = value if first else self.beta * self.average + (1 - self.beta) * value
        over, under = (value, self.average) if self.measure == "accuracy" else (self.average, value)
        return over / max(under, 1e-6)  # a mini-batch may have nothing right, or a loss of 0

    def state_dict(self) -> dict:
        return {"average": self.average}

    def load_state_dict(self, state: dict) -> None:
        self.average = state["average"]

"""What a search is rewarded with: accuracy or loss, absolute or relative, on validation or training data."""

import copy
import inspect
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hnas_kit.errors import HnasError, foreign
from hnas_kit.files import torch_bytes, torch_value
from hnas_kit.names import REWARDS
from hnas_kit.spaces import Arch


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
    def measured(self, logits: Tensor, labels: Tensor, arch: Arch = ()) -> float:
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


class Brought:
    """A reward of one's own, by the name that it was registered with.

    Attributes:
        on_training: whether the logits are those of the step's own mini-batch: where "training" is a word of
            the name. Else they are of a mini-batch of the validation half after the step.
    """

    def __init__(self, name: str, function: Callable[[Arch, Tensor, Tensor], float]) -> None:
        self.name, self.function = name, copy.deepcopy(function)  # each search begins with a fresh state
        self.on_training = "training" in name.split()

    @torch.no_grad()
    def measured(self, logits: Tensor, labels: Tensor, arch: Arch) -> float:
        """What the function gives; raises :class:`HnasError` unless it is one finite number."""
        with foreign(f"reward {self.name} of architecture {arch}: "):
            value = self.function(arch, logits, labels)
        try:
            number = float(value)
        except (TypeError, ValueError, RuntimeError, OverflowError):
            shape = f" of shape {tuple(value.shape)}" if hasattr(value, "shape") else ""
            kind = "nothing" if value is None else f"a {type(value).__name__}{shape}"
            raise HnasError(f"reward {self.name} gives {kind}; it must be one number") from None
        if isinstance(value, str | bool) or not math.isfinite(number):
            raise HnasError(f"reward {self.name} gives {value!r}; it must be one finite number")
        return number

    def of(self, value: float) -> float:
        return value

    def state_dict(self) -> dict:
        return self.function.state_dict() if hasattr(self.function, "state_dict") else {}

    def load_state_dict(self, state: dict) -> None:
        if hasattr(self.function, "load_state_dict"):
            self.function.load_state_dict(state)


def register(name: str, reward: Callable[[Arch, Tensor, Tensor], float]) -> None:
    """Make a reward of one's own known by a name.

    Args:
        name: a new one; with "training" as one of its words the reward sees the step's own mini-batch, else
            one of the validation half.
        reward: (arch, logits (B, C), labels (B,)) -> a number, the more the better. A function; or an object
            with ``__call__``, ``state_dict`` and ``load_state_dict``, if it keeps something: every search
            begins with a copy of it.

    Raises:
        HnasError: one line, if it cannot be called so, or its name is taken.
    """
    REWARDS.register(name, reward)


def check(name: str, reward: Any) -> None:
    """What is asked of a reward; raises :class:`HnasError` with one line."""
    if isinstance(reward, type):
        raise HnasError(f"reward {name} is a class; register an object of it: {reward.__name__}()")
    if not callable(reward):
        raise HnasError(f"reward {name} cannot be called: it is of type {type(reward).__name__}")
    try:
        inspect.signature(reward).bind((), None, None)
    except TypeError as error:
        raise HnasError(f"reward {name} must take (arch, logits, labels): {error}") from None
    except ValueError:
        pass  # what is written in C does not say
    state = [method for method in ("state_dict", "load_state_dict") if hasattr(reward, method)]
    if len(state) == 1:
        raise HnasError(f"reward {name} has {state[0]} alone; state_dict and load_state_dict belong together")
    if state:
        with foreign(f"reward {name}, state_dict: "):
            torch_value(torch_bytes(reward.state_dict()))


def make_reward(name: str) -> Reward | Brought:
    """A new reward of that name; raises :class:`HnasError` for an unknown one."""
    found = REWARDS[name]
    return Reward(name) if isinstance(found, tuple) else Brought(name, found)

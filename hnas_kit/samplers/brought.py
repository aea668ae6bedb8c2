"""Samplers of one's own: how they are made, and what is tried before they are known by a name."""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hnas_kit import trees
from hnas_kit.errors import HnasError, foreign
from hnas_kit.files import torch_bytes, torch_value
from hnas_kit.names import SAMPLERS
from hnas_kit.samplers.sampler import Sampler
from hnas_kit.spaces import Arch, SearchSpace

OVER = ("archs", "space", "tree")  # what a sampler may be made over: its first parameter


def register(name: str, sampler: type[Sampler]) -> None:
    """Make a sampler of one's own known by a name, as sampler and as method to compare with.

    Args:
        name: a new one.
        sampler: a subclass of :class:`Sampler`, made over ``archs`` (a list of architectures), ``space`` or
            ``tree``: whatever its first parameter is called. The others are its settings, from ``settings``
            of notebook 04.

    Raises:
        HnasError: one line, if something of it is missing, does not work, or its name is taken.
    """
    SAMPLERS.register(name, sampler)


def check(name: str, kind: Any) -> None:
    """What is asked of a sampler with its default settings; raises :class:`HnasError` with one line."""
    if not (isinstance(kind, type) and issubclass(kind, Sampler)):
        raise HnasError(f"sampler {name} is no subclass of samplers.Sampler")
    if missing := sorted(kind.__abstractmethods__):
        raise HnasError(f"sampler {name} has no {', no '.join(missing)}")
    first, *settings = inspect.signature(kind).parameters.values()
    if first.name not in OVER:
        raise HnasError(
            f"sampler {name}: its first parameter is {first.name}; "
            "it must be archs, space or tree, what it draws from"
        )
    if all(setting.default is not setting.empty for setting in settings):
        try_out(name, kind, {})


class _Plain(SearchSpace):
    """Of which nothing is known but that any operations go together."""

    name, ops = "plain", (("a", "b", "c"),) * 3


def try_out(
    name: str, kind: type[Sampler], settings: Mapping[str, Any], space: SearchSpace | None = None
) -> None:
    """Make a sampler over a space, by default a small one, and use all that a search uses of it.

    Raises:
        HnasError: one line that names the method that does not work.
    """
    space, rng = space or _Plain(), np.random.default_rng(0)
    archs = set(space.enumerate())

    def call(what: str, function: Callable[..., Any], *args: Any) -> Any:
        with foreign(f"sampler {name}, {what}: "):
            return function(*args)

    def arch(what: str, function: Callable[..., Any], *args: Any) -> Arch:
        drawn = call(what, function, *args)
        if not isinstance(drawn, tuple) or drawn not in archs:
            raise HnasError(f"sampler {name}, {what} gives {drawn!r}; it must be one of its archs, a tuple")
        return drawn

    first = next(iter(inspect.signature(kind).parameters))
    over = {"archs": space.enumerate(), "space": space, "tree": trees.default(space)}[first]
    sampler = call("making it", lambda: kind(over, **settings))
    if not set(call("archs", lambda: sampler.archs)) <= archs:
        raise HnasError(f"sampler {name}: archs are not those that it was made over")
    for _ in range(3):
        arch("sample_uniform", sampler.sample_uniform, rng)
        call("anneal", sampler.anneal, 0.02)
        drawn = arch("sample", sampler.sample, rng)
        call("path", sampler.path, drawn)
        call("update", sampler.update, drawn, 0.5)
    found = call("probabilities", sampler.probabilities)
    if not isinstance(found, dict) or not found or not found.keys() <= archs:
        raise HnasError(f"sampler {name}, probabilities gives no dict with its archs as keys")
    total, least = math.fsum(found.values()), min(found.values())
    if least < 0 or not math.isclose(total, 1, rel_tol=1e-4):
        raise HnasError(f"sampler {name}, probabilities add up to {total:.6g}, the least is {least}")
    if sampler.weighs:
        arch("greedy", sampler.greedy)
    arch("sample of exploit", call("exploit", sampler.exploit).sample, rng)
    state = call("state_dict", lambda: torch_value(torch_bytes(sampler.state_dict())))
    restored = call("making it", lambda: kind(over, **settings))
    call("load_state_dict", restored.load_state_dict, state)
    for one in (sampler, restored):
        call("anneal", one.anneal, 0.02)
        call("update", one.update, arch("sample", one.sample, np.random.default_rng(1)), 0.25)
    found, again = (call("probabilities", one.probabilities) for one in (sampler, restored))
    if not all(math.isclose(again.get(drawn, 0), share, rel_tol=1e-6) for drawn, share in found.items()):
        raise HnasError(
            f"sampler {name}: restored from its state_dict it goes on otherwise; an attribute may be missing "
            "or a view of another: give it a state_dict and a load_state_dict"
        )

"""Every name that a parameter can have, and what it stands for.

Light: to check a parameter nothing is imported that computes. Names are looked up when they are used.
"""

from __future__ import annotations

import itertools
import sys
from collections import UserDict
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from hnas_kit.errors import HnasError, require_one_of


class Registry(UserDict[str, Any]):
    """What names stand for; a text ``"module:name"`` is imported when it is asked for.

    Args:
        what: what they are names of, for messages.
        known: by name.
    """

    def __init__(self, what: str, known: Mapping[str, Any]) -> None:
        self.what = what
        super().__init__(known)

    def __getitem__(self, name: str) -> Any:
        """What a name stands for; raises :class:`HnasError` if there is no such name."""
        require_one_of(self.what, name, self.data)
        if isinstance(value := self.data[name], str):
            module, _, attribute = value.partition(":")
            value = self.data[name] = getattr(import_module(module), attribute)
        return value

    def get(self, name: str, default: Any = None) -> Any:
        """What a name stands for, or ``default``."""
        return self[name] if name in self.data else default

    def register(self, name: str, value: Any) -> None:
        """Add a name; raises :class:`HnasError` if it is taken."""
        if name in self.data:
            raise HnasError(f"there is a {self.what} {name!r} already; choose another name")
        self.data[name] = value


def lazy(package: str, where: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package some of whose names are imported when they are used.

    Args:
        package: its ``__name__``.
        where: the module in it that each of these names is from.
    """

    def find(name: str) -> Any:
        if name not in where:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{where[name]}"), name)

    return find, lambda: sorted({*vars(sys.modules[package]), *where})


SPACES = Registry(
    "search space",
    {
        "pooling": "hnas_kit.spaces:PoolingSpace",
        "macro": "hnas_kit.spaces:MacroSpace",
        "mobile": "hnas_kit.spaces:MobileSpace",
    },
)
ENCODINGS = ("vector", "onehot")  # of an architecture
MEASURES = ("kl", "l2", "cross_entropy")  # of the distance between outputs
LINKAGES = ("ward", "average", "complete")
PRECISIONS = ("float32", "bfloat16", "float16")

SAMPLERS = Registry(
    "sampler",
    {
        "uniform": "hnas_kit.samplers.flat:Uniform",
        "independent": "hnas_kit.samplers.flat:Independent",
        "boltzmann": "hnas_kit.samplers.mcts:Boltzmann",
        "mixture": "hnas_kit.samplers.flat:Mixture",
        "mcts": "hnas_kit.samplers.mcts:MCTS",
        "mcts_reg": "hnas_kit.samplers.mcts:MCTSReg",
    },
)
TREES = ("learned", "default", "random", "accuracy")
COMMUNICATIONS = ("shared_table", "equivalent_nodes")
# sentences of the paper that can be read in more than one way; the first reading of each is the default
READINGS = {
    "bonus": {
        "sqrt": "exploration bonus lambda sqrt(ln N_parent / n) (Eq. 3)",
        "linear": "exploration bonus lambda sqrt(ln N_parent) / n (Algorithm 1 as typeset)",
    },
    "start": {
        "one": "C starts at 1 (Sec. 5)",
        "first": "a node's first reward replaces C",
    },
    "warmup": {
        "architectures": "uniform phases draw architectures alike (Sec. 5)",
        "branches": "uniform phases draw the children of a node alike (Sec. 3)",
    },
    "refresh": {
        "draw": "R from the present counts at every draw (Eq. 3)",
        "path": "R recomputed for the path just taken alone (Algorithm 1)",
    },
}
PHASED = {
    "tree": "three phases for tree search alone (App. B.1)",
    "all": "three phases for every method",
}
FINAL_CHOICES = {
    "path": "the path of highest probability (App. B.1)",
    "samples": "the best on validation of some draws at lambda = 0 (Sec. 4)",
}
REWARDS = Registry(
    "reward",
    {
        " ".join(words): words
        for words in itertools.product(
            ("absolute", "relative"), ("validation", "training"), ("accuracy", "loss")
        )
    },
)

"""Every name that a parameter can have, and what it stands for.

Light: to check a parameter nothing is imported that computes. Names are looked up when they are used.
"""

import itertools
import re
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
        check: ``"module:name"`` of a function that is called with a new name and what it is to stand for, and
            raises :class:`HnasError` if that will not do.

    Attributes:
        brought: what was registered beside ``known``, by name.
    """

    def __init__(self, what: str, known: Mapping[str, Any], check: str = "") -> None:
        self.what, self.check, self.brought = what, check, {}
        super().__init__(known)

    def __getitem__(self, name: str) -> Any:
        """What a name stands for; raises :class:`HnasError` if there is no such name."""
        require_one_of(self.what, name, self.data)
        if isinstance(value := self.data[name], str):
            value = self.data[name] = imported(value)
        return value

    def get(self, name: str, default: Any = None) -> Any:
        """What a name stands for, or ``default``."""
        return self[name] if name in self.data else default

    def register(self, name: str, value: Any) -> None:
        """Add a name; a notebook cell or a script that is run again replaces its own.

        Raises:
            HnasError: if it is taken, no plain name, or what it stands for will not do.
        """
        if not isinstance(name, str) or not re.fullmatch(NEW_NAME, name) or len(name) > 60:
            rule = "at most 60 letters, digits, _ - and single spaces"
            raise HnasError(f"{name!r} is no name for a {self.what}: {rule}")
        if name in self.data and not _same_cell(self.brought.get(name), value):
            raise HnasError(f"there is a {self.what} {name!r} already; choose another name")
        if self.check:
            imported(self.check)(name, value)
        self.data[name] = self.brought[name] = value

    def remove(self, name: str) -> None:
        """Forget what was registered."""
        del self.data[name], self.brought[name]


def imported(text: str) -> Any:
    """What ``"module:name"`` names."""
    module, _, attribute = text.partition(":")
    return getattr(import_module(module), attribute)


def _same_cell(old: Any, new: Any) -> bool:
    """Whether both were defined by the same name in a notebook or a script, outside any module."""
    places = [
        (getattr(kind, "__module__", ""), getattr(kind, "__qualname__", ""))
        for kind in (value if hasattr(value, "__qualname__") else type(value) for value in (old, new))
    ]
    return places[0] == places[1] and places[0][0] == "__main__"


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


NEW_NAME = "[A-Za-z][A-Za-z0-9_]*([ -][A-Za-z0-9_]+)*"
SPACES = Registry(
    "search space",
    {
        "pooling": "hnas_kit.spaces:PoolingSpace",
        "macro": "hnas_kit.spaces:MacroSpace",
        "mobile": "hnas_kit.spaces:MobileSpace",
    },
    check="hnas_kit.supernets.chains:check",
)
DATASETS = Registry(
    "data set",
    {
        "digits": "hnas_kit.data.loading:digits",
        "textures": "hnas_kit.data.loading:textures",
        "cifar10": "hnas_kit.data.loading:cifar10",
        "cifar10_jpeg": "hnas_kit.data.loading:cifar10_jpeg",
    },
    check="hnas_kit.data.loading:check_loader",
)
LAYOUTS = ("folder", "imagefolder", "ffcv")  # of one's own images: as data set LAYOUT:PATH
ENCODINGS = ("vector", "onehot")  # of an architecture
MEASURES = ("kl", "sqrt_kl", "hellinger", "l2", "cross_entropy")  # of the distance between outputs
SUPERNETS = 4  # that the package has estimates and learned trees of, on NAS-Bench-Macro
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
    check="hnas_kit.samplers.brought:check",
)
TREES = ("learned", "default", "random", "accuracy", "relearned")
RELEARNED = "relearned"  # begins as learned, and is learned anew while it is searched (beyond the paper)
COMMUNICATIONS = ("shared_table", "equivalent_nodes")
# sentences of the paper that can be read in more than one way; the first reading of each is the default
READINGS = {
    "bonus": {
        "sqrt": "exploration bonus lambda sqrt(ln N_parent / n) (Eq. 3)",
        "linear": "exploration bonus lambda sqrt(ln N_parent) / n (Algorithm 1 as typeset)",
    },
    "start": {"one": "C starts at 1 (Sec. 5)", "first": "a node's first reward replaces C"},
    "warmup": {
        "architectures": "uniform phases draw architectures alike (Sec. 5)",
        "branches": "uniform phases draw the children of a node alike (Sec. 3)",
    },
    "refresh": {
        "draw": "R from the present counts at every draw (Eq. 3)",
        "path": "R recomputed for the path just taken alone (Algorithm 1)",
    },
}
PRIORS = {
    "branches": "siblings of equal R are drawn alike (Eq. 2)",
    "leaves": "siblings of equal R, in uniform phases too, are drawn by their numbers of architectures "
    "(beyond the paper)",
}
PHASED = {"tree": "three phases for tree search alone (App. B.1)", "all": "three phases for every method"}
FINAL_CHOICES = {
    "path": "the path of highest probability (App. B.1)",
    "samples": "the best on validation of some draws at lambda = 0 (Sec. 4)",
}
_WORDS = itertools.product(("absolute", "relative"), ("validation", "training"), ("accuracy", "loss"))
REWARDS = Registry("reward", {" ".join(words): words for words in _WORDS}, check="hnas_kit.rewards:check")

"""Every sampler by its name, and the methods of the paper's Table 6 that they make up."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hnas_kit.errors import HnasError, require_one_of
from hnas_kit.names import COMMUNICATIONS, RELEARNED, SAMPLERS, TREES, Registry

if TYPE_CHECKING:  # light: the parameters of notebooks are checked by what is here
    from hnas_kit.cost import BudgetSampler
    from hnas_kit.samplers.sampler import Sampler
    from hnas_kit.spaces import SearchSpace
    from hnas_kit.trees import ArchTree

IN_BUDGET = Registry(
    "sampler in a budget",
    {
        "uniform": "hnas_kit.samplers.budget:UniformInBudget",
        "independent": "hnas_kit.samplers.budget:IndependentInBudget",
        "mcts": "hnas_kit.samplers.budget:MCTSInBudget",
        "mcts_reg": "hnas_kit.samplers.budget:MCTSInBudget",
    },
)


def make_sampler(
    name: str,
    *,
    space: SearchSpace | None = None,
    tree: ArchTree | None = None,
    budget: BudgetSampler | None = None,
    **settings: float | str,
) -> Sampler:
    """A new sampler.

    Args:
        name: a name of ``SAMPLERS``.
        space: the search space.
        tree: for ``mcts`` any tree, for ``mcts_reg`` the default one (made, if none is given). Of the
            others, all but ``independent`` draw from a tree's architectures if there is one, and from all
            of the space if not.
        budget: draws stay inside this window. Without a tree, which holds its own architectures, these are
            the whole window's, and ``mcts`` and ``mcts_reg`` walk its default tree, ``mcts_reg`` with a
            shared table.
        settings: of the sampler's class, for instance ``temperature``.

    Raises:
        HnasError: for an unknown sampler, one that lacks its tree or space, or settings it does not have.
    """
    cls = SAMPLERS[name]
    if budget is not None and tree is None:
        within = IN_BUDGET[name]
        if name == "mcts_reg":
            settings = {"communication": "shared_table"} | settings
        _check(name, within, settings)
        return within(budget, **settings)
    first = _check(name, cls, settings)
    if first == "tree" and tree is None:
        if name == "mcts" or space is None:
            raise HnasError(f"sampler {name} needs a tree: learned, default, random or another")
        from hnas_kit import trees

        tree = trees.default(space)
    if first != "tree" and space is None and (first == "space" or tree is None):
        raise HnasError(f"sampler {name} needs a space" + (" or a tree" if first == "archs" else ""))
    over = {"tree": tree, "space": space}
    if first == "archs":
        over["archs"] = tree.archs if tree is not None else space.enumerate()
    return cls(over[first], **settings)


def _check(name: str, cls: type[Sampler], settings: Mapping[str, float | str]) -> str:
    """Refuse settings that the sampler does not have; the name of what it is made over."""
    first, *allowed = inspect.signature(cls).parameters
    for setting in settings:
        if not allowed:
            raise HnasError(f"sampler {name} has no settings; {', '.join(settings)} given")
        require_one_of(f"setting of sampler {name}", setting, allowed)
    return first


@dataclass(frozen=True)
class Method:
    """A sampler, the tree that it walks, how its nodes communicate (empty: none), and settings of its own.

    Attributes:
        sampler: a name of ``SAMPLERS``.
        tree: of ``TREES``, or another that the caller knows; empty without one.
        communication: of ``COMMUNICATIONS``, for ``mcts_reg``.
        label: what it is called; empty for its usual name.
        settings: those of :attr:`allowed` in which it differs from other methods of the same run.
    """

    sampler: str
    tree: str = ""
    communication: str = ""
    label: str = ""
    settings: Mapping[str, float | str] = field(default_factory=dict, hash=False)

    @property
    def brought(self) -> bool:
        """Whether its sampler was registered, and is none of the kit's."""
        return self.sampler in SAMPLERS.brought

    @property
    def walks(self) -> bool:
        """Whether its sampler walks a tree."""
        if self.brought:
            return next(iter(inspect.signature(SAMPLERS[self.sampler]).parameters)) == "tree"
        return self.sampler in ("mcts", "mcts_reg")

    @property
    def first_tree(self) -> str:
        """The name of the tree that its search begins with."""
        return "learned" if self.relearned else self.tree

    @property
    def relearned(self) -> bool:
        """Whether its tree is learned anew while it is searched."""
        return self.tree == RELEARNED

    @property
    def name(self) -> str:
        """Its label, or as in ``METHODS``: tree search goes by its tree."""
        usual = {"mcts": self.tree, "mcts_reg": "regularised"}
        return self.label or usual.get(self.sampler, self.sampler)

    @property
    def allowed(self) -> tuple[str, ...]:
        """The settings of a run that concern this method."""
        from hnas_kit.samplers.sampler import Sampler

        cls = SAMPLERS[self.sampler]
        _, *own = inspect.signature(cls).parameters
        if self.brought:
            annealed = ("temperature_start", "temperature_end", "temperature_flat", "phases")
            return (*own, *(annealed if cls.anneal is not Sampler.anneal else ()), "reward")
        names = [name for name in own if name not in ("temperature", "communication")]
        names += ["relearn_every"] if self.relearned else []
        if "temperature" in own:
            names += ["temperature_start", "temperature_end"]
            names += [] if cls.phased else ["phases", "temperature_flat"]
        return (*names, "reward") if cls.update is not Sampler.update else tuple(names)

    def make(
        self,
        space: SearchSpace,
        forest: Mapping[str, ArchTree],
        budget: BudgetSampler | None = None,
        **settings: float | str,
    ) -> Sampler:
        """A new sampler of this kind; of the settings it takes those that it has.

        Args:
            space: that it draws from.
            forest: trees by name; one that this method does not name is not used.
            budget: draw from this window instead of a tree, see :func:`make_sampler`.
            settings: by name; its own come before them.
        """
        tree, classes = (forest.get(self.first_tree), SAMPLERS) if budget is None else (None, IN_BUDGET)
        known = inspect.signature(classes[self.sampler]).parameters
        settings = ({} if self.brought else settings) | dict(self.settings)
        if self.communication:
            settings["communication"] = self.communication
        settings = {name: value for name, value in settings.items() if name in known}
        return make_sampler(self.sampler, space=space, tree=tree, budget=budget, **settings)

    def mistake(self) -> str:
        """What makes no sense about this combination, in words; empty if all is well."""
        on_tree = self.walks
        if on_tree and not self.tree:
            return f"sampler {self.sampler} walks a tree: set tree to one of {', '.join(TREES)}"
        if not on_tree and self.tree:
            return f'sampler {self.sampler} walks no tree: set tree to "", or sampler to mcts'
        if self.sampler == "mcts_reg" and self.tree != "default":
            return (
                "sampler mcts_reg needs nodes that stand for a layer and an operation, as only the default "
                f"tree has: set tree to default instead of {self.tree}"
            )
        if self.sampler == "mcts_reg" and not self.communication:
            return f"sampler mcts_reg needs communication: one of {', '.join(COMMUNICATIONS)}"
        if self.sampler != "mcts_reg" and self.communication:
            return f'sampler {self.sampler} has no communication: set it to "", or sampler to mcts_reg'
        if self.relearned and self.brought:
            return f"sampler {self.sampler} keeps its tree: tree relearned is for mcts"
        if unknown := self.unknown(self.settings):
            return unknown
        try:
            self.try_out()
        except HnasError as error:
            return str(error)
        return ""

    def try_out(self, space: SearchSpace | None = None) -> None:
        """Use a registered sampler as a search does; raises :class:`HnasError` if it does not work.

        Args:
            space: that it is made over; default: a small one.
        """
        if not self.brought:
            return
        from hnas_kit.samplers.brought import try_out

        known = inspect.signature(SAMPLERS[self.sampler]).parameters
        own = {name: value for name, value in self.settings.items() if name in known}
        try_out(self.sampler, SAMPLERS[self.sampler], own, space)

    def unknown(self, settings: Iterable[str]) -> str:
        """Which of these settings it does not have, in words; empty if it has all."""
        if strange := [name for name in settings if name not in self.allowed]:
            if strange[0] == "relearn_every" and self.walks:
                return f"relearn_every is of tree relearned; tree is {self.tree}"
            has = f"it has {', '.join(self.allowed)}" if self.allowed else "it has no settings"
            return f"sampler {self.sampler} has no {strange[0]}; {has}"
        return ""


# the methods of Table 6, and MCTS on two more trees (Sec. 5.2)
METHODS = {
    "uniform": Method("uniform"),
    "independent": Method("independent"),
    "boltzmann": Method("boltzmann"),
    "mixture": Method("mixture"),
    "default": Method("mcts", "default"),
    "regularised": Method("mcts_reg", "default", "shared_table"),
    "learned": Method("mcts", "learned"),
    "random": Method("mcts", "random"),
    "accuracy": Method("mcts", "accuracy"),
}


def comparable() -> dict[str, Method]:
    """``METHODS``, what is none of the paper's, and each registered sampler that walks no tree."""
    own = {name: Method(name) for name in SAMPLERS.brought}
    rest = {name: method for name, method in own.items() if not method.walks}
    return METHODS | {"relearned": Method("mcts", RELEARNED)} | rest


def misplaced(sampler: str, settings: Mapping[str, Any]) -> str:
    """That ``settings`` are of samplers that were registered, in words; empty if all is well."""
    if settings and sampler not in SAMPLERS.brought:
        return f"settings are of samplers that were registered; {sampler} has parameters of their own"
    return ""

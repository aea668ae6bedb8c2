"""What the parameters of several notebooks or commands share, and how a mistake in one is said.

Each parameter is declared once, with its default; what it may be and means: :mod:`hnas_kit.runs.fields`.
"""

from __future__ import annotations

import difflib
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_serializer, model_validator

from hnas_kit import plugins
from hnas_kit.errors import HnasError
from hnas_kit.names import PHASED, PRECISIONS, PRIORS, READINGS, RELEARNED, SAMPLERS
from hnas_kit.runs import fields
from hnas_kit.runs.fields import Count, one_of
from hnas_kit.samplers.methods import Method, misplaced

if TYPE_CHECKING:
    from hnas_kit.training import Schedule


class Checked(BaseModel):
    """Values that are validated together."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @classmethod
    def checked(cls, values: Mapping[str, Any], where: str) -> Self:
        """Validate values; those left out are the defaults.

        Raises:
            HnasError: one line that names each mistake and ``where``.
        """
        if "plugins" in cls.model_fields:
            plugins.load_given(values.get("plugins", []))
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            mistakes = "; ".join(explain(e, cls) for e in error.errors())
            raise HnasError(f"{where}: {mistakes}") from None

    def __hash__(self) -> int:
        return hash(self.model_dump_json())  # of lists, too

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """The default of every parameter that has one."""
        known = cls.model_fields.items()
        return {name: field.get_default() for name, field in known if not field.is_required()}


class Parameters(Checked):
    """What all notebooks share."""

    notebook: ClassVar[str]

    run: fields.RunName = "quick"
    seed: int = Field(0, ge=0, lt=2**32, description="of every random draw")
    plugins: fields.Files = []


class Source(Parameters):
    """Notebooks that read what another one made: from ``source``, or from their own run if it is empty."""

    source: fields.NoRun = Field("", description='run to read from; "" is this run itself')

    @property
    def upstream(self) -> str:
        return self.source or self.run


class Compute(Parameters):
    """Notebooks that run the network."""

    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="that the network runs on; auto: a GPU if there is one"
    )
    threads: fields.Cores = Field(
        1, description="CPU threads, 0 for all cores; for a small network one is best"
    )


class Training(Compute):
    """Notebooks that train it, with SGD and a cosine schedule."""

    precision: one_of(PRECISIONS) = Field("float32", description="of the network; the others by autocast")
    epochs: Count
    batch_size: fields.BatchSize
    lr: fields.LearningRate = 0.03
    momentum: fields.Momentum = 0.9
    weight_decay: fields.WeightDecay = 1e-3
    checkpoint_every: Count = Field(500, description="steps")

    @property
    def optimiser(self) -> dict[str, Any]:
        """What :func:`hnas_kit.training.train` is told of the optimisation."""
        return self.model_dump(include={"lr", "momentum", "weight_decay", "precision"})


class Own(Checked):
    """What one method of a search may have otherwise than the others."""

    coefficient: float = Field(
        0.2, ge=0, le=1, description="weight of the communication between nodes (MCTS + Reg)"
    )
    beta: fields.Beta = 0.95
    exploration: fields.Exploration = 0.5
    bonus: one_of(READINGS["bonus"]) = Field(
        "sqrt", description="sqrt: Eq. 3; linear: Algorithm 1 as typeset"
    )
    start: one_of(READINGS["start"]) = Field("one", description="C starts at one, or at the first reward")
    warmup: one_of(READINGS["warmup"]) = Field(
        "architectures", description="the uniform phases draw architectures or branches alike"
    )
    refresh: one_of(READINGS["refresh"]) = Field(
        "draw", description="R at every draw (Eq. 3), or for the path just taken (Algorithm 1)"
    )
    prior: one_of(PRIORS) = Field(
        "branches", description="where R are equal, branches or (beyond the paper) leaves are drawn alike"
    )
    relearn_every: float = Field(
        0.34, gt=0, lt=1, description="share of the third phase after which tree relearned is learned anew"
    )
    phases: one_of(PHASED) = Field(
        "tree", description="these phases are for tree search alone, or for all methods"
    )
    temperature_start: fields.FirstTemperature = 0.02
    temperature_end: fields.Temperature = Field(0.0025, description="T at its end")
    temperature_flat: fields.Temperature = Field(
        0.2, description="T at the first step of methods without phases"
    )


class Protocol(Own):
    """How a search in three phases draws, learns and chooses, with a network or without one."""

    uniform_share: fields.FirstShare = 0.4
    warmup_share: fields.SecondShare = 0.25
    final_samples: Count = Field(50, description="draws that are ranked for the final choice")

    @property
    def sampler_settings(self) -> dict[str, float | str]:
        """What :meth:`hnas_kit.samplers.Method.make` is told of the sampler."""
        return self.model_dump(include={"beta", "exploration", "models", "coefficient", "prior", *READINGS})

    def phases_of(self, steps: int, method: Method | None = None) -> Schedule:
        """The phases and the temperature of a method's search; of tree search, if no method is named."""
        from hnas_kit.training import Schedule

        own = dict(self) if method is None else dict(self) | dict(method.settings)
        phased = method is None or own["phases"] == "all" or SAMPLERS[method.sampler].phased
        first, last = own["temperature_start" if phased else "temperature_flat"], own["temperature_end"]
        return Schedule(steps, self.uniform_share, self.warmup_share, first, last, phased)

    @property
    def readings(self) -> str:
        """Which readings of the paper this search follows, and what is beyond it, in one line."""
        parts = [f"{name} {getattr(self, name)}: {READINGS[name][getattr(self, name)]}" for name in READINGS]
        parts.append(f"phases {self.phases}: {PHASED[self.phases]}")
        parts += [f"prior {self.prior}: {PRIORS[self.prior]}"] if self.prior != "branches" else []
        return "; ".join(parts)

    @model_validator(mode="after")
    def _leaves_steps(self) -> Self:
        if self.uniform_share + self.warmup_share >= 1:
            raise ValueError("uniform_share + warmup_share must be below 1, to leave steps for the search")
        return self


class Phased(Protocol, Training):
    """Notebooks that search while they train, in three phases."""

    def schedule(self, images: int, method: Method | None = None) -> Schedule:
        """The phases and the temperature of a method's search on that many training images.

        Of tree search, if no method is named.
        """
        return self.phases_of(self.epochs * -(-images // self.batch_size), method)

    def trial(self, method: Method) -> dict[str, Any]:
        """What :func:`hnas_kit.search.trial` is told of a method's search, beside its schedule."""
        own = {"seed", "batch_size", "final", "final_samples", "scored"}
        told = self.optimiser | self.model_dump(include=own)
        if method.relearned:
            told["relearn"] = {"every": self.relearns(method)} | self.tree_from
        return told

    def relearns(self, method: Method) -> float:
        """After which share of the third phase a method learns its tree anew."""
        return method.settings.get("relearn_every", self.relearn_every)

    @property
    @abstractmethod
    def tree_from(self) -> dict[str, Any]:
        """Images, measure and linkage of the learned tree."""

    @property
    def readings(self) -> str:
        anew = [
            f"{name}: tree learned anew after each {self.relearns(method):g} of phase 3 (beyond the paper)"
            for name, method in self.searched.items()
            if method.relearned
        ]
        return "; ".join([super().readings, *anew])

    @property
    @abstractmethod
    def searched(self) -> dict[str, Method]:
        """What is searched with, by name; the first one's result is the run's."""

    def unused(self, names: Iterable[str]) -> str:
        """The first of these settings that no method of the run has, in words; empty if there is none."""
        every = [*(Method(name, "-") for name in SAMPLERS), Method("mcts", RELEARNED)]
        found = list(self.searched.values())
        for name in names:
            known = any(name in method.allowed for method in every)
            if known and not any(name in method.allowed for method in found):
                return found[0].unknown([name])
        return ""


class Entry(Own):
    """A method to compare with, with settings of its own; those left out are the run's."""

    label: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.,+=()-]{0,59}$")]
    sampler: fields.Sampler
    settings: fields.Settings = {}
    tree: fields.TreeName = ""
    communication: fields.Communication = ""
    reward: fields.Reward = None
    models: fields.Models = None

    @property
    def method(self) -> Method:
        given = self.model_dump()
        what = [given.pop(name, "") for name in ("sampler", "tree", "communication", "label")]
        return Method(*what, given.pop("settings", {}) | given)

    @model_validator(mode="after")
    def _consistent(self) -> Entry:
        if mistake := misplaced(self.sampler, self.settings) or self.method.mistake():
            raise ValueError(mistake)
        return self

    @model_serializer
    def _given(self) -> dict[str, Any]:
        """What was said, no more."""
        names = (*type(self).__annotations__, *type(self).model_fields)
        return {name: getattr(self, name) for name in names if name in self.model_fields_set}


def explain(error: dict, cls: type[BaseModel]) -> str:
    """One mistake that validation found, in words."""
    # the tags of ``Compared`` stand behind compare and a number
    place = [part for at, part in enumerate(error["loc"]) if at != 2 or part not in ("entry", "name")]
    inside = error["loc"][2:3] == ("entry",)
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
    if error["type"] == "extra_forbidden":
        return unknown(name, (Entry if inside else cls).model_fields, str(place[-1]))
    if error["type"] == "missing":
        return f"parameter {name} is missing"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "string_pattern_mismatch":  # of a label; a run's name says itself what is wrong
        message = "should be 1 to 60 letters, digits, spaces and _ . , + = ( ) - after a letter or digit"
    return f"{name} is {fields.shortened(error['input'])}: {message}" if name else message


def unknown(name: str, known: Iterable[str], last: str = "") -> str:
    """That there is no such parameter, in words; ``last`` is its own part of a name with a place."""
    known = list(known)
    close = difflib.get_close_matches(last or name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"allowed: {', '.join(known)}"
    said = name if name and name == name.strip() else repr(name)
    return f"unknown parameter {said} ({hint})"

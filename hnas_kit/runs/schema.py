"""What parameters are declared of: values, their meaning and limits, and what several notebooks share.

Each parameter is declared once, with its default, what is allowed and what it means. Names are looked up when
they are given, so what was registered counts. Nothing here imports what computes.
"""

from __future__ import annotations

import difflib
from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_serializer,
    model_validator,
)

from hnas_kit import plugins
from hnas_kit.errors import HnasError
from hnas_kit.names import (
    COMMUNICATIONS,
    PHASED,
    PRECISIONS,
    READINGS,
    REWARDS,
    SAMPLERS,
    SPACES,
    TREES,
)
from hnas_kit.runs.run_names import run_name, shortened
from hnas_kit.samplers.methods import Method, misplaced

if TYPE_CHECKING:
    from hnas_kit.training import Schedule


@dataclass(frozen=True, eq=False)
class OneOf:
    """A field's value is one of these names, as they are when it is checked."""

    names: Collection[str]
    empty: bool = False  # whether "" is allowed too

    @property
    def allowed(self) -> list[str]:
        return [*([""] if self.empty else []), *self.names]

    def check(self, value: Any) -> Any:
        if isinstance(value, str) and value in self.allowed:
            return value
        *first, last = map(repr, self.allowed)
        raise ValueError(f"Input should be {', '.join(first)} or {last}")


def one_of(names: Collection[str], empty: bool = False) -> Any:
    """The type of a field that holds one of these names, or "" as well."""
    allowed = OneOf(names, empty)
    return Annotated[Any, AfterValidator(allowed.check), allowed]


def _size(value: int) -> int:
    if 0 < value < 8:
        raise ValueError("Input should be at least 8, or 0 for the size that the images have")
    return value


Files = Annotated[list[str], BeforeValidator(plugins.listed)]
RunName = Annotated[str, AfterValidator(run_name)]
NoRun = Annotated[str, AfterValidator(lambda value: run_name(value) if value else value)]
Count = Annotated[int, Field(ge=1, le=10**7)]  # beyond it are slips of the hand
Whole = Annotated[int, Field(ge=0, le=10**7)]
Cores = Annotated[int, Field(ge=0, le=1024)]  # and threads
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]

# parameters of several notebooks or commands, whose defaults differ
Space = Annotated[one_of(SPACES), Field(description="search space")]
Dataset = Annotated[
    str,
    Field(description="textures, digits, cifar10, cifar10_jpeg, or one's own as folder:PATH"),
]
Settings = Annotated[
    dict[str, bool | int | float | str | None], Field(description="of a sampler that was registered")
]
ImageSize = Annotated[
    int,
    Field(ge=0, le=4096, description="of the network's input, pixels, at least 8; 0: as the images are"),
    AfterValidator(_size),
]
Width = Annotated[
    int, Field(ge=1, le=4096, description="channels of the stem (paper: 16; macro and mobile 32)")
]
BatchSize = Annotated[Count, Field(description="images a step, and in the reward")]
LearningRate = Annotated[Positive, Field(description="initial learning rate, cosine to 0")]
WeightDecay = Annotated[NotNegative, Field(description="of SGD")]
Reward = Annotated[one_of(REWARDS), Field(description="what a search learns from (Table 7)")]
Sampler = Annotated[one_of(SAMPLERS), Field(description="how architectures are drawn")]
TreeName = Annotated[
    one_of(TREES, empty=True), Field(description='that mcts walks; mcts_reg: default; others: ""')
]
Communication = Annotated[
    one_of(COMMUNICATIONS, empty=True), Field(description='between the nodes of mcts_reg; others: ""')
]
Models = Annotated[int, Field(ge=1, le=64, description="supernets of a mixture")]
Coefficient = Annotated[
    float, Field(ge=0, le=1, description="weight of the communication between nodes (MCTS + Reg)")
]
FirstShare = Annotated[Share, Field(description="first phase, of the steps (paper: 0.4)")]
SecondShare = Annotated[Share, Field(description="second phase, of the steps (paper: 0.25)")]
Phases = Annotated[
    one_of(PHASED), Field(description="these phases are for tree search alone, or for all methods")
]
FirstTemperature = Annotated[Positive, Field(description="T at the start of the third phase")]
LastTemperature = Annotated[Positive, Field(description="T at its end")]
FlatTemperature = Annotated[Positive, Field(description="T at the first step of methods without phases")]
Exploration = Annotated[NotNegative, Field(description="lambda (paper: 0.5)")]
Beta = Annotated[Share, Field(description="smoothing of C, Eq. 4 (paper: 0.95)")]
Bonus = Annotated[one_of(READINGS["bonus"]), Field(description="sqrt: Eq. 3; linear: Algorithm 1 as typeset")]
Start = Annotated[one_of(READINGS["start"]), Field(description="C starts at one, or at the first reward")]
Warmup = Annotated[
    one_of(READINGS["warmup"]),
    Field(description="the uniform phases draw architectures or branches alike"),
]
Refresh = Annotated[
    one_of(READINGS["refresh"]),
    Field(description="R at every draw (Eq. 3), or for the path just taken (Algorithm 1)"),
]


class Checked(BaseModel):
    """Values that are validated together."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @classmethod
    def checked(cls, values: Mapping[str, Any], where: str) -> Self:
        """Validate values; those left out are the defaults.

        Raises:
            HnasError: one line that names each mistake and ``where``.
        """
        if "plugins" in cls.model_fields and isinstance(
            files := plugins.listed(values.get("plugins", [])), list
        ):
            plugins.load(file for file in files if isinstance(file, str))
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
        fields = cls.model_fields.items()
        return {name: field.get_default() for name, field in fields if not field.is_required()}


class Parameters(Checked):
    """What all notebooks share."""

    notebook: ClassVar[str]

    run: RunName = Field("quick", description="name of the run folder in outputs/")
    seed: int = Field(0, ge=0, lt=2**32, description="of every random draw")
    plugins: Files = Field([], description="files of one's own that register what is used")


class Source(Parameters):
    """Notebooks that read what another one made: from ``source``, or from their own run if it is empty."""

    source: NoRun = Field("", description='run to read from; "" is this run itself')

    @property
    def upstream(self) -> str:
        return self.source or self.run


class Compute(Parameters):
    """Notebooks that run the network."""

    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="that the network runs on; auto: a GPU if there is one"
    )
    threads: Cores = Field(1, description="CPU threads, 0 for all cores; for a small network one is best")


class Training(Compute):
    """Notebooks that train it, with SGD and a cosine schedule."""

    precision: one_of(PRECISIONS) = Field("float32", description="of the network; the others by autocast")
    epochs: Count
    batch_size: BatchSize
    lr: LearningRate = 0.03
    momentum: Share = Field(0.9, description="of SGD (Nesterov)")
    weight_decay: WeightDecay = 1e-3
    checkpoint_every: Count = Field(500, description="steps")

    @property
    def optimiser(self) -> dict[str, Any]:
        """What :func:`hnas_kit.training.train` is told of the optimisation."""
        return self.model_dump(include={"lr", "momentum", "weight_decay", "precision"})


class Protocol(Checked):
    """How a search in three phases draws, learns and chooses, with a network or without one."""

    uniform_share: FirstShare = 0.4
    warmup_share: SecondShare = 0.25
    phases: Phases = "tree"
    temperature_start: FirstTemperature = 0.02
    temperature_end: LastTemperature = 0.0025
    temperature_flat: FlatTemperature = 0.2
    exploration: Exploration = 0.5
    beta: Beta = 0.95
    bonus: Bonus = "sqrt"
    start: Start = "one"
    warmup: Warmup = "architectures"
    refresh: Refresh = "draw"
    coefficient: Coefficient = 0.2
    final_samples: Count = Field(50, description="draws that are ranked for the final choice")

    @property
    def sampler_settings(self) -> dict[str, float | str]:
        """What :meth:`hnas_kit.samplers.Method.make` is told of the sampler."""
        return self.model_dump(include={"beta", "exploration", "models", "coefficient", *READINGS})

    def phases_of(self, steps: int, method: Method | None = None) -> Schedule:
        """The phases and the temperature of a method's search; of tree search, if no method is named."""
        from hnas_kit.training import Schedule

        own = {} if method is None else dict(method.settings)
        first, last, flat, phases = (
            own.get(name, getattr(self, name))
            for name in ("temperature_start", "temperature_end", "temperature_flat", "phases")
        )
        phased = method is None or phases == "all" or SAMPLERS[method.sampler].phased
        shares = self.uniform_share, self.warmup_share
        return Schedule(steps, *shares, first if phased else flat, last, phased)

    @property
    def readings(self) -> str:
        """Which readings of the paper this search follows, in one line."""
        parts = [f"{name} {getattr(self, name)}: {READINGS[name][getattr(self, name)]}" for name in READINGS]
        return "; ".join([*parts, f"phases {self.phases}: {PHASED[self.phases]}"])

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
        return self.optimiser | self.model_dump(
            include={"seed", "batch_size", "final", "final_samples", "scored"}
        )

    @property
    @abstractmethod
    def searched(self) -> dict[str, Method]:
        """What is searched with, by name; the first one's result is the run's."""

    def unused(self, names: Iterable[str]) -> str:
        """The first of these settings that no method of the run has, in words; empty if there is none."""
        every = [Method(name, "-") for name in SAMPLERS]
        settings = [name for name in names if any(name in method.allowed for method in every)]
        found = list(self.searched.values())
        for name in settings:
            if not any(name in method.allowed for method in found):
                return found[0].unknown([name])
        return ""


class Entry(BaseModel):
    """A method to compare with, with settings of its own; those left out are the run's."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    label: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.,+=()-]{0,59}$")]
    sampler: Sampler
    settings: Settings = {}
    tree: TreeName = ""
    communication: Communication = ""
    reward: Reward | None = None
    models: Models | None = None
    coefficient: Coefficient | None = None
    beta: Beta | None = None
    exploration: Exploration | None = None
    bonus: Bonus | None = None
    start: Start | None = None
    warmup: Warmup | None = None
    refresh: Refresh | None = None
    phases: Phases | None = None
    temperature_start: FirstTemperature | None = None
    temperature_end: LastTemperature | None = None
    temperature_flat: FlatTemperature | None = None

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
        return {
            name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set
        }


def explain(error: dict, cls: type[BaseModel]) -> str:
    """One mistake that validation found, in words."""
    place, inside = [part for part in error["loc"] if part not in ("entry", "name")], "entry" in error["loc"]
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
    if error["type"] == "extra_forbidden":
        return unknown(name, (Entry if inside else cls).model_fields, str(place[-1]))
    if error["type"] == "missing":
        return f"parameter {name} is missing"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "string_pattern_mismatch":  # of a label; a run's name says itself what is wrong
        message = "should be 1 to 60 letters, digits, spaces and _ . , + = ( ) - after a letter or digit"
    return f"{name} is {shortened(error['input'])}: {message}" if name else message


def unknown(name: str, known: Iterable[str], last: str = "") -> str:
    """That there is no such parameter, in words; ``last`` is its own part of a name with a place."""
    known = list(known)
    close = difflib.get_close_matches(last or name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"allowed: {', '.join(known)}"
    said = name if name and name == name.strip() else repr(name)
    return f"unknown parameter {said} ({hint})"

"""The parameters of every notebook, validated before anything is loaded or written."""

from __future__ import annotations

import ast
import difflib
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_serializer,
    model_validator,
)

from hnas_kit.distances import MEASURES
from hnas_kit.errors import HnasError, require_one_of
from hnas_kit.files import read_yaml
from hnas_kit.processes.distributed import Team
from hnas_kit.rewards import REWARDS
from hnas_kit.samplers import COMMUNICATIONS, METHODS, READINGS, SAMPLERS, TREES, Method
from hnas_kit.search import FINAL_CHOICES
from hnas_kit.spaces import ENCODINGS, SPACES
from hnas_kit.training import PHASED, PRECISIONS, Schedule
from hnas_kit.trees import LINKAGES

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
_RUN_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*"
RunName = Annotated[str, Field(pattern=f"^{_RUN_NAME}$")]


def _size(value: int) -> int:
    if 0 < value < 8:
        raise ValueError("Input should be at least 8, or 0 for the size that the images have")
    return value


ImageSize = Annotated[int, Field(ge=0), AfterValidator(_size)]


class Checked(BaseModel):
    """Values that are validated together."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @classmethod
    def checked(cls, values: Mapping[str, Any], where: str) -> Self:
        """Validate values; raises :class:`HnasError` with one line that names each mistake and ``where``."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            mistakes = "; ".join(explain(e, cls) for e in error.errors())
            raise HnasError(f"{where}: {mistakes}") from None


class Parameters(Checked):
    """What all notebooks share."""

    notebook: ClassVar[str]

    run: RunName  # name of the run folder in outputs/
    seed: Annotated[int, Field(ge=0, lt=2**32)]


class Source(Parameters):
    """Notebooks that read what another one made: from ``source``, or from their own run if it is empty."""

    source: Annotated[str, Field(pattern=f"^({_RUN_NAME})?$")]

    @property
    def upstream(self) -> str:
        return self.source or self.run


class Compute(Parameters):
    """Notebooks that run the network."""

    device: Literal["auto", "cpu", "cuda", "mps"]
    threads: Annotated[int, Field(ge=0)]  # of PyTorch on the CPU; 0: as many as there are cores


class Training(Compute):
    """Notebooks that train it, with SGD and a cosine schedule."""

    precision: Literal[tuple(PRECISIONS)]
    epochs: Count
    batch_size: Count
    lr: Positive
    momentum: Share
    weight_decay: NotNegative
    checkpoint_every: Count  # steps

    @property
    def optimiser(self) -> dict[str, Any]:
        """What :func:`hnas_kit.training.train` is told of the optimisation."""
        return self.model_dump(include={"lr", "momentum", "weight_decay", "precision"})


class Protocol(Checked):
    """How a search in three phases draws, learns and chooses, with a network or without one."""

    uniform_share: Share
    warmup_share: Share
    phases: Literal[tuple(PHASED)]
    temperature_start: Positive
    temperature_end: Positive
    temperature_flat: Positive  # T at the first step of methods without phases
    exploration: NotNegative  # lambda
    beta: Share  # of Eq. 4
    bonus: Literal[tuple(READINGS["bonus"])]
    start: Literal[tuple(READINGS["start"])]
    warmup: Literal[tuple(READINGS["warmup"])]
    refresh: Literal[tuple(READINGS["refresh"])]
    coefficient: Annotated[float, Field(ge=0, le=1)]  # weight of the communication of MCTS + Reg
    final_samples: Count  # draws for the final choice

    @property
    def sampler_settings(self) -> dict[str, float | str]:
        """What :meth:`hnas_kit.samplers.Method.make` is told of the sampler."""
        return self.model_dump(include={"beta", "exploration", "models", "coefficient", *READINGS})

    def phases_of(self, steps: int, method: Method | None = None) -> Schedule:
        """The phases and the temperature of a method's search; of tree search, if no method is named."""
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
    sampler: Literal[tuple(SAMPLERS)]
    tree: Literal["", *TREES] = ""
    communication: Literal["", *COMMUNICATIONS] = ""
    reward: Literal[REWARDS] | None = None
    models: Count | None = None
    coefficient: Annotated[float, Field(ge=0, le=1)] | None = None
    beta: Share | None = None
    exploration: NotNegative | None = None
    bonus: Literal[tuple(READINGS["bonus"])] | None = None
    start: Literal[tuple(READINGS["start"])] | None = None
    warmup: Literal[tuple(READINGS["warmup"])] | None = None
    refresh: Literal[tuple(READINGS["refresh"])] | None = None
    phases: Literal[tuple(PHASED)] | None = None
    temperature_start: Positive | None = None
    temperature_end: Positive | None = None
    temperature_flat: Positive | None = None

    @property
    def method(self) -> Method:
        given = self.model_dump()
        what = [given.pop(name, "") for name in ("sampler", "tree", "communication", "label")]
        return Method(*what, given)

    @model_validator(mode="after")
    def _consistent(self) -> Entry:
        if mistake := self.method.mistake():
            raise ValueError(mistake)
        return self

    @model_serializer
    def _given(self) -> dict[str, Any]:
        """What was said, no more."""
        return {
            name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set
        }


class Pretrain(Training):
    notebook = "01_pretrain"

    epochs: Annotated[int, Field(ge=0)]  # 0: the supernet stays as it was initialised
    space: Literal[tuple(SPACES)]
    dataset: str  # a name, or LAYOUT:PATH
    image_size: ImageSize  # of the network's input, pixels; 0: as the images are, see data.load
    width: Count  # channels of the stem
    scored: Annotated[int, Field(ge=0)]  # validation images to score all architectures on; 0: all


class Distances(Source, Compute):
    notebook = "02_distances"

    images: Count  # validation images that outputs are compared on
    measure: Literal[MEASURES + ENCODINGS]  # between outputs, or between encodings
    decay: Annotated[float, Field(gt=0, le=1)]  # weight of layer l in an encoding: decay ** l; 1: all alike

    @model_validator(mode="after")
    def _consistent(self) -> Distances:
        if self.decay != 1 and self.measure not in ENCODINGS:
            raise ValueError(
                f"decay weighs the layers of an encoding; with measure: {self.measure} it must be 1.0"
            )
        return self


class Tree(Source):
    notebook = "03_tree"

    linkage: Literal[LINKAGES]


# an error is told of the one that was meant
Compared = Annotated[
    Annotated[Literal[tuple(METHODS)], Tag("name")] | Annotated[Entry, Tag("entry")],
    Discriminator(lambda value: "name" if isinstance(value, str) else "entry"),
]


class Search(Source, Phased):
    notebook = "04_mcts"

    sampler: Literal[tuple(SAMPLERS)]
    tree: Literal["", *TREES]
    communication: Literal["", *COMMUNICATIONS]
    models: Count  # supernets of a mixture
    reward: Literal[REWARDS]
    compare: list[Compared]  # methods to run beside it
    final: Literal[tuple(FINAL_CHOICES)]
    retrain: Annotated[int, Field(ge=0)]  # trainings of what was found, alone from new weights
    retrain_epochs: Count
    simulated: Annotated[int, Field(ge=0)]  # simulated searches of each method

    @property
    def searched(self) -> dict[str, Method]:
        first = Method(self.sampler, self.tree, self.communication)
        others = [entry.method if isinstance(entry, Entry) else METHODS[entry] for entry in self.compare]
        return {method.name: method for method in (first, *others)}

    def reward_of(self, method: Method) -> str:
        """The reward that a method learns from."""
        return method.settings.get("reward", self.reward)

    @property
    def readings(self) -> str:
        """Which readings of the paper this search follows, and what single methods have of their own."""
        parts = [super().readings, f"final choice {self.final}: {FINAL_CHOICES[self.final]}"]
        for name, method in self.searched.items():
            own = [f"communication {method.communication}"] if method.communication else []
            own += [f"{setting} {value}" for setting, value in method.settings.items()]
            parts += [f"{name}: {', '.join(own)}"] if own else []
        return "; ".join(parts)

    @model_validator(mode="after")
    def _consistent(self) -> Search:
        first = Method(self.sampler, self.tree, self.communication)
        if mistake := first.mistake():
            raise ValueError(mistake)
        if len(self.searched) < 1 + len(self.compare):
            raise ValueError(f"compare must not repeat a method, nor {first.name}, which is searched anyway")
        return self


class Ablations(Source, Compute):
    notebook = "05_ablations"

    runs: Annotated[str, Field(pattern=f"^({_RUN_NAME})?$")]  # of finished sweeps; empty: a rehearsal here
    epochs: Count  # of each search of the rehearsal
    seeds: Count  # searches of each method of Table 1 in the rehearsal
    scored: Annotated[int, Field(ge=0)]  # validation images for its final choices; 0: all
    workers: Annotated[int, Field(ge=0)]  # processes of the rehearsal; 0: one a core


IN_WINDOW = ("learned", "boltzmann", "uniform", "regularised", "default", "independent")


class Imagenet(Phased):
    notebook = "06_imagenet"

    dataset: str  # a name, or LAYOUT:PATH
    image_size: Annotated[int, Field(ge=8)]  # of the network's input, pixels; images are resized to it
    workers: Annotated[int, Field(ge=0)]  # that read images which do not fit in memory; 0: none beside
    width: Count  # channels of the stem; MACs are those of the full-size network all the same
    low: Positive  # of the window, millions of MACs
    high: Positive
    pool: Annotated[int, Field(ge=2)]  # architectures under the learned tree
    images: Count  # validation images that outputs are compared on
    measure: Literal[MEASURES]
    linkage: Literal[LINKAGES]
    methods: Annotated[list[Literal[IN_WINDOW]], Field(min_length=1)]  # the first one's result is the run's
    pretrain_epochs: Annotated[int, Field(ge=0)]
    scored: Annotated[int, Field(ge=0)]  # validation images for the final choice; 0: all
    tested: Annotated[int, Field(ge=0)]  # test images for the final figures; 0: all
    parts: Count  # of a batch, each with BatchNorm statistics of its own
    processes: Count  # that train together; their number divides parts

    @property
    def searched(self) -> dict[str, Method]:
        return {name: METHODS[name] for name in self.methods}

    @model_validator(mode="after")
    def _consistent(self) -> Imagenet:
        try:
            Team(size=self.processes).mine(self.parts, self.batch_size)
        except HnasError as error:
            raise ValueError(str(error)) from None
        if self.low > self.high:
            raise ValueError(f"low is {self.low} and high {self.high}; low must not be above high")
        if len(set(self.methods)) < len(self.methods):
            raise ValueError("methods must not repeat a method")
        return self


class Retrain(Training):
    """Of ``hnas retrain``, which trains one architecture alone."""

    notebook = "retrain"

    space: Literal[tuple(SPACES)]
    dataset: str  # a name, or LAYOUT:PATH
    architecture: str  # in the space's text form
    width: Count  # channels of the stem
    image_size: ImageSize  # of the network's input, pixels; 0: as the images are, see data.load
    workers: Annotated[int, Field(ge=0)]  # processes that read such images; 0: the one that trains
    warmup_epochs: Annotated[int, Field(ge=0)]  # of the epochs; the learning rate rises
    label_smoothing: Share
    ema_decay: Share  # of the moving average of weights, a step; 0: there is none

    @property
    def optimiser(self) -> dict[str, Any]:
        """What :func:`hnas_kit.benchmarks.alone.train` is told of the optimisation."""
        more = self.model_dump(
            include={"epochs", "batch_size", "warmup_epochs", "ema_decay", "label_smoothing"}
        )
        return super().optimiser | more

    @model_validator(mode="after")
    def _consistent(self) -> Retrain:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs is {self.warmup_epochs}: it must be below epochs, {self.epochs}")
        return self


class Simulate(Protocol):
    """Of ``hnas simulate``, which searches without a network, many times."""

    seeds: Annotated[int, Field(ge=1, le=2**32)]  # searches of each method, with the seeds from 0 on
    steps: Count
    rewards: Literal["true", "supernet"]  # whose accuracies rewards and the final choice follow
    learning: NotNegative  # of the learning curve, see hnas_kit.studies.simulation.simulate
    batch_size: Count  # images a reward
    final: Literal[tuple(FINAL_CHOICES)]
    scored: Annotated[int, Field(ge=0)]  # images for the final choice; 0: accuracies themselves

    @property
    def readings(self) -> str:
        """Which readings of the paper these searches follow, in one line."""
        choice = f"the best of {self.final_samples} draws at lambda = 0 (Sec. 4)"
        choice = choice if self.final == "samples" else FINAL_CHOICES[self.final]
        return f"{super().readings}; final choice {self.final}: {choice}"

    @model_validator(mode="after")
    def _has_a_third_phase(self) -> Self:
        if self.phases_of(self.steps).starts[2] >= self.steps:
            raise ValueError(f"of {self.steps} steps none is left for the third phase")
        return self


NOTEBOOKS: dict[str, type[Parameters]] = {
    cls.notebook: cls for cls in (Pretrain, Distances, Tree, Search, Ablations, Imagenet)
}


def explain(error: dict, cls: type[Checked]) -> str:
    place, inside = list(error["loc"]), "entry" in error["loc"]
    place = [part for part in place if part not in ("entry", "name")]
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
    if error["type"] == "extra_forbidden":
        known = (Entry if inside else cls).model_fields
        close = difflib.get_close_matches(str(place[-1]), known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"allowed: {', '.join(known)}"
        return f"unknown parameter {name} ({hint})"
    if error["type"] == "missing":
        return f"parameter {name} is missing"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "string_pattern_mismatch":
        message = "should be a plain name: letters, digits and _ . - (parts may be joined by /)"
        if inside:
            message = "should be 1 to 60 letters, digits, spaces and _ . , + = ( ) - after a letter or digit"
    return f"{name} is {error['input']!r}: {message}" if name else message


def read(notebook: str, namespace: Mapping[str, Any]) -> Parameters:
    """The validated parameters of a running notebook, from its variables.

    Papermill injects even names that the notebook does not have; they are found in its injected cell,
    so a misspelt one is refused instead of ignored.

    Args:
        notebook: for instance ``"01_pretrain"``.
        namespace: the notebook's ``globals()``.

    Raises:
        HnasError: one line, for an unknown name, a wrong type or a value out of range.
    """
    cls = NOTEBOOKS[notebook]
    values = {name: namespace[name] for name in cls.model_fields if name in namespace}
    for cell in namespace.get("In", []):
        if cell.startswith("# Parameters"):
            for node in ast.parse(cell).body:
                if isinstance(node, ast.Assign):
                    name = node.targets[0].id
                    values[name] = namespace[name]
    return cls.checked(values, f"notebook {notebook}")


def load_profile(folder: Path) -> dict[str, dict[str, Any]]:
    """The raw parameters of every notebook that a profile folder has a file for, in the notebooks' order."""
    if not folder.is_dir():
        raise HnasError(f"there is no profile folder {folder}")
    profile = {}
    for path in sorted(folder.glob("*.yaml")):
        if path.stem not in NOTEBOOKS:
            raise HnasError(f"{path}: there is no notebook {path.stem}; allowed: {', '.join(NOTEBOOKS)}")
        profile[path.stem] = read_yaml(path)
    if not profile:
        raise HnasError(f"profile folder {folder} holds no <notebook>.yaml")
    return profile


def override(profile: dict[str, dict[str, Any]], changes: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The profile with ``NAME: value`` in every notebook that has it, then ``NOTEBOOK.NAME: value`` in one.

    Raises:
        HnasError: for an unknown notebook or name.
    """
    changed = _everywhere(profile, {name: value for name, value in changes.items() if "." not in name})
    for name in [name for name in changes if "." in name]:
        notebook, _, own = name.partition(".")
        require_one_of("notebook", notebook, profile)
        changed |= _everywhere({notebook: changed[notebook]}, {own: changes[name]})
    return changed


def is_text(name: str) -> bool:
    """Whether a parameter's value is text, whatever it looks like."""
    own = name.rpartition(".")[2]
    fields = [cls.model_fields[own] for cls in (*NOTEBOOKS.values(), Retrain) if own in cls.model_fields]
    return any(field.annotation is str for field in fields)


def _everywhere(
    profile: Mapping[str, dict[str, Any]], changes: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    known = {name for notebook in profile for name in NOTEBOOKS[notebook].model_fields}
    for name in changes:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"allowed: {', '.join(sorted(known))}"
            raise HnasError(f"unknown parameter {name} ({hint})")
    return {
        notebook: values | {k: v for k, v in changes.items() if k in NOTEBOOKS[notebook].model_fields}
        for notebook, values in profile.items()
    }

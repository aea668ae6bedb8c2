"""What a parameter may be: types with limits and meaning, of what several notebooks or commands have.

Names are looked up when they are given, so what was registered counts. Nothing here imports what computes.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from hnas_kit import plugins
from hnas_kit.errors import HnasError
from hnas_kit.names import COMMUNICATIONS, REWARDS, SAMPLERS, SPACES, TREES

# what lies in a run's folder has these names, and a run may lie in another one's folder
RESERVED = re.compile(r"\d\d_[a-z]+(\..*)?|retrain-.*|.*\.(html|csv|ipynb|json|lock|tmp|old)")
LONGEST = 120  # letters of a part of a name; file systems take 255, and more is added to it


def run_name(value: str) -> str:
    """A run's name, of its folder; raises :class:`ValueError`, with what is allowed, for another text."""
    parts = value.split("/")
    if not all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", part) for part in parts):
        raise ValueError("should be a plain name: letters, digits and _ . - (parts may be joined by /)")
    if len(value) > 4 * LONGEST or max(map(len, parts)) > LONGEST:
        raise ValueError(f"should have at most {LONGEST} letters (and {4 * LONGEST} with its folders)")
    if taken := [part for part in parts if RESERVED.fullmatch(part)]:
        raise ValueError(
            f"should not have the part {taken[0]}, which is a name of what lies in a run's folder"
        )
    return value


def shortened(value: object) -> str:
    """A value as it was given, in one line that can be read."""
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:60]}... ({len(text)} letters)"


def check_run(value: str) -> None:
    """Raise :class:`HnasError` for what is not a run's name."""
    try:
        run_name(value)
    except ValueError as error:
        raise HnasError(f"run is {shortened(value)}: {error}") from None


@dataclass(frozen=True, eq=False)
class OneOf:
    """A field's value is one of these names, as they are when it is checked."""

    names: Collection[str] | Callable[[], Collection[str]]
    empty: bool = False  # whether "" is allowed too

    @property
    def allowed(self) -> list[str]:
        names = self.names() if callable(self.names) else self.names
        return [*([""] if self.empty else []), *names]

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


Files = Annotated[
    list[str],
    BeforeValidator(plugins.listed),
    Field(description="files of one's own that register what is used"),
]
RunName = Annotated[str, AfterValidator(run_name), Field(description="name of the run folder in outputs/")]
NoRun = Annotated[str, AfterValidator(lambda value: run_name(value) if value else value)]
Count = Annotated[int, Field(ge=1, le=10**7)]  # beyond it are slips of the hand
Whole = Annotated[int, Field(ge=0, le=10**7)]
Cores = Annotated[int, Field(ge=0, le=1024)]  # and threads
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0, le=10**6)]
Temperature = Annotated[float, Field(ge=1e-6, le=10**6)]  # so that none in between is rounded to 0
Share = Annotated[float, Field(ge=0, lt=1)]

# parameters of several notebooks or commands, whose defaults differ
Space = Annotated[one_of(SPACES), Field(description="search space")]
Dataset = Annotated[
    str, Field(description="textures, digits, cifar10, cifar10_jpeg, or one's own as folder:PATH")
]
ImageSize = Annotated[
    int,
    Field(ge=0, le=4096, description="of the network's input, pixels, at least 8; 0: as the images are"),
    AfterValidator(_size),
]
Width = Annotated[
    int, Field(ge=1, le=4096, description="channels of the stem (paper: 16; macro and mobile 32)")
]
Readers = Annotated[
    Cores, Field(description="processes that read images too many for memory; 0: none beside")
]
BatchSize = Annotated[Count, Field(description="images a step, and in the reward")]
LearningRate = Annotated[Positive, Field(description="initial learning rate, cosine to 0")]
Momentum = Annotated[Share, Field(description="of SGD (Nesterov)")]
WeightDecay = Annotated[NotNegative, Field(description="of SGD")]
Reward = Annotated[one_of(REWARDS), Field(description="what a search learns from (Table 7)")]
Sampler = Annotated[one_of(SAMPLERS), Field(description="how architectures are drawn")]
TreeName = Annotated[
    one_of(TREES, empty=True), Field(description='that mcts walks; mcts_reg: default; others: ""')
]
Communication = Annotated[
    one_of(COMMUNICATIONS, empty=True), Field(description='between the nodes of mcts_reg; others: ""')
]
Settings = Annotated[
    dict[str, bool | int | float | str | None], Field(description="of a sampler that was registered")
]
Models = Annotated[int, Field(ge=1, le=64, description="supernets of a mixture")]
FirstShare = Annotated[Share, Field(description="first phase, of the steps (paper: 0.4)")]
SecondShare = Annotated[Share, Field(description="second phase, of the steps (paper: 0.25)")]
FirstTemperature = Annotated[Temperature, Field(description="T at the start of the third phase")]
Exploration = Annotated[NotNegative, Field(description="lambda (paper: 0.5)")]
Beta = Annotated[Share, Field(description="smoothing of C, Eq. 4 (paper: 0.95)")]

"""What a parameter may be: types with limits and meaning, of what several notebooks or commands have.

Names are looked up when they are given, so what was registered counts. Nothing here imports what computes.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from hnas_kit import plugins
from hnas_kit.names import COMMUNICATIONS, PHASED, PRIORS, READINGS, REWARDS, SAMPLERS, SPACES, TREES
from hnas_kit.runs.run_names import run_name


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
RelearnEvery = Annotated[
    float,
    Field(gt=0, lt=1, description="share of the third phase after which tree relearned is learned anew"),
]
Prior = Annotated[
    one_of(PRIORS),
    Field(description="where R are equal, branches or (beyond the paper) leaves are drawn alike"),
]

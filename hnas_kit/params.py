"""The parameters of every notebook, validated before anything is loaded or written."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hnas_kit.distances import MEASURES
from hnas_kit.errors import HnasError
from hnas_kit.search import FINAL_CHOICES
from hnas_kit.spaces import SPACES
from hnas_kit.trees import LINKAGES

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
_RUN_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*"
RunName = Annotated[str, Field(pattern=f"^{_RUN_NAME}$")]
Method = Literal["learned", "default", "random", "uniform"]


class Parameters(BaseModel):
    """What all notebooks share."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
    notebook: ClassVar[str]

    run: RunName  # name of the run folder in outputs/
    seed: Annotated[int, Field(ge=0, lt=2**32)]

    @classmethod
    def checked(cls, values: Mapping[str, Any], where: str) -> Parameters:
        """Validate values; raises :class:`HnasError` with one line that names each mistake and ``where``."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            mistakes = "; ".join(_explain(e, cls) for e in error.errors())
            raise HnasError(f"{where}: {mistakes}") from None


class Source(Parameters):
    """Notebooks that read what another one made: from ``source``, or from their own run if it is empty."""

    source: Annotated[str, Field(pattern=f"^({_RUN_NAME})?$")]

    @property
    def upstream(self) -> str:
        return self.source or self.run


class Compute(Parameters):
    """Notebooks that run the network."""

    device: Literal["auto", "cpu", "cuda"]
    threads: Annotated[int, Field(ge=0)]  # of PyTorch on the CPU; 0: as many as there are cores


class Training(Compute):
    """Notebooks that train it, with SGD and a cosine schedule."""

    precision: Literal["float32", "bfloat16"]
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


class Pretrain(Training):
    notebook = "01_pretrain"

    space: Literal[tuple(SPACES)]
    dataset: str  # a name, or folder:PATH
    width: Count  # channels of the first stage


class Distances(Source, Compute):
    notebook = "02_distances"

    images: Count  # validation images that outputs are compared on
    measure: Literal[MEASURES]


class Tree(Source):
    notebook = "03_tree"

    linkage: Literal[LINKAGES]


class Search(Source, Training):
    notebook = "04_mcts"

    methods: Annotated[list[Method], Field(min_length=1)]  # the first one's result is the run's
    uniform_share: Share
    warmup_share: Share
    temperature_start: Positive
    temperature_end: Positive
    exploration: NotNegative  # lambda of Eq. 3
    beta: Share  # of Eq. 4
    final: Literal[FINAL_CHOICES]
    final_samples: Count

    @model_validator(mode="after")
    def _consistent(self) -> Search:
        if self.uniform_share + self.warmup_share >= 1:
            raise ValueError("uniform_share + warmup_share must be below 1, to leave steps for the search")
        if len(set(self.methods)) < len(self.methods):
            raise ValueError("methods must differ from each other")
        return self


NOTEBOOKS: dict[str, type[Parameters]] = {cls.notebook: cls for cls in (Pretrain, Distances, Tree, Search)}


def _explain(error: dict, cls: type[Parameters]) -> str:
    name = str(error["loc"][0]) if error["loc"] else ""
    if error["type"] == "extra_forbidden":
        close = difflib.get_close_matches(name, cls.model_fields, n=1)
        hint = f"did you mean {close[0]}?" if close else f"allowed: {', '.join(cls.model_fields)}"
        return f"unknown parameter {name} ({hint})"
    if error["type"] == "missing":
        return f"parameter {name} is missing"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "string_pattern_mismatch":
        message = "should be a plain name: letters, digits and _ . - (parts may be joined by /)"
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
        try:
            values = yaml.safe_load(path.read_text())
        except yaml.YAMLError as error:
            raise HnasError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
        if not isinstance(values, dict):
            raise HnasError(f"{path} must hold name: value lines")
        profile[path.stem] = values
    if not profile:
        raise HnasError(f"profile folder {folder} holds no <notebook>.yaml")
    return profile


def override(profile: dict[str, dict[str, Any]], changes: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The profile with ``changes`` in every notebook that has the parameter; an unknown name is refused."""
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

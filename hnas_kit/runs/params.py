"""The parameters of every notebook, validated before anything is loaded or written."""

from __future__ import annotations

import ast
import json
import os
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, model_validator

from hnas_kit.errors import HnasError
from hnas_kit.names import ENCODINGS, FINAL_CHOICES, LINKAGES, MEASURES
from hnas_kit.runs import fields
from hnas_kit.runs.fields import Count, Whole, one_of
from hnas_kit.runs.schema import Compute, Entry, Parameters, Phased, Source, Training
from hnas_kit.samplers.methods import Method, comparable, misplaced

Linkage = Annotated[one_of(LINKAGES), Field(description="how far apart two clusters are")]
Images = Annotated[Count, Field(description="validation images that outputs are compared on")]


class Pretrain(Training):
    notebook = "01_pretrain"

    space: fields.Space = "pooling"
    dataset: fields.Dataset = "textures"
    image_size: fields.ImageSize = 0
    width: fields.Width = 8
    epochs: Whole = Field(12, description="passes over the training half; 0: it stays as initialised")
    batch_size: fields.BatchSize = 128
    scored: Whole = Field(0, description="validation images to score all architectures on, 0 for all")


class Distances(Source, Compute):
    notebook = "02_distances"

    images: Images = 256
    measure: one_of(MEASURES + ENCODINGS) = Field(
        "kl", description="of the distance: between outputs, or (vector, onehot) between encodings"
    )
    decay: float = Field(
        1.0, gt=0, le=1, description="weight of layer l in an encoding: decay ** l (paper: 0.5); 1: all alike"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Distances:
        if self.decay != 1 and self.measure not in ENCODINGS:
            raise ValueError(
                f"decay weighs the layers of an encoding; with measure: {self.measure} it must be 1.0"
            )
        return self


class Tree(Source):
    notebook = "03_tree"

    linkage: Linkage = "ward"


# an error is told of the one that was meant
Compared = Annotated[
    Annotated[one_of(comparable), Tag("name")] | Annotated[Entry, Tag("entry")],
    Discriminator(lambda value: "name" if isinstance(value, str) else "entry"),
]


class Search(Source, Phased):
    notebook = "04_mcts"

    sampler: fields.Sampler = "mcts"
    tree: fields.TreeName = "learned"
    communication: fields.Communication = ""
    settings: fields.Settings = Field({})
    models: fields.Models = 2
    reward: fields.Reward = "absolute validation accuracy"
    compare: list[Compared] = Field(
        ["default", "uniform"], description="to compare with: names, or {label: ..., sampler: ...}"
    )
    epochs: Count = Field(8, description="passes over the training half, for each method")
    batch_size: fields.BatchSize = 64
    exploration: fields.Exploration = 0.02
    final: one_of(FINAL_CHOICES) = Field("samples", description="the best of some draws, or the best path")
    retrain: int = Field(0, ge=0, le=1000, description="trainings of what was found, alone from new weights")
    retrain_epochs: Count = Field(5, description="of each")
    simulated: int = Field(50, ge=0, le=100_000, description="simulated searches of each method, 0 for none")

    @property
    def searched(self) -> dict[str, Method]:
        others = [entry.method if isinstance(entry, Entry) else comparable()[entry] for entry in self.compare]
        return {method.name: method for method in (self.first, *others)}

    @property
    def first(self) -> Method:
        """The method whose result is the run's."""
        return Method(self.sampler, self.tree, self.communication, settings=self.settings)

    def reward_of(self, method: Method) -> str:
        """The reward that a method learns from."""
        return method.settings.get("reward", self.reward)

    def trial(self, method: Method) -> dict[str, Any]:
        return super().trial(method) | {"reward": self.reward_of(method)}

    @property
    def tree_from(self) -> dict[str, Any]:
        """As 02 and 03 made the tree that is read; raises :class:`HnasError` if that is not there."""
        from hnas_kit.runs.finished import Finished

        made = Finished(self.upstream, "03_tree").manifest["lineage"]
        compared = {name: made["02_distances"][name] for name in ("images", "measure")}
        return compared | {"linkage": made["03_tree"]["linkage"]}

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
        if mistake := misplaced(self.sampler, self.settings) or self.first.mistake():
            raise ValueError(mistake)
        if len(self.searched) < 1 + len(self.compare):
            raise ValueError(
                f"compare must not repeat a method, nor {self.first.name}, which is searched anyway"
            )
        if "found" in self.searched:
            raise ValueError("a method cannot be called found, as the table of results is")
        return self


class Ablations(Source, Compute):
    notebook = "05_ablations"

    runs: fields.NoRun = Field("", description='run of finished sweeps to gather; "" rehearses here')
    epochs: Count = Field(1, description="of each search of the rehearsal")
    batch_size: Count = Field(256, description="images a step in the rehearsal: the larger, the fewer steps")
    seeds: int = Field(2, ge=1, le=1000, description="searches of each method of Table 1 in the rehearsal")
    simulated_seeds: int = Field(20, ge=1, le=100_000, description="simulated searches of each method")
    scored: Whole = Field(250, description="validation images for final choices and a tree, 0 for all")
    workers: fields.Cores = Field(0, description="processes of the rehearsal, 0 for one a core")


IN_WINDOW = ("learned", "boltzmann", "uniform", "regularised", "default", "independent", "relearned")


class Imagenet(Phased):
    notebook = "06_imagenet"

    dataset: fields.Dataset = "textures"
    image_size: int = Field(36, ge=8, le=4096, description="images are resized to so many pixels")
    workers: fields.Readers = 0
    width: fields.Width = 8
    low: fields.Positive = Field(
        277.2, description="of the window, millions of MACs of the network of full size"
    )
    high: fields.Positive = Field(280.0, description="likewise")
    pool: int = Field(
        64, ge=2, le=20_000, description="architectures under the learned tree"
    )  # distances of 20,000 are 3 GB
    images: Images = 128
    measure: one_of(MEASURES) = Field("kl", description="of the distance between outputs")
    linkage: Linkage = "ward"
    methods: list[one_of(IN_WINDOW)] = Field(
        ["learned", "regularised", "boltzmann", "uniform"],
        min_length=1,
        description="to compare; the first one's result is the run's",
    )
    pretrain_epochs: Whole = Field(2, description="passes over the training half")
    epochs: Count = Field(2, description="of each search (paper: 100)")
    batch_size: fields.BatchSize = 32
    weight_decay: fields.WeightDecay = 1e-4
    uniform_share: fields.FirstShare = 0.1
    warmup_share: fields.SecondShare = 0.3
    temperature_start: fields.FirstTemperature = 0.01
    exploration: fields.Exploration = 0.005
    beta: fields.Beta = 0.5
    scored: Whole = Field(400, description="validation images for the final choice, 0 for all")
    tested: Whole = Field(800, description="test images for the final figures, 0 for all")
    parts: Count = Field(1, description="of a batch, each with BatchNorm statistics of its own")
    processes: Count = Field(1, description="that train together; their number divides parts")

    @property
    def searched(self) -> dict[str, Method]:
        known = comparable()
        return {name: known[name] for name in self.methods}

    @property
    def tree_from(self) -> dict[str, Any]:
        return self.model_dump(include={"images", "measure", "linkage"})

    @model_validator(mode="after")
    def _consistent(self) -> Imagenet:
        from hnas_kit.processes.distributed import Team

        try:
            Team(size=self.processes).mine(self.parts, self.batch_size)
        except HnasError as error:
            raise ValueError(str(error)) from None
        if self.low > self.high:
            raise ValueError(f"low is {self.low} and high {self.high}; low must not be above high")
        if len(set(self.methods)) < len(self.methods):
            raise ValueError("methods must not repeat a method")
        return self


ASKED = "HNAS_ASKED"  # what `hnas` asked a notebook's kernel for, as JSON

NOTEBOOKS: dict[str, type[Parameters]] = {
    cls.notebook: cls for cls in (Pretrain, Distances, Tree, Search, Ablations, Imagenet)
}


def read(notebook: str, namespace: Mapping[str, Any]) -> Parameters:
    """The validated parameters of a running notebook: its variables, and the defaults of all others.

    The cell that begins with ``# Parameters``, the notebook's own or papermill's, is looked at as well: what
    is set in it and is no parameter is refused instead of ignored.

    Args:
        notebook: for instance ``"01_pretrain"``.
        namespace: the notebook's ``globals()``.

    Raises:
        HnasError: one line, for an unknown name, a wrong type or a value out of range.
    """
    cls = NOTEBOOKS[notebook]
    values = {name: namespace[name] for name in cls.model_fields if name in namespace}
    # the last one counts: papermill's comes after the notebook's own, and a reader may have mended a name
    for cell in [cell for cell in namespace.get("In", []) if cell.startswith("# Parameters")][-1:]:
        names = [node for node in ast.walk(ast.parse(cell)) if isinstance(node, ast.Name)]
        assigned = {node.id for node in names if isinstance(node.ctx, ast.Store)}
        values |= {name: namespace[name] for name in assigned if name in namespace}
    found = cls.checked(values, f"notebook {notebook}")
    asked = json.loads(os.environ.get(ASKED, "{}")).get(notebook, {})
    mine = found.model_dump(mode="json")
    if other := [name for name, value in asked.items() if mine.get(name) != value]:
        raise HnasError(
            f"{other[0]} is {mine.get(other[0])!r} in the notebook, and {asked[other[0]]!r} was asked for: "
            "no cell behind the one tagged parameters may set it"
        )
    return found


# came later: results without them were made so
LATER = {"settings": {}, "prior": "branches", "relearn_every": 0.34}


def result_params(params: Parameters) -> dict[str, Any]:
    """The parameters that a result follows from, as JSON has them: not where it is kept or how often saved.

    Of plugins it is their text that counts, see :func:`hnas_kit.plugins.digests`.
    """
    apart = {"run", "source", "device", "checkpoint_every", "plugins"}
    values = params.model_dump(mode="json", exclude=apart)
    return {name: value for name, value in values.items() if name not in LATER or LATER[name] != value}


def differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What a result's parameters were and are now, where it is not the same; of :func:`result_params`."""
    old, new = LATER | dict(old), LATER | dict(new)
    return {name: (old.get(name), value) for name, value in new.items() if old.get(name) != value}

"""The parameters of commands, each declared once, validated before anything is loaded or written."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from hnas_kit.names import FINAL_CHOICES, SUPERNETS
from hnas_kit.runs import fields
from hnas_kit.runs.fields import Count, Share, Whole, one_of
from hnas_kit.runs.schema import Checked, Protocol, Training


class Retrain(Training):
    """Of ``hnas retrain``, which trains one architecture alone."""

    notebook = "retrain"

    run: fields.RunName = "retrained"
    threads: fields.Cores = Field(0, description="CPU threads, 0 for all cores")
    space: fields.Space
    dataset: fields.Dataset
    architecture: str = Field(description="in the space's text form")
    width: fields.Width
    image_size: fields.ImageSize = 0
    workers: fields.Readers = 0
    epochs: Count = Field(100, description="passes over all training images")
    batch_size: Count = Field(256, description="images a step")
    lr: fields.LearningRate = 0.05
    checkpoint_every: Count = Field(1000, description="steps")
    warmup_epochs: Whole = Field(0, description="of the epochs; the learning rate rises")
    label_smoothing: Share = Field(0.0, description="share of the target that all classes have alike")
    ema_decay: Share = Field(0.9, description="of the moving average of weights, a step; 0: there is none")

    @property
    def optimiser(self) -> dict[str, Any]:
        """What :func:`hnas_kit.benchmarks.making.train` is told of the optimisation."""
        own = {"epochs", "batch_size", "warmup_epochs", "ema_decay", "label_smoothing"}
        return super().optimiser | self.model_dump(include=own)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs is {self.warmup_epochs}: it must be below epochs, {self.epochs}")
        return self


class Benchmark(Checked):
    """Of ``hnas benchmark``, for a space and a data set whose ground truth is not the package's."""

    plugins: fields.Files = Field([])
    width: fields.Width = 8
    image_size: fields.ImageSize = 0
    epochs: Count = Field(40, description="passes over all training images")
    batch_size: Count = Field(128, description="images a step")
    lr: fields.LearningRate = 0.03
    momentum: fields.Momentum = 0.9
    weight_decay: fields.WeightDecay = 1e-3
    train_on: Literal["all", "half"] = Field(
        "all", description="of the training images; half: those of a search with the same seed"
    )


class Simulate(Protocol):
    """Of ``hnas simulate``, which searches without a network, many times.

    The defaults are the search on NAS-Bench-Macro as the paper gives it (Sec. 5, App. B.1): 120 epochs of 98
    steps. It does not give temperature_end, temperature_flat, coefficient or learning, and simulates nothing:
    chosen here.
    """

    temperature_start: fields.FirstTemperature = 0.01
    plugins: fields.Files = Field([])
    space: fields.Space = "macro"
    dataset: fields.Dataset = "cifar10"
    seeds: int = Field(100, ge=1, le=100_000, description="searches of each method, with the seeds from 0 on")
    steps: Count = Field(11_760, description="of each search")
    rewards: Literal["true", "supernet"] = Field(
        "true", description="whose accuracies rewards and the final choice follow"
    )
    supernet: int = Field(0, ge=0, lt=SUPERNETS, description="of the package, for rewards and tree accuracy")
    learning: fields.NotNegative = Field(0.3, description="of the learning curve")
    tree_growth: fields.NotNegative = Field(
        0.3, description="how slowly the distances of an imitated supernet grow, for tree relearned"
    )
    imitated: Count = Field(5, description="supernets that are imitated, which seeds take in turn")
    batch_size: Count = Field(256, description="images a reward")
    final: one_of(FINAL_CHOICES) = Field("samples", description="the best of some draws, or the best path")
    scored: Whole = Field(0, description="images for the final choice; 0: accuracies themselves")

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

"""Ground truth: the accuracy of every architecture of a space trained alone, and its rank."""

import math
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd

from hnas_kit import cost
from hnas_kit.errors import HnasError, require_one_of
from hnas_kit.files import read_csv
from hnas_kit.spaces import SearchSpace, make_space
from hnas_kit.trees import ArchTree, variance_explained


@dataclass(frozen=True)
class Protocol:
    """How the architectures of a benchmark are trained alone, and the network's size.

    ``epochs`` is None for a published table, which this kit cannot make again.
    """

    space: str
    dataset: str
    width: int
    image_size: int
    in_channels: int
    epochs: int | None = None
    batch_size: int = 128
    lr: float = 0.03
    weight_decay: float = 1.0e-3
    momentum: float = 0.9

    @property
    def training(self) -> dict[str, Any]:
        """How they are trained, by the names of :func:`hnas_kit.benchmarks.alone.train`."""
        return {
            name: getattr(self, name) for name in ("epochs", "batch_size", "lr", "weight_decay", "momentum")
        }


PROTOCOLS = {
    "digits-pooling": Protocol("pooling", "digits", width=8, image_size=16, in_channels=1, epochs=40),
    "textures-pooling": Protocol("pooling", "textures", width=8, image_size=16, in_channels=1, epochs=5),
    "cifar10-pooling": Protocol("pooling", "cifar10", width=16, image_size=32, in_channels=3),
    "cifar10-macro": Protocol("macro", "cifar10", width=32, image_size=32, in_channels=3),
}


def _read(name: str) -> pd.DataFrame:
    """A table of the package: of each architecture its accuracies (%), or their mean."""
    require_one_of("benchmark", name, PROTOCOLS)
    folder = files("hnas_kit.benchmarks") / "tables"
    if name == "cifar10-macro":
        with (folder / f"{name}.npz").open("rb") as file:
            accuracy = np.load(file)["accuracy"].astype(float)  # (3969, 3), in the space's order
        space = make_space("macro")
        index = pd.Index([space.format(arch) for arch in space.enumerate()], name="architecture")
        return pd.DataFrame(accuracy, index, [f"seed{s}" for s in range(accuracy.shape[1])])
    with (folder / f"{name}.csv").open(encoding="utf-8") as file:
        return read_csv(file, comment="#", index_col="architecture")


def load(name: str) -> pd.DataFrame:
    """A ground truth table, indexed by the architectures' text form, in the space's order.

    Columns: ``accuracy`` (%, mean over seeds), ``rank`` (1 = best), ``macs`` and ``params`` (of the network
    the benchmark trained).

    Raises:
        HnasError: for an unknown name.
    """
    table, protocol = _read(name), PROTOCOLS[name]
    accuracy = table.filter(regex="^(accuracy|seed)").mean(axis=1)
    rank = accuracy.rank(ascending=False, method="min").astype(int)
    space = make_space(protocol.space)
    archs = [space.parse(text) for text in table.index]
    size = {"width": protocol.width, "in_channels": protocol.in_channels}
    macs = [cost.macs(space, a, image_size=protocol.image_size, **size) for a in archs]
    params = [cost.params(space, a, **size) for a in archs]
    return pd.DataFrame({"accuracy": accuracy, "rank": rank, "macs": macs, "params": params})


def per_seed(name: str) -> pd.DataFrame:
    """Accuracy (%) of every architecture, one column per training seed, where they are known."""
    table = _read(name).filter(regex="^seed")
    if table.empty:
        raise HnasError(f"benchmark {name!r} was published without its single trainings")
    return table


def for_dataset(space: str, dataset: str) -> pd.DataFrame | None:
    """The ground truth of a space on a data set (see :func:`load`), None if there is none.

    A copy of CIFAR-10 in another coding is ranked by the table published for CIFAR-10.
    """
    name = f"{dataset.removesuffix('_jpeg')}-{space}"
    return load(name) if name in PROTOCOLS else None


def needed(space: str, dataset: str) -> pd.DataFrame:
    """The ground truth that a comparison by true rank needs; raises :class:`HnasError` if there is none."""
    truth = for_dataset(space, dataset)
    if truth is None:
        raise HnasError(
            f"methods are compared by true rank, and there is no ground truth of {space} on {dataset}; "
            "04_mcts can train what it finds alone (retrain)"
        )
    return truth


def judge(
    truth: pd.DataFrame | None, architecture: str, tree: ArchTree | None, history: pd.DataFrame
) -> dict[str, float]:
    """How good what a search found truly is, and how well it searched; all nan without ground truth.

    Args:
        truth: see :func:`load`, or None.
        architecture: what was found, in text form.
        tree: that was walked, None without one. Its architectures are those of ``truth``, in order.
        history: of the search.

    Returns:
        ``accuracy`` (%) and ``rank``; ``best_quarter``, the share of the third phase's draws that are truly
        among the best quarter; ``early_variance``, the share of the variance of true accuracy that the
        tree's first three levels explain (nan without a tree).
    """
    if truth is None:
        return dict.fromkeys(("accuracy", "rank", "best_quarter", "early_variance"), math.nan)
    drawn = history.loc[history["phase"] == history["phase"].iloc[-1], "architecture"]
    found = truth.loc[architecture]
    early = math.nan if tree is None else variance_explained(tree, truth["accuracy"])[1][3]
    return {
        "accuracy": float(found["accuracy"]),
        "rank": int(found["rank"]),
        "best_quarter": float((truth.loc[drawn, "rank"] <= len(truth) / 4).mean()),
        "early_variance": float(early),
    }


def additive(space: SearchSpace, truth: pd.DataFrame) -> float:
    """Share of the variance of true accuracy that a sum of one number for each layer's operation explains.

    It says how far choosing layer by layer can go (Sec. 3, "independent"): 1 if layers do not interact.

    Args:
        space: the search space.
        truth: see :func:`load`.

    Returns:
        R² of the least squares fit, 0 to 1.
    """
    codes = np.array([space.parse(text) for text in truth.index])
    chosen = [codes[:, [layer]] == np.arange(len(names)) for layer, names in enumerate(space.ops)]
    encoded = np.column_stack([*chosen, np.ones(len(truth))])
    accuracy = truth["accuracy"].to_numpy()
    left = accuracy - encoded @ np.linalg.lstsq(encoded, accuracy, rcond=None)[0]
    return float(1 - left.var() / accuracy.var())

"""Ground truth: the accuracy of every architecture of a space trained alone, and its rank."""

import math
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from hnas_kit import cost, data
from hnas_kit.errors import HnasError, require_one_of
from hnas_kit.files import json_value, read_csv, sha256
from hnas_kit.places import outputs_root
from hnas_kit.spaces import SearchSpace, make_space
from hnas_kit.trees import ArchTree, early_variance

ACCURACIES = "^(accuracy|seed)"  # columns of a table


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
    train_on: str = "all"  # the training images, or "half" of them, see making.train

    @property
    def training(self) -> dict[str, Any]:
        """How they are trained, by the names of :func:`hnas_kit.benchmarks.making.train`."""
        names = "epochs", "batch_size", "lr", "weight_decay", "momentum"
        return {name: getattr(self, name) for name in names}


class Record(NamedTuple):
    """How a table was made; ``images`` see :func:`hnas_kit.data.version`."""

    protocol: Protocol
    num_classes: int
    core_seconds: int
    images: str = ""


PROTOCOLS = {
    "digits-pooling": Protocol("pooling", "digits", width=8, image_size=16, in_channels=1, epochs=40),
    "textures-pooling": Protocol("pooling", "textures", width=8, image_size=16, in_channels=1, epochs=5),
    "cifar10-pooling": Protocol("pooling", "cifar10", width=16, image_size=32, in_channels=3),
    "cifar10-macro": Protocol("macro", "cifar10", width=32, image_size=32, in_channels=3),
}


def stem(name: str) -> str:
    """A benchmark's name as that of a file: one of a data set LAYOUT:PATH has a digest in it."""
    plain = re.sub("[^A-Za-z0-9_.-]+", "_", name)
    return plain if plain == name else f"{plain}-{sha256(name.encode())[:8]}"


def folder_of(name: str) -> Path:
    """Where a table that is made here lies, unless another folder is named."""
    return outputs_root() / "benchmarks" / stem(name)


def own(name: str) -> Path | None:
    """The table that ``hnas benchmark NAME`` made here, None if there is none.

    It lies in :func:`folder_of`, or where ``elsewhere.json`` in that folder says; raises :class:`HnasError`
    if that is damaged.
    """
    folder = folder_of(name)
    if (pointer := folder / "elsewhere.json").exists():
        try:
            folder = Path(json_value(pointer)["folder"])
        except (ValueError, KeyError, TypeError):
            raise HnasError(
                f"{pointer} does not say where the table is; make it again, or remove it"
            ) from None
    path = folder / f"{stem(name)}.csv"
    return path if path.exists() else None


def version(space: str, dataset: str) -> str:
    """Changes when a ground truth that was made here does; empty if it is the package's, or there is none."""
    name = f"{dataset}-{space}"
    path = None if _packaged(space, dataset) else own(name)
    return sha256(path) if path else ""


def protocol_of(name: str) -> tuple[Protocol, int]:
    """How a benchmark was made, and its number of classes; raises :class:`HnasError` for an unknown name."""
    if name in PROTOCOLS:
        return PROTOCOLS[name], 10
    if (path := own(name)) is None:
        require_one_of("benchmark", name, PROTOCOLS)
    made = record(path)
    return made.protocol, made.num_classes


def record(path: Path) -> Record:
    """How a table that was made here was; raises :class:`HnasError` if the file beside it does not say so."""
    where = path.with_suffix(".json")
    try:
        value = json_value(where)
        numbers = int(value["num_classes"]), int(value["core_seconds"])
        return Record(Protocol(**value["protocol"]), *numbers, str(value.get("images", "")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HnasError(f"{where} does not say how the table beside it was made") from error


def own_table(path: Path, space: SearchSpace) -> pd.DataFrame:
    """A table that was made here; raises :class:`HnasError` unless it has all architectures of the space."""
    try:
        table = read_csv(path, index_col="architecture")
    except ValueError as error:
        raise HnasError(f"{path} is no table of architectures and seeds ({error})") from error
    names = [space.format(arch) for arch in space.enumerate()]
    accuracies = table.filter(regex=ACCURACIES).apply(pd.to_numeric, errors="coerce")
    sound = accuracies.apply(lambda column: column.between(0, 100)).all(axis=None)
    if sorted(table.index) != sorted(names) or accuracies.empty or not sound:
        what = f"the {len(names)} architectures of the {space.name} space"
        raise HnasError(
            f"{path} must have {what}, and accuracies of 0 to 100 % in columns seed0, seed1 and so on"
        )
    return accuracies.loc[names]


def _read(name: str) -> pd.DataFrame:
    """A table: of each architecture its accuracies (%), or their mean."""
    if name not in PROTOCOLS:
        return own_table(own(name), make_space(protocol_of(name)[0].space))
    folder = files("hnas_kit.benchmarks") / "tables"
    if name == "cifar10-macro":
        with (folder / f"{name}.npz").open("rb") as file:
            accuracy = np.load(file)["accuracy"].astype(float)  # (3969, 3), in the space's order
        space = make_space("macro")
        index = pd.Index([space.format(arch) for arch in space.enumerate()], name="architecture")
        return pd.DataFrame(accuracy, index, [f"seed{s}" for s in range(accuracy.shape[1])])
    with (folder / f"{name}.csv").open(encoding="utf-8") as file:
        return read_csv(file, comment="#", index_col="architecture")


def ranks(accuracy: pd.Series) -> pd.Series:
    """1 is best; equal accuracies share the best of their ranks."""
    return accuracy.rank(ascending=False, method="min").astype(int)


def _ranked(name: str) -> pd.DataFrame:
    accuracy = _read(name).filter(regex=ACCURACIES).mean(axis=1)
    return pd.DataFrame({"accuracy": accuracy, "rank": ranks(accuracy)})


def load(name: str) -> pd.DataFrame:
    """A ground truth table, indexed by the architectures' text form, in the space's order.

    Columns: ``accuracy`` (%, mean over seeds), ``rank`` (1 = best), ``macs`` and ``params`` (of the network
    the benchmark trained).

    Raises:
        HnasError: for an unknown name.
    """
    protocol, num_classes = protocol_of(name)
    table, space = _ranked(name), make_space(protocol.space)
    archs = [space.parse(text) for text in table.index]
    size = {"width": protocol.width, "in_channels": protocol.in_channels, "num_classes": num_classes}
    macs = [cost.macs(space, a, image_size=protocol.image_size, **size) for a in archs]
    params = [cost.params(space, a, **size) for a in archs]
    return table.assign(macs=macs, params=params)


def per_seed(name: str) -> pd.DataFrame:
    """Accuracy (%) of every architecture, one column per training seed, where they are known."""
    table = _read(name).filter(regex="^seed")
    if table.empty:
        raise HnasError(f"benchmark {name!r} was published without its single trainings")
    return table


def for_dataset(space: str, dataset: str) -> pd.DataFrame | None:
    """``accuracy`` and ``rank`` of a space on a data set (see :func:`load`), None if nobody trained them all.

    A copy of CIFAR-10 in another coding is ranked by the table published for CIFAR-10. What the package has
    not may have been made here, see :func:`own`; raises :class:`HnasError` if that was of other images.
    """
    name = _packaged(space, dataset) or f"{dataset}-{space}"
    if name in PROTOCOLS:
        return _ranked(name)
    if (path := own(name)) is None:
        return None
    if (before := record(path).images) and before != data.version(dataset):
        raise HnasError(
            f"{path} was made of other images than {dataset} has now: hnas benchmark {name} again"
        )
    return _ranked(name)


def _packaged(space: str, dataset: str) -> str:
    """The benchmark of the package for a space on a data set, "" if there is none."""
    name = f"{dataset.removesuffix('_jpeg')}-{space}"
    return name if name in PROTOCOLS else ""


def needed(space: str, dataset: str) -> pd.DataFrame:
    """The ground truth that a comparison by true rank needs; raises :class:`HnasError` if there is none."""
    truth = for_dataset(space, dataset)
    if truth is None:
        raise HnasError(
            f"methods are compared by true rank, and there is no ground truth of {space} on {dataset}; "
            f"hnas benchmark {dataset}-{space} makes it, or 04_mcts can train what it finds alone (retrain)"
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
        tree's first three levels explain, or all if it has fewer (nan without a tree).
    """
    if truth is None:
        return dict.fromkeys(("accuracy", "rank", "best_quarter", "early_variance"), math.nan)
    drawn = history.loc[history["phase"] == history["phase"].iloc[-1], "architecture"]
    found = truth.loc[architecture]
    early = math.nan if tree is None else early_variance(tree, truth["accuracy"])
    return {
        "accuracy": float(found["accuracy"]),
        "rank": int(found["rank"]),
        "best_quarter": float((truth.loc[drawn, "rank"] <= len(truth) / 4).mean()),
        "early_variance": early,
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

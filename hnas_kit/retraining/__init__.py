"""``hnas retrain``: the architecture that was found, trained alone from new weights, and its accuracy."""

import json
import shutil
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hnas_kit import benchmarks, data, plugins, runs
from hnas_kit.benchmarks import making
from hnas_kit.errors import HnasError
from hnas_kit.export import facts, network, search_result
from hnas_kit.files import json_value, read_yaml, sha256, torch_bytes, torch_value, write_atomic
from hnas_kit.provenance import provenance
from hnas_kit.runs import consistency, locks
from hnas_kit.runs.command_params import Retrain
from hnas_kit.spaces import make_space
from hnas_kit.supernets import extract, skeleton
from hnas_kit.training import Checkpoints

FORMAT = "hnas_kit retrain 2"
RECIPES: dict[str, dict[str, Any]] = read_yaml(Path(__file__).with_name("recipes.yaml"))


def recipe(space: str, dataset: str) -> dict[str, Any]:
    """How an architecture is trained unless something else is said: as its ground truth, if it was made here.

    That is epochs, batch size and optimiser; always on all training images, and the width is another matter.

    Raises:
        HnasError: if there is no such space.
    """
    name = make_space(space).name
    benchmark = f"{dataset}-{name}"
    known = benchmark in benchmarks.PROTOCOLS or benchmarks.own(benchmark)
    protocol = benchmarks.protocol_of(benchmark)[0] if known else None
    if protocol is None or protocol.epochs is None:
        return Retrain.defaults() | RECIPES.get(name, RECIPES["macro"])
    return Retrain.defaults() | protocol.training


def parameters(run: str, method: str, values: Mapping[str, Any], notebook: str = "") -> tuple[Retrain, str]:
    """The validated parameters of a training, and a name for whose architecture it is.

    Args:
        run: with a finished search, whose space, images, width and architecture are taken; or empty.
        method, notebook: of that run, see :func:`hnas_kit.export.search_result`.
        values: parameters by name, see :class:`hnas_kit.runs.command_params.Retrain`; they come before
            the run's, and before those of :func:`recipe`.

    Raises:
        HnasError: one line, if there is no such run or method, or a value is missing or wrong.
    """
    known: dict[str, Any] = {}
    if run:
        _, known, method = search_result(run, method, notebook)
        known["run"] = run
    elif method or notebook:
        raise HnasError(f"{method or notebook} is of a run, and no run is named")
    elif missing := [name for name in ("space", "architecture", "dataset") if name not in values]:
        raise HnasError(f"without a run, {', '.join(missing)} must be given")
    chosen = known | dict(values)
    plugins.load_given(chosen.get("plugins", []))
    space = make_space(chosen["space"])
    known["width"] = known.get("width", skeleton(space).width)
    p = Retrain.checked(recipe(space.name, chosen["dataset"]) | known | dict(values), "hnas retrain")
    p = p.model_copy(update={"architecture": space.format(space.parse(p.architecture))})
    return p, method if p.architecture == known.get("architecture") else "given"


def folder_of(p: Retrain, label: str) -> Path:
    """Where a training's result lies: another folder for whatever makes another result."""
    followed = {name: v for name, v in runs.result_params(p).items() if name not in ("threads", "workers")}
    follows = [followed, runs.device_of(p).type, data.version(p.dataset), *plugins.digests(p.plugins)]
    key = json.dumps(follows, sort_keys=True)
    return runs.outputs_root() / p.run / f"retrain-{label}-{sha256(key.encode())[:8]}"


def _finished(folder: Path) -> dict[str, Any] | None:
    """What a finished training left, None if there is none."""
    try:
        record = json_value(folder / "result.json")
        sound = record["format"] == FORMAT and sha256(folder / "weights.pt") == record["weights_sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if sound else None


def trained(folder: Path) -> tuple[nn.Sequential, Tensor, dict[str, str]]:
    """The network that a finished training left: with averaged weights, if it has them.

    Args:
        folder: where :func:`retrain` put it.

    Returns:
        See :func:`hnas_kit.export.found`.

    Raises:
        HnasError: if there is none.
    """
    record = _finished(folder)
    if record is None:
        raise HnasError(f"{folder} holds no finished training, or a damaged one; make it with hnas retrain")
    plugins.load(record["params"].get("plugins", []))
    weights, of_it = torch_value((folder / "weights.pt").read_bytes()), record["network"]
    sizes = tuple(int(of_it[name]) for name in ("width", "image_size", "in_channels", "num_classes"))
    state = weights.get("average", weights["net"])
    alone, example, known = network(of_it["space"], of_it["architecture"], sizes, state, shared=False)
    return alone, example, known | {"statistics": "BatchNorm's, running averages of the training"}


def retrain(p: Retrain, label: str) -> str:
    """Train an architecture alone; a training that was killed goes on from its last checkpoint.

    Writes ``weights.pt`` (``net``, and ``average`` if there is one: weights of the plain network, see
    :func:`hnas_kit.supernets.extract`) and ``result.json`` into the folder; both stay if they are there.

    Returns:
        One line: accuracies on the test set, ground truth, and the folder.

    Raises:
        HnasError: for data or a batch size that cannot be used; then nothing is written.
    """
    folder = folder_of(p, label)
    record = _finished(folder)
    if record is None:
        consistency.check_one(p, p.model_dump())
        with locks.alone(folder):
            record = _train(p, label, folder)
    accuracy, truth = record["accuracy"], record["ground_truth"]
    line = f"{p.architecture} alone on {p.dataset}: {accuracy['net']:.2f} %"
    if "average" in accuracy:
        line += f", with averaged weights {accuracy['average']:.2f} %"
    if truth:
        line += f"; ground truth {truth['accuracy']:.2f} %, rank {truth['rank']} of {truth['of']}"
    return f"{line}; {folder}"


def _train(p: Retrain, label: str, folder: Path) -> dict[str, Any]:
    start, started, device = time.perf_counter(), datetime.now(UTC), runs.device_of(p)
    if p.threads:
        torch.set_num_threads(p.threads)
    space = make_space(p.space)
    arch, truth = space.parse(p.architecture), benchmarks.for_dataset(p.space, p.dataset)
    dataset = data.load(p.dataset, device, p.image_size, p.workers)
    steps = p.epochs * -(-len(dataset.train) // p.batch_size)
    saved = Checkpoints(folder / "checkpoints", p.checkpoint_every)
    how = {"width": p.width, "checkpoints": saved, **p.optimiser}
    with runs.progress(steps, "retrain") as bar:
        trained = making.train(space, dataset, arch, p.seed, progress=bar.update, **how)
    nets = {"net": trained.net} | ({"average": trained.average} if trained.average else {})
    weights = {name: dict(extract(net, arch).cpu().state_dict()) for name, net in nets.items()}
    contents, known = torch_bytes(weights), None
    if truth is not None:
        accuracy, rank = truth.loc[p.architecture, ["accuracy", "rank"]]
        known = {"accuracy": float(accuracy), "rank": int(rank), "of": len(truth)}
    sizes = p.width, dataset.image_size, dataset.in_channels, dataset.num_classes
    record = {
        "format": FORMAT,
        "found_by": label,
        "params": p.model_dump(),
        "network": facts(space, arch, *sizes),
        "accuracy": {name: 100 * making.accuracy(net, arch, dataset) for name, net in nets.items()},
        "ground_truth": known,
        "steps": steps,
        "final_loss": float(trained.losses[-100:].mean()),
        "weights_sha256": sha256(contents),
        "device": str(device),
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - start, 1),  # of the last part, if it was resumed
        "peak_memory_mb": runs.peak_memory_mb(),
        "provenance": provenance(),
    }
    write_atomic(folder / "weights.pt", contents)
    write_atomic(folder / "result.json", json.dumps(record, indent=2).encode() + b"\n")
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    for path in folder.glob(".*.tmp"):  # of a process that was killed
        path.unlink()
    return record

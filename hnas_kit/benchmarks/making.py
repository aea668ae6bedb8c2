"""Architectures trained alone, from new weights; and a ground truth table made so, one process a core."""

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from hnas_kit import data, evaluation, plugins, training
from hnas_kit.benchmarks.ground_truth import PROTOCOLS, Protocol, folder_of, stem
from hnas_kit.data.rendering import layout
from hnas_kit.errors import HnasError, require_one_of
from hnas_kit.files import json_value, write_atomic
from hnas_kit.names import SPACES
from hnas_kit.processes import parallel
from hnas_kit.provenance import provenance
from hnas_kit.randomness import Generators
from hnas_kit.spaces import Arch, SearchSpace, make_space
from hnas_kit.supernets import Supernet, make_supernet, prune
from hnas_kit.training.problem import Problem


@dataclass(frozen=True)
class Trained:
    """An architecture's network, see :func:`hnas_kit.supernets.prune`.

    Attributes:
        net: as the last step left it.
        average: with the moving average of its weights and of its BatchNorm statistics; None without one.
        losses: (steps,) training loss.
    """

    net: Supernet
    average: Supernet | None
    losses: np.ndarray


def train(
    space: SearchSpace,
    dataset: data.Dataset,
    arch: Arch,
    seed: int,
    *,
    width: int,
    epochs: int,
    batch_size: int,
    warmup_epochs: int = 0,
    ema_decay: float = 0.0,
    train_on: str = "all",
    **options: Any,
) -> Trained:
    """Train one architecture from new weights on the training set or half of it.

    Args:
        space, dataset, width: of the network.
        arch: the architecture.
        seed: of weights, order and augmentation.
        epochs: passes over these images.
        batch_size: images a step.
        train_on: ``all`` images of the training set, or the ``half`` of them on which a search with this seed
            trains its weights.
        warmup_epochs: the learning rate rises over so many of the epochs.
        ema_decay: d of the moving average after every step, d * average + (1 - d) * weights; it starts as
            the weights after the first step. 0 keeps none.
        options: ``lr``, ``weight_decay`` and so on, see :func:`hnas_kit.training.train`.
    """
    generators = Generators(seed)
    sizes = dataset.in_channels, dataset.num_classes, width
    new = generators.torch("weights")
    net = prune(make_supernet(space, *sizes, shared=False, generator=new), arch)
    images = _images(dataset, generators, train_on)
    batches, an_epoch = dataset.batches(images, batch_size, generators), -(-len(images) // batch_size)
    net.to(batches.device, memory_format=layout(batches.device))
    average, states = None, {"generators": generators}
    if ema_decay:
        average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(ema_decay), use_buffers=True)
        states["average"] = average
    losses = training.train(
        net,
        batches,
        lambda step: arch,
        epochs * an_epoch,
        warmup_steps=warmup_epochs * an_epoch,
        after_step=(lambda *_: average.update_parameters(net)) if average else None,
        states=states,
        **options,
    )
    return Trained(net, average and average.module, losses)


def _images(dataset: data.Dataset, generators: Generators, train_on: str) -> data.Split:
    """What is trained on, see :func:`train`."""
    return dataset.train if train_on == "all" else dataset.halves(generators.torch("split"))[0]


def accuracy(net: Supernet, arch: Arch, dataset: data.Dataset) -> float:
    """Accuracy of a trained network on the test set, a fraction."""
    scored = [(evaluation.accuracy(net, [arch], x, y)[0], len(y)) for x, y in dataset.pieces(dataset.test)]
    values, images = zip(*scored, strict=True)
    return float(np.average(values, weights=images))


def _ours() -> list[str]:
    """The package's benchmarks that this kit can make again."""
    return [name for name, protocol in PROTOCOLS.items() if protocol.epochs]


def train_alone(space: SearchSpace, dataset: data.Dataset, arch: Arch, seed: int, **training: Any) -> float:
    """Accuracy on the test set, a fraction, of one architecture after :func:`train`."""
    return accuracy(train(space, dataset, arch, seed, **training).net, arch, dataset)


def retrained(
    problem: Problem,
    found: Mapping[str, Arch],
    seeds: int,
    checkpoints: Callable[[str], Any],
    **training: Any,
) -> pd.DataFrame:
    """Train alone, several times each, what searches found.

    Args:
        problem: the space, the images and the width.
        found: architectures by the name of the search.
        seeds: trainings of each, with seeds 0 to ``seeds - 1``.
        checkpoints: makes those of a training from its name.
        training: see :func:`train`.

    Returns:
        By name, mean and standard deviation of the test accuracy (%): ``retrained``, ``retrained_sd``.
    """
    training |= {"width": problem.width}

    def again(name: str, arch: Arch, seed: int) -> float:
        kept = checkpoints(f"{name} alone {seed}")
        return 100 * train_alone(problem.space, problem.dataset, arch, seed, checkpoints=kept, **training)

    alone_again = pd.DataFrame(
        {name: [again(name, arch, seed) for seed in range(seeds)] for name, arch in found.items()}
    )
    return pd.DataFrame({"retrained": alone_again.mean(), "retrained_sd": alone_again.std()})


def _job(protocol: Protocol, arch: Arch, seed: int, path: Path, of: dict[str, Any]) -> None:
    space = make_space(protocol.space)
    device = training.pick_device(os.environ.get("HNAS_DEVICE") or "cpu")
    clock = time.process_time if device.type == "cpu" else time.perf_counter  # a core may do other work, too
    start = clock()
    dataset = data.load(protocol.dataset, device, protocol.image_size)
    own = {"width": protocol.width, "train_on": protocol.train_on}
    accuracy = train_alone(space, dataset, arch, seed, **own, **protocol.training)
    seconds = clock() - start
    result = {"protocol": asdict(protocol), "accuracy": accuracy, "seconds": round(seconds, 2)}
    write_atomic(path, json.dumps(result | of).encode())


def _of(protocol: Protocol) -> dict[str, Any]:
    """What a training follows from besides: files of one's own that were imported, and images in files."""
    code, images = plugins.digests(plugins.everything()[0]), data.version(protocol.dataset)
    return ({"plugins": code} if code else {}) | ({"images": images} if images else {})


def make_protocol(name: str, image_size: int, **training: Any) -> tuple[Protocol, int]:
    """How a benchmark that is not the package's is to be made, and its number of classes.

    Args:
        name: ``DATASET-SPACE``.
        image_size: pixels; 0 for the data set's own.
        training: ``width``, ``epochs`` and so on, see :class:`Protocol`.

    Raises:
        HnasError: if there is no such space or data set, or one of them is too large or small.
    """
    ending = max((s for s in SPACES if name.endswith(f"-{s}")), key=len, default="")
    if "-" not in name:
        require_one_of("benchmark", name, _ours())
    if not ending:
        require_one_of("benchmark", name, [*_ours(), *(f"DATASET-{space}" for space in SPACES)])
    where = name.removesuffix(f"-{ending}")
    dataset = data.load(where, image_size=image_size)
    there = len(_images(dataset, Generators(0), training["train_on"]))
    if (size := training["batch_size"]) > there:
        raise HnasError(f"batch_size is {size}; data set {where} has {there} images to train on")
    make_space(ending).enumerate()  # raises for a space that is too large
    sizes = {"image_size": dataset.image_size, "in_channels": dataset.in_channels}
    return Protocol(ending, where, **sizes, **training), dataset.num_classes


def _done(path: Path, protocol: Protocol, of: dict[str, Any]) -> dict | None:
    """A finished training of that protocol, None if there is none."""
    try:
        result = json_value(path)
        same = Protocol(**result["protocol"]) == protocol
        same = same and of == {name: result[name] for name in ("plugins", "images") if name in result}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return result if same else None


def check(name: str, seeds: int, own: bool = False) -> None:
    """Raise :class:`HnasError` for what :func:`make` cannot make; of one's ``own`` the name is another."""
    if not own:
        require_one_of("benchmark", name, _ours())
    if not 1 <= seeds <= 1000:
        raise HnasError(f"seeds is {seeds}; it must be at least 1 and at most 1000")


def keep_other(name: str, folder: Path, protocol: Protocol) -> None:
    """Raise :class:`HnasError` if a folder has a table of another protocol, which would be replaced."""
    path = folder / f"{stem(name)}.json"
    try:
        made = {field.name: field.default for field in fields(Protocol)} | json_value(path)["protocol"]
        old = {key: made[key] for key, value in asdict(protocol).items() if made[key] != value}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return
    if old:
        was = ", ".join(f"{key} {value}" for key, value in old.items())
        raise HnasError(f"{path.with_suffix('.csv')} was made with {was}; remove it, or name another --out")


def make(
    name: str,
    folder: Path,
    seeds: int,
    report: Callable[[int, int], None] = lambda done, total: None,
    protocol: tuple[Protocol, int] | None = None,
) -> pd.DataFrame:
    """Train every architecture alone ``seeds`` times, one process per core, and write the table.

    On the CPU, or on what ``HNAS_DEVICE`` says, which the processes then share.

    Each training is a file of its own, so a run that was stopped goes on where it was; ``NAME.csv`` and
    ``NAME.json`` (provenance) are written at the end.

    Args:
        name: a benchmark this kit can make.
        folder: where the files go.
        seeds: trainings of each architecture, with seeds 0 to ``seeds - 1``.
        report: called with (done, all) after each training.
        protocol: see :func:`make_protocol`; None for that of the package.

    Returns:
        The table as :func:`per_seed` gives it.
    """
    if protocol is None:
        check(name, seeds)
        protocol = PROTOCOLS[name], 10
    protocol, num_classes = protocol
    space = make_space(protocol.space)
    archs, of = space.enumerate(), _of(protocol)
    paths = {(s, i): folder / f"seed{s}-{i:03d}.json" for s in range(seeds) for i in range(len(archs))}
    todo = [key for key, path in paths.items() if not _done(path, protocol, of)]
    report(len(paths) - len(todo), len(paths))
    jobs = {(s, i): (protocol, archs[i], s, paths[s, i], of) for s, i in todo}
    for count, _ in enumerate(parallel.run_all(_job, jobs), start=len(paths) - len(todo) + 1):
        report(count, len(paths))
    results = {key: _done(path, protocol, of) for key, path in paths.items()}
    accuracy = {
        f"seed{s}": [100 * results[s, i]["accuracy"] for i in range(len(archs))] for s in range(seeds)
    }
    table = pd.DataFrame(accuracy, pd.Index([space.format(a) for a in archs], name="architecture"))
    seconds = round(sum(r["seconds"] for r in results.values()))
    record = {"benchmark": name, "protocol": asdict(protocol), "seeds": seeds, "core_seconds": seconds}
    record |= {"num_classes": num_classes} | of
    write_atomic(folder / f"{stem(name)}.csv", table.to_csv(float_format="%.4f").encode())
    write_atomic(folder / f"{stem(name)}.json", json.dumps(record | provenance(), indent=2).encode() + b"\n")
    if name not in PROTOCOLS:  # a run finds it there
        (pointer := folder_of(name) / "elsewhere.json").unlink(missing_ok=True)
        if folder.resolve() != pointer.parent.resolve():
            write_atomic(pointer, json.dumps({"folder": str(folder.resolve())}).encode())
    return table

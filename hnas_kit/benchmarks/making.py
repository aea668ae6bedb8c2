"""Making a ground truth table: every architecture trained alone, one process a core."""

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hnas_kit import data, plugins
from hnas_kit.benchmarks import alone
from hnas_kit.benchmarks.ground_truth import PROTOCOLS, Protocol, folder_of, stem
from hnas_kit.errors import HnasError, require_one_of
from hnas_kit.files import json_value, write_atomic
from hnas_kit.names import SPACES
from hnas_kit.problem import Problem
from hnas_kit.processes import parallel
from hnas_kit.provenance import provenance
from hnas_kit.spaces import Arch, SearchSpace, make_space
from hnas_kit.training import pick_device


def train_alone(space: SearchSpace, dataset: data.Dataset, arch: Arch, seed: int, **training: Any) -> float:
    """Accuracy on the test set, a fraction, of one architecture after :func:`alone.train`."""
    trained = alone.train(space, dataset, arch, seed, **training)
    return alone.accuracy(trained.net, arch, dataset)


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
        training: see :func:`train_alone`.

    Returns:
        By name, mean and standard deviation of the test accuracy (%): ``retrained``, ``retrained_sd``.
    """
    accuracies = {
        name: [
            100
            * train_alone(
                problem.space,
                problem.dataset,
                arch,
                seed,
                width=problem.width,
                checkpoints=checkpoints(f"{name} alone {seed}"),
                **training,
            )
            for seed in range(seeds)
        ]
        for name, arch in found.items()
    }
    alone_again = pd.DataFrame(accuracies)
    return pd.DataFrame({"retrained": alone_again.mean(), "retrained_sd": alone_again.std()})


def _job(protocol: Protocol, arch: Arch, seed: int, path: Path) -> None:
    start = time.perf_counter()
    space = make_space(protocol.space)
    device = pick_device(os.environ.get("HNAS_DEVICE") or "cpu")
    dataset = data.load(protocol.dataset, device, protocol.image_size)
    accuracy = train_alone(space, dataset, arch, seed, width=protocol.width, **protocol.training)
    seconds = time.perf_counter() - start
    result = {"protocol": asdict(protocol), "accuracy": accuracy, "seconds": round(seconds, 2)}
    if code := _code():
        result["plugins"] = code
    write_atomic(path, json.dumps(result).encode())


def _code() -> list[str]:
    """Digests of the files of one's own that were imported."""
    return plugins.digests(plugins.everything()[0])


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
        require_one_of("benchmark", name, [n for n, p in PROTOCOLS.items() if p.epochs])
    if not ending:
        known = [n for n, p in PROTOCOLS.items() if p.epochs]
        require_one_of("benchmark", name, [*known, *(f"DATASET-{space}" for space in SPACES)])
    where = name.removesuffix(f"-{ending}")
    dataset = data.load(where, image_size=image_size)
    if training["batch_size"] > len(dataset.train):
        has = f"data set {where} has {len(dataset.train)} images to train on"
        raise HnasError(f"batch_size is {training['batch_size']}; {has}")
    make_space(ending).enumerate()  # raises for a space that is too large
    sizes = {"image_size": dataset.image_size, "in_channels": dataset.in_channels}
    return Protocol(ending, where, **sizes, **training), dataset.num_classes


def _done(path: Path, protocol: Protocol) -> dict | None:
    """A finished training of that protocol, None if there is none."""
    try:
        result = json_value(path)
    except (OSError, ValueError):
        return None
    same = result.get("protocol") == asdict(protocol) and result.get("plugins", []) == _code()
    return result if same else None


def check(name: str, seeds: int, own: bool = False) -> None:
    """Raise :class:`HnasError` for what :func:`make` cannot make; of one's ``own`` the name is another."""
    if not own:
        require_one_of("benchmark", name, [n for n, p in PROTOCOLS.items() if p.epochs])
    if not 1 <= seeds <= 1000:
        raise HnasError(f"seeds is {seeds}; it must be at least 1 and at most 1000")


def keep_other(name: str, folder: Path, protocol: Protocol) -> None:
    """Raise :class:`HnasError` if a folder has a table of another protocol, which would be replaced."""
    path = folder / f"{stem(name)}.json"
    try:
        made = json_value(path)["protocol"]
        old = {key: made.get(key) for key, value in asdict(protocol).items() if made.get(key) != value}
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
    archs = space.enumerate()
    paths = {(s, i): folder / f"seed{s}-{i:03d}.json" for s in range(seeds) for i in range(len(archs))}
    todo = [key for key, path in paths.items() if not _done(path, protocol)]
    report(len(paths) - len(todo), len(paths))
    jobs = {(s, i): (protocol, archs[i], s, paths[s, i]) for s, i in todo}
    for count, _ in enumerate(parallel.run_all(_job, jobs), start=len(paths) - len(todo) + 1):
        report(count, len(paths))
    results = {key: _done(path, protocol) for key, path in paths.items()}
    accuracy = np.array([[results[s, i]["accuracy"] for s in range(seeds)] for i in range(len(archs))])
    table = pd.DataFrame(
        100 * accuracy,
        index=pd.Index([space.format(a) for a in archs], name="architecture"),
        columns=[f"seed{s}" for s in range(seeds)],
    )
    seconds = sum(r["seconds"] for r in results.values())
    record = {"benchmark": name, "protocol": asdict(protocol), "seeds": seeds, "core_seconds": round(seconds)}
    record["num_classes"] = num_classes
    write_atomic(folder / f"{stem(name)}.csv", table.to_csv(float_format="%.4f").encode())
    write_atomic(folder / f"{stem(name)}.json", json.dumps(record | provenance(), indent=2).encode() + b"\n")
    if name not in PROTOCOLS:  # a run finds it there
        (pointer := folder_of(name) / "elsewhere.json").unlink(missing_ok=True)
        if folder.resolve() != pointer.parent.resolve():
            write_atomic(pointer, json.dumps({"folder": str(folder.resolve())}).encode())
    return table

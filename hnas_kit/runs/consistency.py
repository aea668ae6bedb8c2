"""Parameters against what they need, images and results that are there, before a kernel starts."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from hnas_kit import data, places, plugins
from hnas_kit.errors import HnasError
from hnas_kit.names import MEASURES
from hnas_kit.runs import folders
from hnas_kit.runs.params import NOTEBOOKS, Parameters, Search, differing, result_params
from hnas_kit.supernets import smallest_features
from hnas_kit.training.problem import Problem

VALID, BOTH = ("valid",), ("train", "valid")
# which images a parameter counts
COUNTED: dict[str, dict[str, tuple[str, ...]]] = {
    "01_pretrain": {"batch_size": ("train",), "scored": VALID},
    "02_distances": {"images": VALID},
    "03_tree": {},
    "04_mcts": {"batch_size": BOTH},
    "05_ablations": {"batch_size": BOTH, "scored": VALID},
    "06_imagenet": {"batch_size": BOTH, "images": VALID, "scored": VALID, "tested": ("test",)},
    "retrain": {"batch_size": ("all",)},
}
WORDS = {"train": "to train on", "valid": "to validate on", "test": "to test on", "all": "to train on"}


def check(params: Mapping[str, Parameters], first: str = "") -> None:
    """Check the notebooks of a profile, from ``first`` on, together.

    Raises:
        HnasError: one line that names notebook and parameter, for a data set that is not there, more images
            than it has, a batch that cannot be normalised, or a result to read that is not there.
    """
    known: dict[str, Mapping[str, Any]] = {}  # the images of each notebook
    for notebook in [name for name in NOTEBOOKS if name in params and name >= first]:
        p = params[notebook]
        reads, gathers = places.READS[notebook], getattr(p, "runs", "")
        ahead = {name for name in params if name >= first and params[name].run == p.run}
        own = not getattr(p, "source", "") or p.source == p.run
        if isinstance(p, Search) and any(method.relearned for method in p.searched.values()):
            there = own and "02_distances" in ahead
            check_relearned(p, params["02_distances"].measure if there else p.tree_from["measure"])
        if gathers:
            if not folders.gathered(p):
                raise HnasError(f"{notebook}: runs is {gathers!r}, which has no table of a finished sweep")
            continue
        if not reads:
            images = p.model_dump()
        elif not own or list(reads)[-1] not in ahead:  # what is read was made before
            images = folders.Finished(p.upstream, list(reads)[-1]).manifest["lineage"]["01_pretrain"]
        else:
            images = known[list(reads)[-1]]
        known[notebook] = images
        check_one(p, images)


def check_relearned(p: Search, measure: str) -> None:
    """Raise :class:`HnasError` if a tree is to be learned anew from distances that no supernet changes."""
    if measure not in MEASURES and any(method.relearned for method in p.searched.values()):
        raise HnasError(
            "04_mcts: tree relearned is learned from a supernet's outputs, and 02_distances has measure "
            f"{measure}, of encodings, which stay as they are; set it to one of {', '.join(MEASURES)}"
        )


def refuse_unread(params: Mapping[str, Parameters], first: str, changes: Iterable[str]) -> None:
    """Refuse a change that only notebooks before ``first`` have, unless it is what they were made with.

    Raises:
        HnasError: one line that names the change, or a result to read that is not there.
    """
    for name in changes:
        book, _, own = name.rpartition(".")
        owners = [book] if book else [n for n in params if own in type(params[n]).model_fields]
        if not owners or any(owner >= first for owner in owners):
            continue
        for owner in owners:
            now, before = params[owner].model_dump(mode="json"), _before(params, first, owner)
            if before is None or before.get(own) != now[own]:
                says = "" if before is None else f" (it was made with {own} {before.get(own)})"
                raise HnasError(f"{name} belongs to {owner}, which is not run{says}")


def _before(params: Mapping[str, Parameters], first: str, notebook: str) -> dict[str, Any] | None:
    """What a notebook before ``first`` was made with, as the first that follows from it says; else None.

    Raises:
        HnasError: if it is not there.
    """
    for name, p in params.items():
        if name >= first and (reads := list(places.READS[name])) and not getattr(p, "runs", ""):
            made = folders.Finished(p.upstream, reads[-1]).manifest["lineage"]
            if notebook in made:
                return made[notebook]
    return None


def made_otherwise(params: Mapping[str, Parameters], first: str) -> Iterator[str]:
    """One line for each notebook before ``first`` that was made with other parameters than the profile's."""
    for notebook in [name for name in NOTEBOOKS if name in params and name < first]:
        before = None
        with contextlib.suppress(HnasError):
            before = _before(params, first, notebook)
        if before is not None:
            changed = differing(before, result_params(params[notebook]))
            if other := [f"{name} {was}" for name, (was, _) in changed.items()]:
                yield f"{notebook} is not run; it was made with {', '.join(other)}"


def check_one(p: Parameters, images: Mapping[str, Any]) -> None:
    """Check one notebook's parameters against images of ``dataset``, ``image_size`` and so on; see above."""
    known = {"space": "mobile", "image_size": 0, "workers": 0, "seed": 0} | dict(images)
    try:
        code = data.version(known["dataset"]), *plugins.digests(p.plugins)
        there, size = _images(known["dataset"], known["image_size"], known["workers"], code)
    except HnasError as error:
        raise type(error)(f"{p.notebook}: dataset is {known['dataset']!r}: {error}") from None
    features = smallest_features(known["space"], size) if COUNTED[p.notebook] else 1
    for name, splits in COUNTED[p.notebook].items():
        value, most = getattr(p, name), min(there[split] for split in splits)
        if value > most:
            which = WORDS[min(splits, key=there.__getitem__)]
            raise HnasError(
                f"{p.notebook}: {name} is {value}; data set {known['dataset']} has {most} images {which}"
            )
        at_once = value // getattr(p, "parts", 1) if name == "batch_size" else value
        if value and at_once * features < 2:
            raise HnasError(
                f"{p.notebook}: {name} is {value}: at {size} pixels the {known['space']} network's last "
                "features are one value an image and channel, so BatchNorm needs two images at least"
            )


@lru_cache(maxsize=8)
def _images(dataset: str, image_size: int, workers: int, code: tuple[str, ...]) -> tuple[dict[str, int], int]:
    """How many images there are to train, validate and test on, and the size of the network's input.

    ``code`` is what they follow from.
    """
    values = {"space": "pooling", "width": 1, "seed": 0}
    problem = Problem.of(values | {"dataset": dataset, "image_size": image_size, "workers": workers})
    parts = {"train": problem.train, "valid": problem.valid, "test": problem.dataset.test}
    parts["all"] = problem.dataset.train
    return {name: len(part) for name, part in parts.items()}, problem.dataset.image_size

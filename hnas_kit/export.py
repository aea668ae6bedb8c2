"""Networks as files that other programs run: PyTorch's exported programs, and ONNX."""

import copy
import importlib.util
import io
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from hnas_kit import cost, data
from hnas_kit.data import Dataset
from hnas_kit.errors import HnasError, require_one_of
from hnas_kit.files import write_atomic
from hnas_kit.runs import Finished, search_of
from hnas_kit.spaces import Arch, SearchSpace, make_space
from hnas_kit.supernets import extract, make_supernet

FACTS = "hnas_kit.json"  # the file inside an exported program that holds its metadata
IMAGES, PART = 2048, 1024  # training images that statistics are fixed from, and how many at once


def facts(
    space: SearchSpace, arch: Arch, width: int, image_size: int, in_channels: int, num_classes: int
) -> dict[str, str]:
    """What a file says of the network in it: space, architecture, sizes, MACs for one image, parameters."""
    sizes = {"width": width, "in_channels": in_channels, "num_classes": num_classes}
    macs = cost.macs(space, arch, image_size=image_size, **sizes)
    numbers = {"image_size": image_size, **sizes, "macs": macs, "params": cost.params(space, arch, **sizes)}
    of_it = {"space": space.name, "architecture": space.format(arch)}
    return of_it | {name: str(value) for name, value in numbers.items()}


def search_result(run: str, method: str = "", notebook: str = "") -> tuple[Finished, dict[str, Any], str]:
    """What a finished search found.

    Args:
        run, notebook: see :func:`hnas_kit.runs.search_of`.
        method: whose result; empty for the search's own.

    Returns:
        The finished search; ``space``, ``dataset``, ``width``, ``image_size`` (0: the data set's own),
        ``workers``, ``plugins`` and ``architecture`` (text) of the network that it found; the method's name.

    Raises:
        HnasError: if there is no such search.
    """
    part = search_of(run, notebook)
    table = part.load("found.csv")
    method = method or table.index[0]
    require_one_of(f"method of {run}", method, table.index)
    settings = part.manifest["lineage"].get("01_pretrain", part.params)
    known = {"space": "mobile", "workers": 0} | settings
    names = ("space", "dataset", "width", "image_size", "workers")
    of_it = {name: known[name] for name in names} | {"architecture": table.loc[method, "architecture"]}
    return part, of_it | {"plugins": list(part.manifest.get("plugins", {}))}, method


def found(run: str, method: str = "", notebook: str = "") -> tuple[nn.Sequential, Tensor, dict[str, str]]:
    """What a finished search found, with the weights that it has in the search's supernet.

    Args:
        run, method, notebook: see :func:`search_result`.

    Returns:
        The network, two images of zeros of its input's size, and :func:`facts`, which also say how its
        ``statistics`` were made (:func:`fix_statistics`).

    Raises:
        HnasError: if there is no such search, or it was one of several supernets.
    """
    part, of_it, method = search_result(run, method, notebook)
    weights = part.load(f"{method}.pt")["net"]
    if any(name.startswith("layers.0.models.") for name in weights):  # see hnas_kit.supernets.mixture
        raise HnasError(f"{method} searched in several supernets, and a file holds one; name another method")
    dataset = data.load(of_it["dataset"], image_size=of_it["image_size"])
    sizes = of_it["width"], dataset.image_size, dataset.in_channels, dataset.num_classes
    alone, example, known = network(of_it["space"], of_it["architecture"], sizes, weights, shared=True)
    return alone, example, known | {"statistics": fix_statistics(alone, dataset)}


def fix_statistics(network: nn.Module, dataset: Dataset) -> str:
    """Give a network BatchNorm statistics of its own, from the first training images, at most ``IMAGES``.

    Shared weights are normalised by the statistics of each batch; a file is asked for single images. Mean and
    variance are averaged over equal parts, each normalised by its own; images are not augmented.

    Args:
        network: see :func:`network`; in evaluation mode afterwards.
        dataset: whose training images it is for.

    Returns:
        What was done, in words.
    """
    count = min(IMAGES, len(dataset.train))
    pieces = (x.tensor_split(-(-len(x) // PART)) for x, _ in dataset.pieces(dataset.train, count))
    update_bn(itertools.chain.from_iterable(pieces), network)
    network.eval()
    return f"BatchNorm's mean and variance are fixed, from {count} training images"


def network(
    space_name: str,
    architecture: str,
    sizes: tuple[int, int, int, int],
    weights: Mapping[str, Tensor],
    shared: bool,
) -> tuple[nn.Sequential, Tensor, dict[str, str]]:
    """One architecture with weights that were saved.

    Args:
        space_name, architecture: as texts.
        sizes: width, image size, channels and classes.
        weights: of the whole supernet if they are ``shared``, else of the plain network.
        shared: whether they are a search's; then BatchNorm has no statistics yet.

    Returns:
        The network in evaluation mode, two images of zeros of its input's size, and :func:`facts`.
    """
    space = make_space(space_name)
    arch, (width, image_size, in_channels, num_classes) = space.parse(architecture), sizes
    net = make_supernet(space, in_channels, num_classes, width, shared=False)
    if shared:
        norms = {name for name, module in net.named_modules() if isinstance(module, nn.BatchNorm2d)}
        new = {name: v for name, v in net.state_dict().items() if name.rpartition(".")[0] in norms}
        net.load_state_dict(new | dict(weights))  # shared BatchNorm has nothing of its own
    alone = extract(net.eval(), arch)
    if not shared:
        alone.load_state_dict(weights)
    return alone, torch.zeros(2, in_channels, image_size, image_size), facts(space, arch, *sizes)


def check(path: Path) -> None:
    """Raise :class:`HnasError` for a file that :func:`save` cannot write: its ending, or missing packages."""
    if path.suffix not in (".pt2", ".onnx"):
        raise HnasError(f"{path} ends in {path.suffix!r}; allowed: .pt2, .onnx")
    if path.suffix == ".onnx" and not all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript")):
        raise HnasError(f"{path}: ONNX needs more packages; install them with pip install onnx onnxscript")


def program(network: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    """A network as it is in evaluation mode, traced for batches of any number of images.

    Args:
        network: see :func:`hnas_kit.supernets.extract`; it stays as it is.
        example: (B, C, H, W), B at least 2: the sizes of an image.
    """
    network = copy.deepcopy(network).eval()
    for module in network.modules():
        if hasattr(module, "inplace"):
            module.inplace = False  # the same graph comes out of it, in half the time
    return torch.export.export(network, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))


def save(traced: torch.export.ExportedProgram, path: Path, metadata: Mapping[str, str]) -> None:
    """Write a network as a file.

    Args:
        traced: see :func:`program`.
        path: ``.pt2`` for :func:`torch.export.load`, with the metadata as JSON in the extra file ``FACTS``;
            or ``.onnx``, with the metadata as ONNX's own.
        metadata: see :func:`facts`.

    Raises:
        HnasError: see :func:`check`.
    """
    check(path)
    if path.suffix == ".pt2":
        torch.export.save(traced, buffer := io.BytesIO(), extra_files={FACTS: json.dumps(dict(metadata))})
        write_atomic(path, buffer.getvalue())
        return
    names = {"input_names": ["images"], "output_names": ["logits"]}
    exported = torch.onnx.export(traced, **names, dynamo=True, verbose=False)
    exported.model.metadata_props.update(metadata)
    write_atomic(path, exported.model_proto.SerializeToString())

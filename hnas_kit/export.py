"""Networks as files that other programs run: PyTorch's exported programs, and ONNX."""

from __future__ import annotations

import copy
import importlib.util
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hnas_kit import cost, data
from hnas_kit.errors import HnasError, require_one_of
from hnas_kit.files import write_atomic
from hnas_kit.runs import Finished
from hnas_kit.spaces import Arch, SearchSpace, make_space
from hnas_kit.supernets import extract, make_supernet

FACTS = "hnas_kit.json"  # the file inside an exported program that holds its metadata


def facts(
    space: SearchSpace, arch: Arch, width: int, image_size: int, in_channels: int, num_classes: int
) -> dict[str, str]:
    """What a file says of the network in it: space, architecture, MACs for one image, parameters."""
    sizes = {"width": width, "in_channels": in_channels, "num_classes": num_classes}
    return {
        "space": space.name,
        "architecture": space.format(arch),
        "width": str(width),
        "macs": str(cost.macs(space, arch, image_size=image_size, **sizes)),
        "params": str(cost.params(space, arch, **sizes)),
    }


def search_result(run: str, method: str = "") -> tuple[Finished, dict[str, Any], str, str]:
    """What a finished search found.

    Args:
        run: with a finished 04_mcts.
        method: whose result; empty for the run's own.

    Returns:
        The finished search, the parameters of its 01_pretrain, the method's name, and the architecture in
        text form.

    Raises:
        HnasError: if there is no such search.
    """
    part = Finished(run, "04_mcts")
    table = part.load("found.csv")
    method = method or table.index[0]
    require_one_of(f"method of {run}", method, table.index)
    return part, part.manifest["lineage"]["01_pretrain"], method, table.loc[method, "architecture"]


def found(run: str, method: str = "") -> tuple[nn.Sequential, Tensor, dict[str, str]]:
    """What a finished search found, with the weights that it has in the search's supernet.

    Args:
        run: with a finished 04_mcts.
        method: whose result; empty for the run's own.

    Returns:
        The network, two images of zeros of its input's size, and :func:`facts`. Shared weights are normalised
        by the statistics of each batch, so what an image gets depends on those beside it.

    Raises:
        HnasError: if there is no such search, or it was one of several supernets.
    """
    part, pretrain, method, architecture = search_result(run, method)
    if method == "mixture":
        raise HnasError("a mixture has an architecture in several supernets; name another method")
    space, dataset = make_space(pretrain["space"]), data.load(pretrain["dataset"])
    sizes = dataset.in_channels, dataset.num_classes, pretrain["width"]
    net, arch = make_supernet(space, *sizes), space.parse(architecture)
    net.load_state_dict(part.load(f"{method}.pt")["net"])
    example = torch.zeros(2, dataset.in_channels, dataset.image_size, dataset.image_size)
    of_it = facts(space, arch, pretrain["width"], dataset.image_size, *sizes[:2])
    return extract(net.eval(), arch), example, of_it


def check(path: Path) -> None:
    """Raise :class:`HnasError` for a file that :func:`save` cannot write: its ending, or missing packages."""
    if path.suffix not in (".pt2", ".onnx"):
        raise HnasError(f"{path} ends in {path.suffix!r}; allowed: .pt2, .onnx")
    if path.suffix == ".onnx" and not all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript")):
        raise HnasError(f"{path}: ONNX needs more packages; install them with pip install onnx onnxscript")


def save(network: nn.Module, example: Tensor, path: Path, metadata: Mapping[str, str]) -> None:
    """Write a network as it is in evaluation mode, for batches of any number of images.

    Args:
        network: see :func:`hnas_kit.supernets.extract`.
        example: (B, C, H, W), B at least 2: the sizes of an image.
        path: ``.pt2`` for :func:`torch.export.load`, with the metadata as JSON in the extra file ``FACTS``;
            or ``.onnx``, with the metadata as ONNX's own.
        metadata: see :func:`facts`.

    Raises:
        HnasError: see :func:`check`.
    """
    check(path)
    network = copy.deepcopy(network).eval()
    for module in network.modules():
        if hasattr(module, "inplace"):
            module.inplace = False  # the same graph comes out of it, in half the time
    batch = torch.export.Dim("batch")
    program = torch.export.export(network, (example,), dynamic_shapes=({0: batch},))
    if path.suffix == ".pt2":
        torch.export.save(program, buffer := io.BytesIO(), extra_files={FACTS: json.dumps(dict(metadata))})
        write_atomic(path, buffer.getvalue())
        return
    exported = torch.onnx.export(
        program, input_names=["images"], output_names=["logits"], dynamo=True, verbose=False
    )
    exported.model.metadata_props.update(metadata)
    write_atomic(path, exported.model_proto.SerializeToString())

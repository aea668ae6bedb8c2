"""Networks as files that other programs run: PyTorch's exported programs, and ONNX."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from hnas_kit import cost
from hnas_kit.errors import HnasError
from hnas_kit.files import write_atomic
from hnas_kit.spaces import Arch, SearchSpace

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


def save(network: nn.Module, example: Tensor, path: Path, metadata: Mapping[str, str]) -> None:
    """Write a network in evaluation mode, for batches of any number of images.

    Args:
        network: see :func:`hnas_kit.supernets.extract`.
        example: (B, C, H, W), B at least 2: the sizes of an image.
        path: ``.pt2`` for :func:`torch.export.load`, with the metadata as JSON in the extra file ``FACTS``;
            or ``.onnx``, with the metadata as ONNX's own.
        metadata: see :func:`facts`.

    Raises:
        HnasError: for another ending, or ONNX where the packages for it are not installed.
    """
    if path.suffix not in (".pt2", ".onnx"):
        raise HnasError(f"{path} ends in {path.suffix!r}; allowed: .pt2, .onnx")
    batch = torch.export.Dim("batch")
    program = torch.export.export(network.eval(), (example,), dynamic_shapes=({0: batch},))
    if path.suffix == ".pt2":
        torch.export.save(program, buffer := io.BytesIO(), extra_files={FACTS: json.dumps(dict(metadata))})
        write_atomic(path, buffer.getvalue())
        return
    try:
        import onnxscript  # noqa: F401 - torch.onnx imports it late, after much work
    except ImportError:
        raise HnasError(
            f"{path}: ONNX needs more packages; install them with pip install onnx onnxscript"
        ) from None
    exported = torch.onnx.export(
        program, input_names=["images"], output_names=["logits"], dynamo=True, verbose=False
    )
    exported.model.metadata_props.update(metadata)
    write_atomic(path, exported.model_proto.SerializeToString())

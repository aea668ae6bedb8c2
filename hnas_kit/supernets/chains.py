"""Networks of search spaces that were registered: stem, blocks and head, and what is checked of them."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hnas_kit.errors import HnasError, foreign
from hnas_kit.spaces import SearchSpace
from hnas_kit.supernets.blocks import Choice, Classifier, ConvBN, Supernet

NO_CHAIN = "spaces are chains of layers; cells and graphs are not served"


def build(space: SearchSpace, in_channels: int, num_classes: int, width: int, shared: bool) -> Supernet:
    """Stem, layers and head of a space that says how a block is built.

    Raises:
        HnasError: one line that names the block, if it cannot be built or run, or gives what it should not.
    """
    sizes = {"in_channels": in_channels, "num_classes": num_classes, "width": width, "shared": shared}
    with torch.device("meta"):  # the head's channels are those that the last layer gives
        stem, layers = _features(space, sizes)
        features = _widths(space, stem, layers, in_channels)
    stem, layers = _features(space, sizes)
    head = _own(space, "head", sizes | {"channels": features.shape[1]})
    return Supernet(stem, layers, head or Classifier(features.shape[1], num_classes))


def _features(space: SearchSpace, sizes: dict[str, Any]) -> tuple[nn.Module, list[Choice]]:
    width, shared = sizes["width"], sizes["shared"]
    stem = _own(space, "stem", sizes) or ConvBN(sizes["in_channels"], width, 3, shared, activation=nn.ReLU)
    layers = [
        Choice(
            _made(space, f"block of layer {layer}, operation {name}", space.block, layer, op, width, shared)
            for op, name in enumerate(names)
        )
        for layer, names in enumerate(space.ops)
    ]
    return stem, layers


def _own(space: SearchSpace, part: str, sizes: dict[str, Any]) -> nn.Module | None:
    """The stem or head of a space that has its own, None if it has not."""
    if getattr(type(space), part) is getattr(SearchSpace, part):
        return None
    method = getattr(space, part)
    names = inspect.signature(method).parameters
    return _made(space, part, method, **{name: sizes[name] for name in names if name in sizes})


def _made(
    space: SearchSpace, what: str, function: Callable[..., nn.Module], *args: Any, **named: Any
) -> nn.Module:
    with foreign(f"space {space.name}, {what}: "):
        module = function(*args, **named)
    if not isinstance(module, nn.Module):
        raise HnasError(f"space {space.name}, {what}: it is {_kind(module)}, not a torch.nn.Module")
    return module


def _ran(space: SearchSpace, what: str, module: nn.Module, x: Tensor) -> Tensor:
    shape, version = "x".join(map(str, x.shape)), x._version
    with torch.no_grad(), foreign(f"space {space.name}, {what} on {shape}: ", f" ({NO_CHAIN})"):
        out = module(x)
    if not isinstance(out, Tensor):
        raise HnasError(f"space {space.name}, {what} gives {_kind(out)}, not a tensor ({NO_CHAIN})")
    if x._version > version:
        raise HnasError(
            f"space {space.name}, {what} changes its input, which other operations get as well; "
            "what comes first in it must not work in place (inplace=False)"
        )
    return out


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"of type {type(value).__name__}"


def _widths(space: SearchSpace, stem: nn.Module, layers: Sequence[Choice], in_channels: int) -> Tensor:
    """What the last layer gives for two images on the meta device, every operation tried on the way."""
    x = torch.empty(2, in_channels, space.image_size, space.image_size, device="meta")
    x, state = _ran(space, "stem", stem, x), 0
    for layer, (choice, table) in enumerate(zip(layers, space.transitions, strict=True)):
        outs = {
            name: _ran(space, f"block of layer {layer}, operation {name}", block, x)
            for name, block in zip(space.ops[layer], choice.choices, strict=True)
        }
        for name, out in outs.items():
            if out.dim() != 4 or out.shape[0] != 2:
                found = "x".join(map(str, out.shape))
                raise HnasError(
                    f"space {space.name}, block of layer {layer}, operation {name} gives {found} "
                    "for 2 images; it must be images x channels x rows x columns"
                )
        channels = {name: out.shape[1] for name, out in outs.items()}
        if len(set(channels.values())) > 1:
            said = ", ".join(f"{name} {number}" for name, number in channels.items())
            raise HnasError(
                f"space {space.name}: operations of layer {layer} give different numbers of channels ({said})"
            )
        op = int((table[state] >= 0).argmax())
        x, state = list(outs.values())[op], int(table[state][op])
    return x


def check(name: str, kind: Any) -> None:
    """What :func:`hnas_kit.spaces.register` asks of a space; raises :class:`HnasError` with one line."""
    if not (isinstance(kind, type) and issubclass(kind, SearchSpace)):
        raise HnasError(f"space {name} is no subclass of spaces.SearchSpace ({NO_CHAIN})")
    ops = getattr(kind, "ops", None)
    if not _lists(ops) or not all(_lists(names) and all(isinstance(n, str) for n in names) for names in ops):
        raise HnasError(
            f"space {name}: ops must hold the names of the operations of each layer, "
            f'such as (("conv3", "conv5"),) * 6 ({NO_CHAIN})'
        )
    if any(len(set(names)) < len(names) for names in ops):
        raise HnasError(f"space {name}: a layer of ops names an operation twice")
    if kind.block is SearchSpace.block:
        raise HnasError(
            f"space {name} has no block(self, layer, op, width, shared), which builds an operation"
        )
    known = {"in_channels", "channels", "num_classes", "width", "shared"}
    for part in ("stem", "head"):
        _, *names = inspect.signature(getattr(kind, part)).parameters
        if strange := [n for n in names if n not in known]:
            raise HnasError(
                f"space {name}: {part} asks for {strange[0]}; allowed: {', '.join(sorted(known))}"
            )
    with foreign(f"space {name}: "):
        space = kind()
        arch = space.first
        again = space.parse(space.format(arch))
    if again != arch:
        raise HnasError(f"space {name}: parse(format({arch})) is {again}; it must be the same again")
    for shared in (True, False):
        _try(space, shared)


def _lists(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) > 0


def _try(space: SearchSpace, shared: bool) -> None:
    """Build the network and run it, on the meta device."""
    with torch.device("meta"):
        net = build(space, 3, 10, space.width, shared)
        logits = _ran(space, "head", net.head, _widths(space, net.stem, net.layers, 3))
    if logits.shape != (2, 10):
        raise HnasError(f"space {space.name}, head gives {tuple(logits.shape)} for 2 images and 10 classes")
    if shared and any(getattr(m, "track_running_stats", False) for m in net.modules()):
        raise HnasError(
            f"space {space.name}: with shared=True a normalisation keeps running statistics, and those of "
            "all architectures would be mixed; use batch_norm(channels, shared) of hnas_kit.supernets.blocks"
        )

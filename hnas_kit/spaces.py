"""Search spaces: which operations each layer offers, and which sequences of them are architectures.

An architecture is a tuple of ints, one operation index per layer, always in canonical form (of several
codes for the same network, the one that stands for all of them).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from hnas_kit.errors import HnasError, require_one_of
from hnas_kit.names import ENCODINGS, SPACES

if TYPE_CHECKING:
    from torch import nn

Arch = tuple[int, ...]
LISTED = 1_000_000  # architectures, at most


def completions(transitions: Sequence[np.ndarray]) -> list[list[int]]:
    """Exact numbers of completions of an architecture, by state before each layer and after the last."""
    ways = [[1] * (1 + int(transitions[-1].max()))]
    for table in reversed(transitions):
        ways.append([sum(ways[-1][after] for after in row if after >= 0) for row in table.tolist()])
    return ways[::-1]


class SearchSpace:
    """What every search space offers: a chain of layers with a choice of operations in each.

    A new one says its name, its operations, and how a block is built. All else has a default.

    Which codes are canonical architectures is said by a small automaton that reads them layer by layer:
    from ``start``, ``advance`` gives the next state, and ``accepts`` says whether a state may be the last.
    Exact sampling and counting follow from it by dynamic programming. By default all codes are. Where
    several codes are one network, ``_normalise`` gives the one that the automaton accepts.

    Attributes:
        name: the name that parameters and artefacts use.
        ops: for each layer, the names of its operations.
        start: the automaton's state before the first layer.
        width, image_size: channels of the stem and pixels of an image, unless something else is said.
        separator: between the operations' indices in the text form; empty if all are digits.
    """

    name: str
    ops: tuple[tuple[str, ...], ...]
    start: int = 0
    width: int = 16
    image_size: int = 32
    separator: str = ","

    def stem(self, in_channels: int, width: int, shared: bool) -> nn.Module:
        """(B, in_channels, H, W) -> features; default: 3x3 convolution to ``width``, BatchNorm, ReLU."""
        raise NotImplementedError

    def block(self, layer: int, op: int, width: int, shared: bool) -> nn.Module:
        """Operation ``op`` (its position in ``ops[layer]``) of a layer: features -> features.

        All of a layer give the same number of channels. ``shared``: see ``supernets.blocks.batch_norm``.
        """
        raise NotImplementedError

    def head(self, channels: int, num_classes: int, shared: bool) -> nn.Module:
        """Features -> logits (B, num_classes); default: global average pool and a linear layer."""
        raise NotImplementedError

    @property
    def num_layers(self) -> int:
        """Number of layers with a choice."""
        return len(self.ops)

    def is_valid(self, arch: Iterable[int]) -> bool:
        """Whether ``arch`` has one known operation per layer and is a network of the space."""
        arch = tuple(arch)
        return (
            len(arch) == self.num_layers
            and all(isinstance(op, int | np.integer) and not isinstance(op, bool) for op in arch)
            and all(0 <= op < len(names) for op, names in zip(arch, self.ops, strict=True))
            and self._accepted(self._normalise(arch))
        )

    def _normalise(self, arch: Arch) -> Arch:
        """Of the codes with one known operation per layer that are the same network, the canonical one."""
        return arch

    def advance(self, state: int, layer: int, op: int) -> int | None:
        """The state after operation ``op`` of ``layer``, None if it is not allowed there."""
        return state

    def accepts(self, state: int) -> bool:
        """Whether an architecture may end in ``state``."""
        return True

    def _accepted(self, arch: Arch) -> bool:
        state = self.start
        for layer, op in enumerate(arch):
            if (state := self.advance(state, layer, op)) is None:
                return False
        return self.accepts(state)

    @cached_property
    def transitions(self) -> list[np.ndarray]:
        """The automaton as tables, without the states from which no architecture can be completed.

        Returns:
            For each layer an int array (states before, operations): position of the state after it among
            those of the next layer, -1 if the operation is not allowed. Position 0 of layer 0 is the start.
        """
        layers: list[list[int]] = [[self.start]]
        for layer, names in enumerate(self.ops):
            after = (self.advance(state, layer, op) for state in layers[-1] for op in range(len(names)))
            layers.append(sorted({state for state in after if state is not None}))
        layers[-1] = [state for state in layers[-1] if self.accepts(state)]
        tables: list[np.ndarray] = []
        for layer in reversed(range(self.num_layers)):
            position = {state: i for i, state in enumerate(layers[layer + 1])}
            ops = range(len(self.ops[layer]))
            table = np.array(
                [[position.get(self.advance(s, layer, op), -1) for op in ops] for s in layers[layer]]
            )
            alive = (table >= 0).any(axis=1)
            layers[layer] = [state for state, keep in zip(layers[layer], alive, strict=True) if keep]
            tables.append(table[alive])
        return tables[::-1]

    def categories(self, archs: Sequence[Arch]) -> tuple[np.ndarray, list[int]]:
        """What an encoding says of each layer: its operation, unless a space says something else.

        Args:
            archs: N architectures.

        Returns:
            (N, layers) int, counted from 0; and for each layer how many there are.
        """
        return np.array(archs), [len(names) for names in self.ops]

    def encode(self, archs: Sequence[Arch], kind: str = "vector") -> np.ndarray:
        """Architectures as points, for distances that need no network (Sec. 5.2, "Alternative branching").

        Args:
            archs: N architectures.
            kind: ``vector``, one column a layer with its category (see :meth:`categories`); or ``onehot``,
                one column for each category of each layer.

        Returns:
            (N, D) float64; D is the number of layers, or of all categories of all layers.

        Raises:
            HnasError: for an unknown kind.
        """
        require_one_of("encoding", kind, ENCODINGS)
        found, counts = self.categories(archs)
        columns = [found[:, [layer]] == np.arange(count) for layer, count in enumerate(counts)]
        return (found if kind == "vector" else np.hstack(columns)).astype(float)

    def canonical(self, arch: Iterable[int]) -> Arch:
        """The code that stands for this network; raises :class:`HnasError` if ``arch`` is not valid."""
        arch = tuple(arch)
        if not self.is_valid(arch):
            raise HnasError(f"{arch} is not an architecture of the {self.name} space: {self.describe()}")
        return tuple(int(op) for op in self._normalise(arch))

    def describe(self) -> str:
        """What a valid architecture is, in one clause (used in error messages)."""
        last = max(map(len, self.ops)) - 1
        return f"{self.num_layers} layers of 0 to {last} (operations: see the space's ops)"

    @cached_property
    def completions(self) -> list[list[int]]:
        """Those of the space's automaton, see :func:`completions`."""
        return completions(self.transitions)

    @property
    def size(self) -> int:
        """The exact number of architectures."""
        return self.completions[0][0]

    @property
    def first(self) -> Arch:
        """The architecture whose code comes first."""
        state, arch = 0, []
        for table in self.transitions:
            arch.append(int((table[state] >= 0).argmax()))
            state = int(table[state][arch[-1]])
        return self.canonical(arch)

    def enumerate(self) -> list[Arch]:
        """All canonical architectures, in a fixed order: that of the codes, unless a space has its own.

        Raises:
            HnasError: if there are more than ``LISTED``.
        """
        if self.size > LISTED:
            raise HnasError(
                f"the {self.name} space has {self.size:.4g} architectures, too many to list; "
                "draw some with cost.BudgetSampler"
            )
        partial: list[tuple[Arch, int]] = [((), 0)]
        for table in self.transitions:
            partial = [
                ((*arch, op), int(after))
                for arch, state in partial
                for op, after in enumerate(table[state])
                if after >= 0
            ]
        return [arch for arch, _ in partial]

    def parse(self, text: str) -> Arch:
        """The canonical architecture that ``text`` names; raises :class:`HnasError` if there is none."""
        parts = [part.strip() for part in (text.split(self.separator) if self.separator else text.strip())]
        known = all(re.fullmatch("0|[1-9][0-9]*", part) for part in parts)
        if not known or not self.is_valid(arch := tuple(map(int, parts))):
            what = "numbers with commas between them" if self.separator else "digits"
            raise HnasError(
                f"{text!r} is not an architecture of the {self.name} space: "
                f"write {what} for {self.describe()}"
            )
        return self.canonical(arch)

    def format(self, arch: Arch) -> str:
        """The text form of an architecture; ``parse(format(arch)) == arch``."""
        return self.separator.join(map(str, self.canonical(arch)))


class PoolingSpace(SearchSpace):
    """Where a ResNet20 halves its feature maps (Sec. 5.1; Roshtkhari et al., AutoML 2023).

    A stem layer is followed by nine residual blocks. Before each block stands nothing (``identity``)
    or a 2x2 max-pool (``pool``); exactly two pools are placed, so there are C(9,2) = 36 architectures.
    The text form ``[n1,n2,n3]`` counts the layers, stem included, at high, middle and low resolution.
    """

    name = "pooling"
    ops = (("identity", "pool"),) * 9
    IDENTITY, POOL = 0, 1

    def advance(self, state: int, layer: int, op: int) -> int | None:
        """The state is the number of pools so far."""
        pools = state + op
        return pools if pools <= 2 else None

    def accepts(self, state: int) -> bool:
        return state == 2

    def categories(self, archs: Sequence[Arch]) -> tuple[np.ndarray, list[int]]:
        """The resolution of each block: 0 (high), 1 (middle) or 2 (low), the number of pools so far.

        It is what the paper searches in each layer (Sec. 5.1, "feature map sizes at each layer"). The stem's
        is always high, so it could make no difference. By operations, pool or not, the distances of the
        vector and of the one-hot encoding would be the same but for a factor of sqrt(2), and Table 3 could
        not tell them apart.
        """
        return np.cumsum(archs, axis=1), [3] * self.num_layers

    def describe(self) -> str:
        return "9 layers of 0 (identity) or 1 (pool) with exactly two pools"

    def enumerate(self) -> list[Arch]:
        """The 36 architectures in the order of the published benchmark's indices 1 to 36."""
        return [self._from_counts(n1, n2) for n1 in range(1, 9) for n2 in range(1, 10 - n1)]

    def _from_counts(self, n1: int, n2: int) -> Arch:
        return tuple(int(layer in (n1, n1 + n2)) for layer in range(1, 10))

    def parse(self, text: str) -> Arch:
        counts = re.fullmatch(r"\s*\[\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*\]\s*", text)
        n = [int(c) for c in counts.groups()] if counts else []
        if not n or min(n) < 1 or sum(n) != 10:
            raise HnasError(
                f"{text!r} is not an architecture of the pooling space: "
                "write [n1,n2,n3], three counts of at least 1 that add up to 10"
            )
        return self._from_counts(n[0], n[1])

    def format(self, arch: Arch) -> str:
        first, second = (layer for layer, op in enumerate(self.canonical(arch), start=1) if op == self.POOL)
        return f"[{first},{second - first},{10 - second}]"


class StagedSpace(SearchSpace):
    """Layers in stages, among whose operations is an identity.

    Within a stage, behind its first layer, which changes the shape, an identity does nothing wherever it
    stands: such codes are the same network. In the canonical one these identities come last.

    Attributes:
        stages: number of layers of each stage.
        identity: index of the identity among the operations.
    """

    stages: tuple[int, ...]
    identity: int

    @cached_property
    def _starts(self) -> tuple[int, ...]:
        return tuple(itertools.accumulate(self.stages, initial=0))

    def _normalise(self, arch: Arch) -> Arch:
        parts = [arch[a:b] for a, b in itertools.pairwise(self._starts)]
        moved = [(first, *sorted(rest, key=lambda op: op == self.identity)) for first, *rest in parts]
        return tuple(itertools.chain(*moved))

    def advance(self, state: int, layer: int, op: int) -> int | None:
        """The state is 1 behind an identity that is not the first layer of its stage, else 0."""
        if layer in self._starts:
            return 0
        if op == self.identity:
            return 1
        return None if state else 0


class MacroSpace(StagedSpace):
    """NAS-Bench-Macro (Sec. 5.3; Su et al., CVPR 2021): 3^8 codes, 3,969 networks.

    Eight layers in stages of 2, 3 and 3, each an identity or an inverted residual block with kernel 3 and
    expansion 3, or kernel 5 and expansion 6. The text form is the eight digits, as in the published file.
    """

    name = "macro"
    ops = (("identity", "k3 e3", "k5 e6"),) * 8
    stages = (2, 3, 3)
    identity = 0
    separator = ""

    def describe(self) -> str:
        return "8 layers of 0 (identity), 1 (kernel 3, expansion 3) or 2 (kernel 5, expansion 6)"


class MobileSpace(StagedSpace):
    """The ImageNet space (Sec. 5.4): 13^21 codes of MobileNetV2 blocks with squeeze-excitation.

    21 layers in stages of 4, 4, 4, 4, 4 and 1, each an inverted residual block of expansion 3 or 6 and kernel
    3, 5 or 7, with squeeze-excitation ("se") or without, or an identity. The text form is the 21 indices,
    joined by commas.
    """

    name = "mobile"
    ops = ((*[f"k{k} e{e}{se}" for e in (3, 6) for se in ("", " se") for k in (3, 5, 7)], "identity"),) * 21
    stages = (4, 4, 4, 4, 4, 1)
    identity = 12

    def describe(self) -> str:
        return "21 layers of 0 to 11 (blocks: see the space's ops) or 12 (identity)"


def register(space: type[SearchSpace]) -> None:
    """Make a subclass of :class:`SearchSpace` known by its name.

    Raises:
        HnasError: if it is no chain, something of it is missing, or wrong, or its name is taken.
    """
    SPACES.register(getattr(space, "name", None), space)


def make_space(name: str) -> SearchSpace:
    """The search space of that name; raises :class:`HnasError` for an unknown one."""
    return SPACES[name]()

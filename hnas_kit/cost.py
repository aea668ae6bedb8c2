"""MACs (multiply-accumulates) and parameters of architectures; counts of a window of MACs, draws from it."""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from functools import cache, cached_property, lru_cache

import numpy as np
import torch
from torch import nn

from hnas_kit.errors import HnasError
from hnas_kit.spaces import Arch, SearchSpace, completions, make_space
from hnas_kit.supernets import Supernet, make_supernet, skeleton
from hnas_kit.supernets.networks import SKELETONS


def _size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _run(module: nn.Module, shape: tuple[int, ...], *args: int) -> tuple[int, tuple[int, ...]]:
    """MACs of a module on an input of that shape, and the shape of its output."""
    from torch.utils.flop_counter import FlopCounterMode  # it brings Triton with it, where there is one

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        out = module(torch.empty(shape, device="meta"), *args)
    return counter.get_total_flops() // 2, tuple(out.shape)


class CostTable:
    """Cost of every layer choice, each computed once per input shape on PyTorch's meta device.

    Counted as for one network alone (BatchNorm with affine parameters): MACs of convolutions and linear
    layers for one image, biases and normalisation left out; parameters of all kinds.

    Args:
        net: a supernet whose parameters lie on the meta device.
        image_size: height and width of the input, pixels.
        in_channels: channels of the input.
    """

    def __init__(self, net: Supernet, image_size: int, in_channels: int) -> None:
        self.net = net
        self._input = (1, in_channels, image_size, image_size)
        self._fixed = _size(net.stem) + _size(net.head)  # parameters that all architectures have
        self._size = cache(lambda layer, op: _size(net.layers[layer].alone(op)))
        self._run = cache(_run)

    def parts(self, arch: Arch) -> list[int]:
        """MACs of the stem, of each layer and of the head."""
        macs, shape = self._run(self.net.stem, self._input)
        parts = [macs]
        for layer, op in zip(self.net.layers, arch, strict=True):
            macs, shape = self._run(layer, shape, op)
            parts.append(macs)
        return [*parts, self._run(self.net.head, shape)[0]]

    def macs(self, arch: Arch) -> int:
        return sum(self.parts(arch))

    def chain(self, space: SearchSpace) -> tuple[int, list[np.ndarray], list[np.ndarray]]:
        """MACs of what all architectures have, and of each choice of each layer.

        What a layer costs follows from what it gets. So states of the space's automaton in which a layer may
        get features of several sizes are told apart: one for each.

        Returns:
            The sum of stem and head, where there are heads of several costs the least; for each layer the
            automaton's transitions, as :attr:`hnas_kit.spaces.SearchSpace.transitions`; and for each an
            int64 array like it, 0 where an operation is not allowed.
        """
        fixed, shape = self._run(self.net.stem, self._input)
        before, tables, costs = [(0, shape)], [], []
        for i, transitions in enumerate(space.transitions):
            after = np.full((len(before), transitions.shape[1]), -1)
            cost, reached = np.zeros_like(after), {}
            for place, (state, shape) in enumerate(before):
                for op in np.flatnonzero(transitions[state] >= 0).tolist():
                    cost[place, op], out = self._run(self.net.layers[i], shape, op)
                    reached[place, op] = int(transitions[state, op]), out
            before = sorted(set(reached.values()))
            for choice, place in reached.items():
                after[choice] = before.index(place)
            tables.append(after)
            costs.append(cost)
        heads = np.array([self._run(self.net.head, shape)[0] for _, shape in before])
        costs[-1] += np.where(after >= 0, heads[after] - heads.min(), 0)
        return fixed + int(heads.min()), tables, costs

    def params(self, arch: Arch) -> int:
        return self._fixed + sum(self._size(layer, op) for layer, op in enumerate(arch))


def table(
    space: SearchSpace | str,
    width: int | None = None,
    image_size: int | None = None,
    in_channels: int = 3,
    num_classes: int | None = None,
) -> CostTable:
    """The costs of a space's network: channels of the stem, pixels of an image; by default the paper's."""
    space = make_space(space) if isinstance(space, str) else space
    # the paper's networks follow from the name, so that spaces that only narrow the choices share a table
    key = space.name if space.name in SKELETONS else space
    return _table(key, width, image_size, in_channels, num_classes)


@lru_cache(maxsize=16)
def _table(key: SearchSpace | str, *sizes: int | None) -> CostTable:
    space = make_space(key) if isinstance(key, str) else key
    outline, (width, image_size, in_channels, classes) = skeleton(space), sizes
    with torch.device("meta"):
        net = make_supernet(space, in_channels, classes or outline.num_classes, width, shared=False)
    return CostTable(net.eval(), image_size or outline.image_size, in_channels)


def macs(space: SearchSpace, arch: Arch, **sizes: int | None) -> int:
    """MACs of one architecture for one image, the "FLOPs" of the paper; sizes as in :func:`table`."""
    return table(space, **sizes).macs(space.canonical(arch))


def params(space: SearchSpace, arch: Arch, **sizes: int | None) -> int:
    """Number of weights of one architecture alone, BatchNorm's affine ones included; sizes: likewise."""
    return table(space, **sizes).params(space.canonical(arch))


Place = tuple[int, int]  # in a walk through the layers: the automaton's state, and a sum of costs


class BudgetSampler:
    """All architectures whose MACs lie in a window: how many there are, and uniform draws of them (Sec. 5.4).

    MACs are a sum over layers, so both follow from dynamic programming over layers, states of the space's
    automaton and sums. Counts are of exact sums, in integers. Draws go by sums that are rounded down to a
    grid in each layer, inside a window that is wider by all that rounding can do; what lies outside the true
    one is drawn again, so that within it all are equally likely.

    Args:
        space: the search space.
        low, high: the window, MACs, both ends inside.
        sizes: of the network, see :func:`table`.

    Raises:
        HnasError: if the window is empty; the line says the nearest MACs that there are.
    """

    GRID = 400  # steps of the grid to the window
    CELLS = 2**16  # of the grid in all, at most

    def __init__(self, space: SearchSpace, low: float, high: float, **sizes: int | None) -> None:
        self.space, self.low, self.high = space, low, high
        fixed, self._transitions, costs = table(space, **sizes).chain(space)
        allowed = [after >= 0 for after in self._transitions]
        least = [int(cost[ok].min()) for cost, ok in zip(costs, allowed, strict=True)]
        over = [np.where(ok, c - m, 0) for c, ok, m in zip(costs, allowed, least, strict=True)]
        # from here on sums are of what a layer costs above its cheapest choice, in units that divide all
        self._unit = math.gcd(*(int(c) for layer in over for c in layer.flat)) or 1
        self._costs = [layer // self._unit for layer in over]
        self._base = fixed + sum(least)
        self._low = max(math.ceil((low - self._base) / self._unit), 0)
        self._high = math.floor((high - self._base) / self._unit)
        if not self.count():
            raise HnasError(self._empty())

    def _ways(self, layer: int) -> Iterator[tuple[int, int, int, int]]:
        """State, operation, state after it and cost in units, of all that is allowed."""
        costs = self._costs[layer]
        for (state, op), after in np.ndenumerate(self._transitions[layer]):
            if after >= 0:
                yield state, op, int(after), int(costs[state, op])

    def _backwards(self, dtype: type, longest: int, first: int = 0) -> list[np.ndarray]:
        """For each state before layer ``first``, how many completions each sum has (bool: whether any)."""
        tables = [np.ones(1, dtype)] * (1 + int(self._transitions[-1].max()))
        for layer in reversed(range(first, len(self._costs))):
            lengths = [0] * len(self._transitions[layer])
            for state, _, after, cost in self._ways(layer):
                lengths[state] = max(lengths[state], min(cost + len(tables[after]), longest))
            longer = [np.zeros(length, dtype) for length in lengths]
            for state, _, after, cost in self._ways(layer):
                part = tables[after][: max(longest - cost, 0)]
                longer[state][cost : cost + len(part)] += part
            tables = longer
        return tables

    @cached_property
    def _count(self) -> int:
        """Exact: from the end as far as 64 bits reach, from the start with integers of any size."""
        if self._high < self._low:
            return 0
        ways = completions(self._transitions)
        first = next(layer for layer, numbers in enumerate(ways) if max(numbers) < 2**62)
        behind = [np.cumsum(table) for table in self._backwards(np.int64, self._high + 1, first)]
        ahead = {(0, 0): 1}  # architectures up to layer ``first``, by state and sum
        for layer in range(first):
            longer: Counter[Place] = Counter()
            for state, _, after, cost in self._ways(layer):
                for (at, total), n in ahead.items():
                    if at == state:
                        longer[after, total + cost] += n
            ahead = longer

        def up_to(state: int, total: int) -> int:
            return int(behind[state][min(total, len(behind[state]) - 1)]) if total >= 0 else 0

        return sum(
            n * (up_to(state, self._high - total) - up_to(state, self._low - 1 - total))
            for (state, total), n in ahead.items()
        )

    def count(self) -> int:
        """The exact number of architectures in the window."""
        return self._count

    start: Place = (0, 0)  # before the first layer

    @cached_property
    def _open(self) -> list[list[tuple[list[int], list[int]]]]:
        """Sums from which the window can be reached, before each layer and in each state.

        As intervals that do not touch: where they begin, and where they end (inside). What an operation
        costs shifts those after it, so they follow exactly from the window itself.
        """
        open_ = [[([self._low], [self._high])] * (1 + int(self._transitions[-1].max()))]
        for layer in reversed(range(len(self._costs))):
            parts: list[list[tuple[int, int]]] = [[] for _ in self._costs[layer]]
            for state, _, after, cost in self._ways(layer):
                parts[state] += [(a - cost, b - cost) for a, b in zip(*open_[-1][after], strict=True)]
            tables = []
            for part in parts:
                starts, ends = [], []
                for a, b in sorted(part):
                    if ends and a <= ends[-1] + 1:
                        ends[-1] = max(ends[-1], b)
                    elif b >= 0:
                        starts.append(a)
                        ends.append(b)
                tables.append((starts, ends))
            open_.append(tables)
        return open_[::-1]

    def choices(self, layer: int, place: Place) -> list[tuple[int, Place]]:
        """The operations of a layer after which the window can still be reached, and where each leads.

        Args:
            layer: which layer, from 0.
            place: where the walk stands before it; ``start`` before layer 0.
        """
        state, total = place
        found = []
        for op, after in enumerate(self._transitions[layer][state].tolist()):
            if after >= 0:
                then = total + int(self._costs[layer][state, op])
                starts, ends = self._open[layer + 1][after]
                i = bisect_right(starts, then) - 1
                if i >= 0 and then <= ends[i]:
                    found.append((op, (after, then)))
        return found

    def _empty(self) -> str:
        """What to say of a window that is empty."""
        longest = 1 + sum(int(layer.max()) for layer in self._costs)
        sums = np.flatnonzero(self._backwards(np.bool_, longest)[0]) * self._unit + self._base
        below, above = sums[sums < self.low], sums[sums > self.high]
        near = [f"{m:,}" for m in (*below[-1:], *above[:1])]
        return (
            f"no architecture of the {self.space.name} space has between {self.low:,.0f} "
            f"and {self.high:,.0f} MACs; nearest: {' and '.join(near)}"
        )

    @cached_property
    def _grid(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Costs on the grid; and for each layer (states, cells), completions from a sum up to there."""
        step = max((self._high - self._low) // self.GRID, -(-self._high // self.CELLS), 1)
        costs = [layer // step for layer in self._costs]
        # each layer's rounding takes up to step - 1 from a sum
        first = max(-(-(self._low - len(costs) * (step - 1)) // step), 0)
        table = np.zeros((1 + int(self._transitions[-1].max()), self._high // step + 1))
        table[:, first:] = 1
        tables = [table]
        for layer in reversed(range(len(costs))):
            table, after_layer = np.zeros((len(costs[layer]), table.shape[1])), table
            for state, op, after, _ in self._ways(layer):
                cost = int(costs[layer][state, op])
                table[state, : max(table.shape[1] - cost, 0)] += after_layer[after, cost:]
            tables.append(table)
        return costs, tables[::-1]

    def behind(
        self, layer: int, state: np.ndarray, op: np.ndarray, cell: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """How many architectures begin so as the draws count them: on the grid, in a slightly wider window.

        Args:
            layer: whose operation is chosen, from 0.
            state, op: (k,) of the automaton before it, and what is chosen.
            cell: (k,) of the grid before it, 0 before the first layer.

        Returns:
            (k,) cells after it, and (k,) numbers of completions, at least 1 where the window can be reached.
        """
        costs, tables = self._grid
        then = cell + costs[layer][state, op]
        return then, tables[layer + 1][self._transitions[layer][state, op], then]

    def _propose(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """(n, layers) codes drawn by their sums on the grid, and (n,) their sums in units."""
        costs, tables = self._grid
        rows, cells = np.arange(n), tables[0].shape[1]
        state, cell, total = np.zeros((3, n), dtype=np.int64)
        codes = np.empty((n, len(costs)), dtype=np.int64)
        for layer, (cost, transitions) in enumerate(zip(costs, self._transitions, strict=True)):
            after, at = transitions[state], cell[:, None] + cost[state]
            weight = tables[layer + 1][np.maximum(after, 0), np.minimum(at, cells - 1)]
            weight[(after < 0) | (at >= cells)] = 0
            below = np.cumsum(weight, axis=1)
            op = (below <= rng.random((n, 1)) * below[:, -1:]).sum(axis=1)
            op = np.minimum(op, (weight > 0).cumsum(axis=1).argmax(axis=1))  # rounding may go past the last
            codes[:, layer], total = op, total + self._costs[layer][state, op]
            state, cell = after[rows, op], at[rows, op]
        return codes, total

    def sample(self, rng: np.random.Generator, n: int) -> list[Arch]:
        """Draw ``n`` architectures independently; all in the window are equally likely."""
        drawn: list[Arch] = []
        while len(drawn) < n:
            codes, total = self._propose(rng, max(n - len(drawn), 16))
            inside = (total >= self._low) & (total <= self._high)
            drawn += map(tuple, codes[inside].tolist())
        return drawn[:n]

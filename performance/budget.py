"""How many architectures of the ImageNet space a window of MACs has, and how fast they are drawn.

Seconds to count the window exactly, draws a second after that, and the share of proposals that lie in the
window. 100,000 draws against the exact share of every operation of every layer (chi-square), each counted
in the space whose layer has that operation alone. Prints one JSON object.

    python performance/budget.py [--quick] [--low MACS] [--high MACS]
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
import torch
from scipy import stats

from hnas_kit import cost
from hnas_kit.errors import HnasError
from hnas_kit.provenance import provenance
from hnas_kit.spaces import MobileSpace


class Given(MobileSpace):
    """The ImageNet space with one layer's operation given."""

    def __init__(self, layer: int, op: int) -> None:
        self.layer, self.op = layer, op

    def advance(self, state: int, layer: int, op: int) -> int | None:
        return None if layer == self.layer and op != self.op else super().advance(state, layer, op)


def share(layer: int, op: int, low: float, high: float, total: int) -> float:
    """Of all architectures in the window, those with that operation there."""
    try:
        return cost.BudgetSampler(Given(layer, op), low, high).count() / total
    except HnasError:  # none
        return 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two layers and few draws, to see it work")
    parser.add_argument("--low", type=float, default=277.2e6, help="of the window (default: the paper's)")
    parser.add_argument("--high", type=float, default=280.0e6)
    options = parser.parse_args()
    space, rng = MobileSpace(), np.random.default_rng(0)
    layers, draws = ((0, 20), 2000) if options.quick else (range(space.num_layers), 100_000)
    start = time.perf_counter()
    sampler = cost.BudgetSampler(space, options.low, options.high)
    counted = time.perf_counter()
    sampler.sample(rng, 1)
    prepared = time.perf_counter()
    drawn = np.array(sampler.sample(rng, draws))
    end = time.perf_counter()
    p_values = {}
    for layer in layers:
        shares = [share(layer, op, options.low, options.high, sampler.count()) for op in range(13)]
        expected = np.array([s for s in shares if s]) * draws
        observed = np.bincount(drawn[:, layer], minlength=13)[[bool(s) for s in shares]]
        p_values[layer + 1] = round(float(stats.chisquare(observed, expected).pvalue), 4)
    result = {
        "benchmark": "budget",
        "parameters": {"quick": options.quick, "window": [options.low, options.high], "draws": draws},
        "threads": torch.get_num_threads(),
        "architectures": sampler.count(),
        "one_in": round(space.size / sampler.count()),
        "count_seconds": round(counted - start, 2),
        "set_up_seconds": round(prepared - counted, 2),
        "draws_per_second": round(draws / (end - prepared)),
        "p_of_each_layer": p_values,
        "smallest_p": min(p_values.values()),
        "required": {"draws_per_second": 10_000},
        "provenance": provenance(),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()

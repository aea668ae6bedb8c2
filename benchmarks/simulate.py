"""How fast searches are simulated: steps per second of every sampler and tree on NAS-Bench-Macro.

Every method of ``hnas_kit.study`` with all seeds at once, on the published ground truth; compiled before.
Prints one JSON object.

    python benchmarks/simulate.py [--quick]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time

import numba

from hnas_kit import study
from hnas_kit.provenance import provenance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few seeds, to see it work")
    quick = parser.parse_args().quick
    seeds, steps = (4, 200) if quick else (100, 10_000)
    space, truth, forest = study.macro()
    schedule = dataclasses.replace(study.SCHEDULE, steps=steps)
    rates, total = {}, 0.0
    for name, method in study.COMPARED.items():
        study.run(space, truth, forest, range(2), dataclasses.replace(schedule, steps=5), {name: method})
        start = time.perf_counter()
        study.run(space, truth, forest, range(seeds), schedule, {name: method})
        seconds = time.perf_counter() - start
        rates[name] = round(seeds * steps / seconds)
        total += seconds
    result = {
        "benchmark": "simulate",
        "parameters": {"quick": quick, "seeds": seeds, "steps": steps, "architectures": len(truth)},
        "threads": numba.get_num_threads(),
        "steps_per_second": rates,
        "seconds": round(total, 1),
        "required": {"steps_per_second": 300_000},
        "provenance": provenance(),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()

"""How fast searches are simulated: steps per second of every sampler and tree on NAS-Bench-Macro.

Every method of ``hnas_kit.studies.study`` with all seeds at once, as ``hnas simulate`` has them; compiled
before. Prints one JSON object.

    python performance/simulate.py [--quick]
"""

from __future__ import annotations

import argparse
import json
import time

import numba

from hnas_kit.provenance import provenance
from hnas_kit.studies import study


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few seeds, to see it work")
    quick = parser.parse_args().quick
    how = study.protocol(**{"seeds": 4, "steps": 200} if quick else {})
    setting = study.setting()
    rates, total = {}, 0.0
    for name, method in study.COMPARED.items():
        study.run(setting, study.protocol(seeds=2, steps=5), {name: method})
        start = time.perf_counter()
        study.run(setting, how, {name: method})
        seconds = time.perf_counter() - start
        rates[name] = round(how.seeds * how.steps / seconds)
        total += seconds
    result = {
        "benchmark": "simulate",
        "parameters": {"quick": quick, "architectures": len(setting.truth), **how.model_dump()},
        "threads": numba.get_num_threads(),
        "steps_per_second": rates,
        "seconds": round(total, 1),
        "required": {"steps_per_second": 300_000},
        "provenance": provenance(),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()

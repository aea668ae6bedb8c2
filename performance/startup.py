"""How long the command line takes to answer when nothing is to be computed.

Seconds from the start of the process to its end: help, the parameters of a notebook, and a parameter that is
refused; median of several turns, after one that is not counted. Prints one JSON object.

    python performance/startup.py [--quick]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

from hnas_kit.provenance import provenance

COMMANDS = {
    "help": (["--help"], 0),
    "parameters": (["parameters", "04"], 0),
    "a refused parameter": (["run", "quick", "-p", "lr", "fast"], 2),
}


def seconds(command: list[str], status: int) -> float:
    """Of one call, which must end with that exit status."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "hnas_kit.cli", *command], capture_output=True, text=True)
    took = time.perf_counter() - start
    assert done.returncode == status, done.stderr
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one turn, to see it work")
    options = parser.parse_args()
    repeats = 1 if options.quick else 15
    turns = {name: [seconds(*how) for _ in range(repeats + 1)][1:] for name, how in COMMANDS.items()}
    result = {
        "benchmark": "startup",
        "parameters": {"quick": options.quick, "repeats": repeats},
        "threads": 1,
        "seconds": {name: round(statistics.median(of), 3) for name, of in turns.items()},
        "seconds_of_each_turn": {name: [round(s, 3) for s in of] for name, of in turns.items()},
        "required": {"seconds": 0.5},
        "provenance": provenance(),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()

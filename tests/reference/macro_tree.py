"""Keep the learned tree and the supernet's accuracies of a run on NAS-Bench-Macro as data of the package.

python tests/reference/macro_tree.py RUN    # after notebooks 01 to 03, for instance of params/macro_cpu
"""

import json
import sys
from pathlib import Path

from hnas_kit.files import write_atomic
from hnas_kit.runs import Finished
from hnas_kit.trees import load

TABLES = Path(__file__).parents[2] / "hnas_kit" / "benchmarks" / "tables"


def main(run: str) -> None:
    parts = {name: Finished(run, name) for name in ("01_pretrain", "02_distances", "03_tree")}
    ranking = parts["01_pretrain"].load("ranking.csv")[["supernet"]]
    record = {
        "lineage": parts["03_tree"].manifest["lineage"],
        "seconds": {name: part.manifest["seconds"] for name, part in parts.items()},
        "figures": {name: part.manifest["figures"] for name, part in parts.items()},
        "provenance": parts["01_pretrain"].manifest["provenance"],
    }
    load(parts["03_tree"].read("tree.npz")).save(TABLES / "macro-tree.npz")
    write_atomic(TABLES / "macro-supernet.csv", ranking.to_csv(float_format="%.2f").encode())
    write_atomic(TABLES / "macro-tree.json", json.dumps(record, indent=2).encode() + b"\n")


if __name__ == "__main__":
    main(sys.argv[1])

"""Keep the learned tree and the supernet's accuracies of a run on NAS-Bench-Macro as data of the package.

python tests/reference/macro_tree.py RUN NUMBER    # after hnas run macro_cpu --to 03, with other seeds

The accuracies are shares of the images they were measured on, in half precision; see
hnas_kit/benchmarks/supernets.py, where NUMBER is explained, and SUPERNETS in hnas_kit/names.py.
"""

import io
import json
import sys
from pathlib import Path

import numpy as np

from hnas_kit.benchmarks import supernets
from hnas_kit.files import write_atomic
from hnas_kit.runs import Finished

TABLES = Path(__file__).parents[2] / "hnas_kit" / "benchmarks" / "tables"


def main(run: str, number: str) -> None:
    parts = {name: Finished(run, name) for name in ("01_pretrain", "02_distances", "03_tree")}
    accuracy = parts["01_pretrain"].load("ranking.csv")["supernet"].to_numpy()
    record = {
        "lineage": parts["03_tree"].manifest["lineage"],
        "seconds": {name: part.manifest["seconds"] for name, part in parts.items()},
        "figures": {name: part.manifest["figures"] for name, part in parts.items()},
        "provenance": parts["01_pretrain"].manifest["provenance"],
    }
    changed = ("seed", "epochs", "scored", "threads")
    values = {name: record["lineage"]["01_pretrain"][name] for name in changed}
    values["images"] = record["lineage"]["02_distances"]["images"]
    given = " ".join(f"-p {name} {value}" for name, value in values.items())
    record = {"command": f"hnas run macro_cpu --to 03 {given}"} | record
    arrays = dict(parts["03_tree"].load("tree.npz"), supernet=(accuracy / 100).astype(np.float16))
    np.savez_compressed(buffer := io.BytesIO(), **arrays)
    write_atomic(TABLES / f"{supernets.stem(int(number))}.npz", buffer.getvalue())
    text = json.dumps(record, indent=2).encode() + b"\n"
    write_atomic(TABLES / f"{supernets.stem(int(number))}.json", text)


if __name__ == "__main__":
    main(*sys.argv[1:])

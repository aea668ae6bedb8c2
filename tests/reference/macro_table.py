"""Keep the published accuracies of NAS-Bench-Macro as data of the package.

python tests/reference/macro_table.py FILE    # the published file, see SOURCE

They are kept as published, float32 and not rounded: two decimals would change 1,289 ranks.
"""

import io
import json
import sys
from pathlib import Path

import numpy as np

from hnas_kit.files import sha256, write_atomic
from hnas_kit.spaces import make_space

TABLES = Path(__file__).parents[2] / "hnas_kit" / "benchmarks" / "tables"
NAME = "cifar10-macro"
SOURCE = {
    "benchmark": NAME,
    "content": "test accuracy (%) of three trainings of each of 3,969 networks, in the order of the space",
    "source": "github.com/xiusu/NAS-Bench-Macro",
    "commit": "61a2bfc",
    "file": "data/nas-bench-macro_cifar10.json",
    "sha256": "686dee8363cc21cca8c1f321ad5749454f2d9b9ca5972682e137e539bc522297",
    "licence": "Apache-2.0",
    "publication": "Su et al., Prioritized Architecture Sampling with Monto-Carlo Tree Search, CVPR 2021",
}


def main(path: str | Path, folder: Path = TABLES) -> None:
    published = Path(path).read_bytes()
    if sha256(published) != SOURCE["sha256"]:
        sys.exit(f"{path} is not {SOURCE['file']} of {SOURCE['source']}, commit {SOURCE['commit']}")
    records, space = json.loads(published), make_space("macro")
    accuracy = np.array([records[space.format(arch)]["test_acc"] for arch in space.enumerate()])
    kept = accuracy.astype(np.float32)
    assert np.array_equal(kept, accuracy)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, accuracy=kept)
    write_atomic(folder / f"{NAME}.npz", buffer.getvalue())
    write_atomic(folder / f"{NAME}.json", json.dumps(SOURCE, indent=2).encode() + b"\n")


if __name__ == "__main__":
    main(sys.argv[1])

"""The published ground truth of NAS-Bench-Macro (Su et al., CVPR 2021), found, or downloaded once."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pandas as pd

from hnas_kit.data import data_folders, find
from hnas_kit.errors import HnasError
from hnas_kit.files import sha256
from hnas_kit.spaces import MacroSpace

FILE = "nas-bench-macro_cifar10.json"
URL = f"https://github.com/xiusu/NAS-Bench-Macro/raw/61a2bfc/data/{FILE}"  # Apache-2.0
SHA256 = "686dee8363cc21cca8c1f321ad5749454f2d9b9ca5972682e137e539bc522297"


def _download(folder: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # in a notebook it says that it misses widgets, which nothing needs
        import pooch

    return Path(pooch.retrieve(URL, f"sha256:{SHA256}", FILE, folder))


def _file() -> Path:
    """The published file: in a data folder, or downloaded into the user's cache folder."""
    folders = data_folders()
    try:
        path = find(FILE) or _download(folders[-1])
    except Exception as error:
        where = " or ".join(map(str, folders))
        raise HnasError(
            f"{FILE} is not in {where} and cannot be downloaded ({' '.join(str(error).split())}); "
            f"get it from {URL} and put it there, or set HNAS_DATA_DIR to the folder that holds it"
        ) from error
    if sha256(path.read_bytes()) != SHA256:
        raise HnasError(
            f"{path} is not the published file, its sha256 differs; remove it, or get it from {URL}"
        )
    return path


def read() -> pd.DataFrame:
    """The 3,969 networks, indexed by their canonical code in the space's order.

    Returns:
        ``seed0`` to ``seed2``, test accuracy (%) of three trainings; ``macs`` and ``params`` of the network.

    Raises:
        HnasError: one line, if the file is not there and cannot be had, or is another.
    """
    space, records = MacroSpace(), json.loads(_file().read_text())
    rows = {}
    for arch in space.enumerate():
        record = records[code := space.format(arch)]
        rows[code] = [*record["test_acc"], record["flops"], record["params"]]
    columns = ["seed0", "seed1", "seed2", "macs", "params"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    return table.rename_axis("architecture")

"""``hnas compare``: what differs between two runs, and their results beside each other."""

import json

import pandas as pd

from hnas_kit.errors import HnasError
from hnas_kit.runs import Finished, search_of


def _texts(part: Finished) -> dict[str, str]:
    """Everything that a run's result follows from, as text by name: parameters, files of one's own, code."""
    found = {
        f"{notebook}.{name}": value if isinstance(value, str) and value else json.dumps(value)
        for notebook, values in sorted(part.manifest["lineage"].items())
        for name, value in values.items()
    }
    files = part.manifest.get("plugins", {}).items()
    found |= {f"plugin {name.rpartition('/')[2]}": digest[:8] for name, digest in files}
    made = part.manifest["provenance"]
    return found | {"code of hnas_kit": made["code_sha256"][:8], "device": part.manifest["device"]}


def differences(parts: dict[str, Finished]) -> pd.DataFrame:
    """What is not the same in two finished searches: a row a name, a column a run, "-" where it has none."""
    table = pd.DataFrame({run: _texts(part) for run, part in parts.items()}).fillna("-")
    return table[table.nunique(axis=1) > 1].rename_axis("what differs")


def results(parts: dict[str, Finished]) -> pd.DataFrame:
    """What every method of two finished searches found: one row a method, columns by run and value."""
    frames = {run: part.load("found.csv") for run, part in parts.items()}
    return pd.concat(frames, axis=1).rename_axis("method")


def compare(first: str, second: str, notebook: str = "") -> str:
    """Both tables, and the two headlines, as text.

    Args:
        first, second: names of runs with finished searches of the same notebook.
        notebook: see :func:`hnas_kit.runs.search_of`.

    Raises:
        HnasError: if one has no such search, or they are of different notebooks.
    """
    if first == second:
        raise HnasError(f"{first} is named twice; name two runs")
    parts = {run: search_of(run, notebook) for run in (first, second)}
    kinds = {run: part.notebook for run, part in parts.items()}
    if len(set(kinds.values())) > 1:
        said = ", ".join(f"{run} {kind}" for run, kind in kinds.items())
        raise HnasError(f"the searches are of different notebooks ({said}); name one with --notebook")
    differ, found = differences(parts), results(parts)
    lines = [f"{run}: {part.manifest['headline']}" for run, part in parts.items()]
    lines += ["", differ.to_string() if len(differ) else "all parameters are the same"]
    return "\n".join([*lines, "", found.to_string(float_format="{:.2f}".format, na_rep="-")])

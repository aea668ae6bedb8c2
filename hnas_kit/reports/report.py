"""Measured beside published: the HTML report of a run, and a table over runs of several seeds."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2
import pandas as pd

from hnas_kit import benchmarks
from hnas_kit.errors import Failure, HnasError
from hnas_kit.files import read_yaml, write_atomic
from hnas_kit.runs import SEARCHES, Finished, know, outputs_root, search_of
from hnas_kit.studies.paper import LABELS, SETUP, references
from hnas_kit.studies.paper import TABLES as PUBLISHED
from hnas_kit.studies.rule import within

_texts = read_yaml(Path(__file__).with_suffix(".yaml"))
CAPTIONS: dict[str, str] = _texts["captions"]


def _differences(parts: Mapping[str, Finished]) -> str:
    """What the run does otherwise than the paper, in words, from its parameters."""
    published, changed = SETUP.get(parts["01_pretrain"].params["space"]), []
    if published is None:
        return "The paper has no such space."
    for name, (notebook, *settings) in _texts["settings"].items():
        if notebook in parts:
            values = [parts[notebook].params[setting] for setting in settings]
            mine = values[0] if len(values) == 1 else " to ".join(map(str, values))
            if mine != published[name]:
                theirs = "not said" if published[name] is None else published[name]
                changed.append(f"{name} {mine} (paper: {theirs})")
    if not changed:
        return "The set-up is the paper's."
    return f"What differs from the paper's set-up: {'; '.join(changed)}."


def _compared(parts: Mapping[str, Finished]) -> str:
    """Ours and the paper's columns, one row a method, or an architecture that was not searched."""
    space, dataset = (parts["01_pretrain"].params[name] for name in ("space", "dataset"))
    found, truth = parts["04_mcts"].load("found.csv"), benchmarks.for_dataset(space, dataset)
    published = PUBLISHED["table1"].get(space)
    if truth is not None and published is not None:
        found = pd.concat([found, references(published, truth)])
    none = "no ground truth"
    labels = [LABELS.get(name, name) for name in found.index]
    published = pd.DataFrame(index=labels) if published is None else published.reindex(labels)
    table = pd.DataFrame(
        {
            "method": found.index,
            "ours: architecture": found["architecture"],
            "ours: true accuracy (%)": found["accuracy"].map("{:.2f}".format).replace("nan", none),
            "ours: true rank": found["rank"].map("{:.0f}".format).replace("nan", none),
        }
    )
    for column in published.columns.drop("search time", errors="ignore"):
        table[f"paper: {column}"] = ["not reported" if pd.isna(v) else v for v in published[column]]
    return table.to_html(index=False, border=0)


def _within_rule(part: Finished) -> str:
    """Whether a search's lambda is within the rule for its bonus, in words."""
    p = part.params
    if p.get("prior", "branches") != "branches":
        return f"The rule for lambda is for branches that are drawn alike, not for prior {p['prior']}."
    return within(p["exploration"], p["bonus"])


def _html(part: Finished, name: str) -> str:
    """A table that a notebook made; columns called ``group: name`` lie under their group."""
    table = part.load(name).rename_axis(None)
    if table.columns.str.contains(": ").any():
        table.columns = table.columns.str.split(": ", expand=True)
    return table.to_html(border=0, na_rep="", float_format="{:g}".format)


def _parts(run: str) -> dict[str, Finished]:
    """What a report is made of, in the notebooks' order; raises :class:`HnasError` if nothing is done."""
    parts: dict[str, Finished | None] = {}
    search, window = (_if_there(run, notebook) for notebook in SEARCHES)
    if not (search or window):
        search_of(run)  # it says what is missing
    if search:
        parts["01_pretrain"] = Finished(search.runs.get("01_pretrain", run), "01_pretrain")
        for notebook in ("02_distances", "03_tree"):
            parts[notebook] = _if_there(search.runs.get(notebook, run), notebook)
        parts |= {"04_mcts": search, "05_ablations": _if_there(run, "05_ablations")}
    parts["06_imagenet"] = window
    there = {notebook: part for notebook, part in parts.items() if part}
    know(*there.values())
    return there


def _if_there(run: str, notebook: str) -> Finished | None:
    """What a notebook made, None if it did not run; raises :class:`HnasError` if it is damaged."""
    try:
        return Finished(run, notebook)
    except Failure:
        raise
    except HnasError:
        return None


def write(run: str) -> Path:
    """Write ``outputs/<run>/report.html``, one file with everything in it, and return its path.

    Raises:
        HnasError: if neither the run's search nor its search inside a window of MACs is finished.
    """
    parts = _parts(run)
    page = Path(__file__).with_suffix(".html").read_text(encoding="utf-8")
    template = jinja2.Template(page, autoescape=True)
    page = template.render(
        _texts,
        run=run,
        parts=parts,
        last=parts.get("04_mcts", parts.get("06_imagenet")).manifest,
        compared=_compared,
        differences=_differences,
        within_rule=_within_rule,
        table=_html,
        image=lambda part, name: base64.b64encode(part.read(name)).decode(),
    )
    path = outputs_root() / run / "report.html"
    write_atomic(path, page.encode())
    return path


def over_seeds(runs: Sequence[str]) -> pd.DataFrame:
    """What each method found, over finished runs that differ in their seed.

    Args:
        runs: names of runs whose searches are of the same notebook, see :func:`hnas_kit.runs.search_of`.

    Returns:
        One row a method: architectures in the order of the runs; of a search whose result is judged by a
        ground truth best, mean and standard deviation of the true rank, and mean and deviation of the true
        accuracy (%); of one in a window of MACs the same of top-1 accuracy in the supernet (%) and of MACs.
    """
    found = pd.concat({run: search_of(run).load("found.csv") for run in runs}, names=["run"])
    groups = found.groupby("method", sort=False)
    columns = {"architectures": groups["architecture"].agg(" ".join)}
    if "rank" in found:
        columns["best rank"] = groups["rank"].min()
    for name in [name for name in ("rank", "accuracy", "top-1", "MACs (M)") if name in found]:
        columns |= {f"mean {name}": groups[name].mean(), f"sd {name}": groups[name].std()}
    return pd.DataFrame(columns, dtype=object)

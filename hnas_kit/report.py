"""Measured beside published: the HTML report of a run, and a table over runs of several seeds."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from hnas_kit import benchmarks
from hnas_kit.errors import HnasError
from hnas_kit.files import write_atomic
from hnas_kit.runs import Finished, outputs_root, search_of
from hnas_kit.studies.paper import LABELS, SETUP, references
from hnas_kit.studies.paper import TABLES as PUBLISHED

CAPTIONS = {
    "images.png": "Training images as the network sees them.",
    "loss.png": "Pre-training: loss of the single-path steps.",
    "ranking.png": "How the pre-trained supernet ranks the architectures, against accuracy trained alone.",
    "figure1.png": "One distribution over eight architectures in three ways (the paper's Fig. 1).",
    "figure2.png": "The default and a learned tree of eight architectures (the paper's Fig. 2).",
    "ranks.png": "True rank of what every method found, one dot a seed (the paper's Table 1).",
    "pretraining.png": "How long to pre-train for the tree (the paper's Fig. 3, left).",
    "over_steps.png": "Learned, default and random tree over the search (the paper's Fig. 3, right).",
    "quality.png": "What a tree is like against how its search went.",
    "figure5.png": "Trees from outputs, vector and one-hot encodings (the paper's Fig. 5).",
    "encodings.png": "Distances between encodings, beside those between outputs (the paper's Fig. 4).",
    "accuracy.png": "The tree that halves the architectures by the supernet's accuracy.",
    "flow.png": "Draws flowing down the tree over the search; wide lines carry many.",
    "distances.png": "Distances between the architectures' outputs (the paper's Fig. 4, left).",
    "learned.png": "The learned tree, its leaves coloured by true accuracy.",
    "default.png": "The default tree: layer by layer.",
    "variance.png": "Share of the variance of true accuracy that each level of a tree explains.",
    "search.png": "The searches over their steps (the paper's Fig. 3, right).",
    "visits.png": "Which architectures the third phase drew, by their true rank.",
    "bonuses.png": "The exploration bonus by Eq. 3 and by Algorithm 1 as typeset.",
    "terms.png": "The two terms of R over the search on the learned tree.",
    "simulated.png": "Simulated searches on NAS-Bench-Macro: what is found, and where draws go.",
    "simulated-linear.png": "The same with the bonus of Algorithm 1 as typeset.",
    "complexity.png": "What a learned tree costs (the paper's Appendix C.5).",
    "probability.png": "Where draws go in the learned tree at the end of the search.",
    "window.png": "MACs of networks drawn from the whole ImageNet space, and the window of the search.",
    "operations.png": "How often each operation stands in each layer, in the whole space and in the window.",
    "pool.png": "The tree learned over the pool, its leaves numbered in the order of their draws.",
    "rewards.png": "Searches inside the window: accuracy of the draws, and how many were different.",
    "figure6.png": "What was found inside the window (the paper's Fig. 6).",
}


def _differences(parts: Mapping[str, Finished]) -> str:
    """What the run does otherwise than the paper, in words, from its parameters."""
    p, s = parts["01_pretrain"].params, parts["04_mcts"].params
    ours = {
        "data": p["dataset"],
        "width of the network": p["width"],
        "epochs of pre-training": p["epochs"],
        "batch size of pre-training": p["batch_size"],
        "learning rate of pre-training": p["lr"],
        "weight decay of pre-training": p["weight_decay"],
        "epochs of search": s["epochs"],
        "batch size of search": s["batch_size"],
        "learning rate of search": s["lr"],
        "share of uniform sampling": s["uniform_share"],
        "share of warm-up": s["warmup_share"],
        "beta": s["beta"],
        "lambda": s["exploration"],
        "T": f"{s['temperature_start']} to {s['temperature_end']}",
        "final choice": s["final"],
    }
    for notebook, name in (("02_distances", "measure"), ("03_tree", "linkage")):
        if notebook in parts:
            ours[name] = parts[notebook].params[name]
    published = SETUP[p["space"]]
    changed = [
        f"{name} {mine} (paper: {'not said' if published[name] is None else published[name]})"
        for name, mine in ours.items()
        if mine != published[name]
    ]
    if not changed:
        return "The set-up is the paper's."
    return f"What differs from the paper's set-up: {'; '.join(changed)}."


def _table(found: pd.DataFrame, space: str) -> pd.DataFrame:
    """Ours and the paper's columns, one row a method, or an architecture that was not searched."""
    published = PUBLISHED["table1"][space].reindex([LABELS.get(name, name) for name in found.index])
    table = pd.DataFrame(
        {
            "method": found.index,
            "ours: architecture": found["architecture"],
            "ours: true accuracy (%)": found["accuracy"].map("{:.2f}".format),
            "ours: true rank": found["rank"].map("{:.0f}".format),
        }
    )
    for column in ("architecture", "best accuracy", "average accuracy", "best rank", "average rank"):
        table[f"paper: {column}"] = ["not reported" if pd.isna(v) else v for v in published[column]]
    return table.replace("nan", "no ground truth")


TABLES = {
    "table1.csv": "Methods (the paper's Table 1 or 4)",
    "table2.csv": "Table 2: distance measures",
    "table3.csv": "Table 3: encodings",
    "table7.csv": "Table 7: rewards (the paper's on NAS-Bench-Macro, ranks of 3,969)",
    "trees.csv": "Sec. 5.2: a tree from accuracies; linkages",
    "simulated.csv": "Simulated searches on NAS-Bench-Macro, by the reading of the bonus",
    "paired.csv": "The learned tree against each other method, seed by seed (Wilcoxon's signed-rank test)",
}


def _ablations(part: Finished) -> list[dict[str, str]]:
    """Heading and HTML of each table that 05_ablations made."""
    tables = []
    for name in [name for name in TABLES if name in part.outputs]:
        table = part.load(name).rename_axis(None)
        if table.columns.str.contains(": ").any():
            table.columns = table.columns.str.split(": ", expand=True)
        html = table.to_html(border=0, na_rep="", float_format="{:g}".format)
        tables.append({"heading": TABLES[name], "html": jinja2.filters.do_mark_safe(html)})
    return tables


def _window(part: Finished) -> dict[str, Any]:
    """Table 5 with our rows, and what they are."""
    html = part.load("table5.csv").rename_axis(None).to_html(border=0, float_format="{:g}".format)
    return (
        part.params
        | part.manifest["figures"]
        | {"readings": part.manifest.get("readings", "")}
        | {"table": jinja2.filters.do_mark_safe(html)}
    )


def _parts(run: str) -> dict[str, Finished]:
    """What a report is made of, in the notebooks' order; raises :class:`HnasError` if nothing is done."""
    parts, window = {}, None
    with contextlib.suppress(HnasError):
        window = Finished(run, "06_imagenet")
    try:
        search = Finished(run, "04_mcts")
    except HnasError:
        if window is None:
            raise
    else:
        parts["01_pretrain"] = Finished(search.runs.get("01_pretrain", run), "01_pretrain")
        for notebook in ("02_distances", "03_tree"):
            with contextlib.suppress(HnasError):
                parts[notebook] = Finished(search.runs.get(notebook, run), notebook)
        parts["04_mcts"] = search
        with contextlib.suppress(HnasError):
            parts["05_ablations"] = Finished(run, "05_ablations")
    return parts if window is None else parts | {"06_imagenet": window}


def _first(parts: Mapping[str, Finished]) -> dict[str, Any]:
    """What the report says of the search of notebook 04, beside the paper's; nothing if there was none."""
    if "04_mcts" not in parts:
        return {}
    pretrain, search = parts["01_pretrain"].params, parts["04_mcts"]
    found, truth = search.load("found.csv"), benchmarks.for_dataset(pretrain["space"], pretrain["dataset"])
    if truth is not None:
        found = pd.concat([found, references(PUBLISHED["table1"][pretrain["space"]], truth)])
    found = _table(found, pretrain["space"])
    return {
        "space": pretrain["space"],
        "dataset": pretrain["dataset"],
        "seed": search.params["seed"],
        "table": jinja2.filters.do_mark_safe(found.to_html(index=False, border=0)),
        "differences": _differences(parts),
        "readings": search.manifest.get("readings", ""),
    }


def write(run: str) -> Path:
    """Write ``outputs/<run>/report.html``, one file with everything in it, and return its path.

    Raises:
        HnasError: if neither the run's search nor its search inside a window of MACs is finished.
    """
    parts = _parts(run)
    last = parts.get("04_mcts", parts.get("06_imagenet"))
    figures = [
        {
            "caption": CAPTIONS[name],
            "source": f"{notebook}/{name}",
            "data": base64.b64encode(part.read(name)).decode(),
        }
        for notebook, part in parts.items()
        for name in part.outputs
        if name.endswith(".png")
    ]
    template = jinja2.Environment(autoescape=True).from_string(
        (files("hnas_kit") / "report.html").read_text()
    )
    page = template.render(
        run=run,
        found=last.manifest["headline"],
        **_first(parts),
        ablations=_ablations(parts["05_ablations"]) if "05_ablations" in parts else [],
        scale=parts["05_ablations"].manifest["figures"]["scale"] if "05_ablations" in parts else "",
        window=_window(parts["06_imagenet"]) if "06_imagenet" in parts else {},
        figures=figures,
        parts=[part.manifest for part in parts.values()],
        provenance=last.manifest["provenance"],
        started=last.manifest["started"],
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
    parts = {run: search_of(run) for run in runs}
    found = pd.concat({run: part.load("found.csv") for run, part in parts.items()}, names=["run"])
    rows = {}
    for method, group in found.groupby("method", sort=False):
        rows[method] = {"architectures": " ".join(group["architecture"])}
        if "rank" in group:
            rows[method]["best rank"] = group["rank"].min()
        for name in ("rank", "accuracy", "top-1", "MACs (M)"):
            if name in group:
                rows[method] |= {f"mean {name}": group[name].mean(), f"sd {name}": group[name].std()}
    return pd.DataFrame(rows).T.rename_axis("method")

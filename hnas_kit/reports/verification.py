"""``hnas verify``: a run's folders against what was recorded and printed of them."""

import ast
from collections.abc import Iterator
from html import unescape

import numpy as np

from hnas_kit import benchmarks, trees
from hnas_kit.errors import Failure, HnasError
from hnas_kit.files import first_line, json_value
from hnas_kit.places import READS, SEARCHES
from hnas_kit.runs import Finished, know, outputs_root, place
from hnas_kit.runs.folders import inputs
from hnas_kit.runs.params import NOTEBOOKS

CLOSE = 1e-6  # numbers are computed again from what is kept, in other sums


def verify(run: str) -> list[str]:
    """Check a run: every manifest and artefact, what was read, and the numbers that are printed of them.

    Args:
        run: its name.

    Returns:
        One line for each notebook that was found to be sound.

    Raises:
        HnasError: if there is nothing of that run.
        Failure: one line with all that is wrong.
    """
    there = [name for name in NOTEBOOKS if place(run, name).exists()]
    if not there:
        raise HnasError(f"{outputs_root() / run} holds no finished notebook; allowed: the name of a run")
    wrong, sound = [], []
    for name in there:
        try:
            know(part := Finished(run, name))
            found = [f"{name}: {line}" for line in _faults(part)]
        except HnasError as error:
            found = [str(error)]
        wrong += found
        if not found:
            sound.append(
                f"{name:14}{len(part.outputs)} files as they were saved; {part.manifest['headline']}"
            )
    if not wrong and (searches := [name for name in SEARCHES if name in there]):
        wrong += _report(run, searches[0])
    if wrong:
        raise Failure("; ".join(wrong))
    return sound


def _faults(part: Finished) -> Iterator[str]:
    """What is wrong with a part whose manifest is whole."""
    for name in part.outputs:
        part.read(name)
    files = (p.relative_to(part.folder).as_posix() for p in part.folder.rglob("*") if p.is_file())
    strange = {name for name in files if not name.startswith((".", "checkpoints/"))}
    yield from (f"{name} was not saved by it" for name in sorted(strange - {*part.outputs, "manifest.json"}))
    reads = READS[part.notebook]
    upstream = {name: Finished(part.runs[name], name) for name in reads if name in part.runs}
    if len(upstream) == len(reads) and inputs(part.notebook, upstream) != part.manifest["inputs"]:
        yield "what it was made from has been made again since"
    for what, printed, found in _numbers(part, upstream):
        if not np.isclose(printed, found, rtol=CLOSE, atol=CLOSE, equal_nan=True):
            yield f"{what} is {printed} in the manifest, and {found} by its files"
    said = part.manifest["headline"]
    yield from (f"the headline says nothing of {text}" for text in _named(part) if text not in said)
    yield from _executed(part)


def _named(part: Finished) -> Iterator[str]:
    """What a headline must name, from the files."""
    if part.notebook in SEARCHES and "found.csv" in part.outputs:
        first = part.load("found.csv").iloc[0]
        yield str(first.name)
        if part.notebook == "04_mcts":
            yield str(first["architecture"])
            yield "no ground truth" if np.isnan(first["rank"]) else f"true rank {first['rank']:.0f} of"
        else:
            yield f"{first['MACs (M)']:.1f} M MACs, {first['top-1']:.1f} %"


def _numbers(part: Finished, upstream: dict[str, Finished]) -> Iterator[tuple[str, float, float]]:
    """Name, printed value, and the value computed again from the files, of each number that can be."""
    figures, has = part.manifest.get("figures", {}), part.outputs
    if part.notebook == "01_pretrain" and "mean_accuracy" in figures:
        yield "mean_accuracy", figures["mean_accuracy"], part.load("ranking.csv")["supernet"].mean()
    if part.notebook == "02_distances" and "mean_distance" in figures:
        yield "mean_distance", figures["mean_distance"], part.load("distances.npz")["distances"].mean()
    if part.notebook == "03_tree" and "depth" in figures:
        tree = trees.load(part.read("tree.npz"))
        yield "depth", figures["depth"], tree.depth
        if "02_distances" in upstream and "cophenetic_correlation" in figures:
            distances = upstream["02_distances"].load("distances.npz")["distances"]
            found = trees.cophenetic_correlation(tree, distances)
            yield "cophenetic_correlation", figures["cophenetic_correlation"], found
    for name in [name for name in figures if name.startswith("reward_") and f"{name[7:]}.csv" in has]:
        reward = part.load(f"{name[7:]}.csv")["reward"]
        yield name, figures[name], 100 * reward.tail(len(reward) // 10).mean()
    if part.notebook == "04_mcts" and "found.csv" in has and "01_pretrain" in upstream:
        images = upstream["01_pretrain"].params
        truth = benchmarks.for_dataset(images["space"], images["dataset"])
        if truth is not None:
            for method, row in part.load("found.csv").iterrows():
                for name in ("rank", "accuracy"):
                    yield f"{name} of {method}", row[name], truth.loc[row["architecture"], name]
    if part.notebook == "05_ablations" and "rows.csv" in has:
        rows = part.load("rows.csv")
        again = {"rows": len(rows), "mean_validation": rows["validation"].mean()}
        yield from ((name, figures[name], value) for name, value in again.items() if name in figures)


def _executed(part: Finished) -> Iterator[str]:
    """Whether the executed notebook beside the folder is of the same parameters."""
    path = part.folder.with_name(f"{part.notebook}.ipynb")
    if not path.exists():
        return
    try:
        cells = json_value(path)["cells"]
        given = [c["source"] for c in cells if "injected-parameters" in c["metadata"].get("tags", [])]
        nodes = [n for source in given for n in ast.parse("".join(source)).body if isinstance(n, ast.Assign)]
        values = {node.targets[0].id: ast.literal_eval(node.value) for node in nodes}
    except (ValueError, KeyError, TypeError, AttributeError, SyntaxError, OSError) as error:
        yield f"{path} cannot be read ({first_line(error)})"
        return
    for name in [name for name, made in part.params.items() if values.get(name, made) != made][:1]:
        yield f"{path} was executed with {name} {values[name]}, and the result made with {part.params[name]}"


def _report(run: str, search: str) -> Iterator[str]:
    """Whether the report, if there is one, shows the headline and the table of what was found."""
    path = outputs_root() / run / "report.html"
    if not path.exists():
        return
    text = unescape(path.read_text(encoding="utf-8", errors="replace"))
    part = Finished(run, search)
    shown = [part.manifest["headline"], part.manifest["started"]]
    if search == "04_mcts":
        shown += [str(arch) for arch in part.load("found.csv")["architecture"]]
    if absent := [line for line in shown if line not in text]:
        yield f"{path} is not of this result: it does not show {absent[0]!r}; make it with hnas report {run}"

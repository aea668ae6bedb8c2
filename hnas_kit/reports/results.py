"""Tables of ``docs/results`` that sum up others, and what ``docs/results.md`` says of the claim."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
import pandas as pd
from scipy.stats import kendalltau

from hnas_kit import benchmarks, figures
from hnas_kit.errors import HnasError
from hnas_kit.files import read_table, write_atomic
from hnas_kit.spaces import make_space
from hnas_kit.studies import ablations, evidence, finished, paper

# the tables that the section is written from, with the texts and the numbers that every row must have
_NEEDED = {
    "evidence": (
        ("label", "reward", "run", "architecture", "readings", "commit", "hardware", "versions"),
        ("seed", "seconds", *ablations.MEASURED),
    ),
    "judges": (
        ("run",),
        ("found_rank", "favourite_rank", "tau_before", "tau", "best_before", "best", "all_before", "all"),
    ),
    "evidence_again": (("label",), ("seed", "rank")),
}
BEGIN, END = "<!-- hnas results: begin -->", "<!-- hnas results: end -->"


def _markdown(table: pd.DataFrame, formats: dict[str, str]) -> str:
    """A table in Markdown, numbers as ``formats`` says; empty where there is none."""
    shown = table.astype(object)
    for name, form in formats.items():
        shown[name] = [form.format(value) if pd.notna(value) else "" for value in table[name]]
    lines = ["| " + " | ".join(map(str, shown.columns)) + " |", "|" + "---|" * len(shown.columns)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in shown.itertuples(index=False)]
    return "\n".join(lines)


def _repaired(judged: pd.DataFrame) -> str:
    """Whether concentrating repaired what interference broke, in words, from the table of judges."""
    gain = (judged["best"] - judged["best_before"]) - (judged["all"] - judged["all_before"])
    better = judged["tau"] > judged["tau_before"]
    behind = judged["found_rank"] - judged["favourite_rank"]
    return (
        f"Kendall's tau rose in {better.sum()} of {len(judged)} searches. The mean accuracy of the truly "
        f"best ten rose more, or fell less, than that of all 36 in {(gain > 0).sum()}; over all searches the "
        f"difference is {gain.mean():+.2f} points on average. "
        f"What a search took is truly better than its supernet's favourite in {(behind < 0).sum()}, "
        f"worse in {(behind > 0).sum()}."
    )


def _machine(hardware: str, versions: str, rows: pd.DataFrame) -> str:
    """Which searches ran where, from what code, and how long each took."""
    seeds = ", ".join(map(str, sorted(rows["seed"].unique())))
    seeds = f"seed{'s' if ',' in seeds else ''} {seeds}"
    commits = ", ".join(commit[:7] for commit in rows["commit"].unique())
    how = f"{len(rows)} of the searches ({seeds}) ran on {hardware}; {versions}; revision {commits}"
    return f"{how}; up to {rows['seconds'].max() / 60:.0f} minutes each, others beside them"


def _by_own(rows: pd.DataFrame, truth: pd.DataFrame, made: benchmarks.Record) -> dict[str, Any]:
    """What is said of searches that are ranked by networks trained alone at their width, on their images."""
    half = made.protocol.train_on == "half"
    accuracies = truth.mean(axis=1)
    published = benchmarks.load("cifar10-pooling")["accuracy"]
    rows = evidence.ranked_by(rows, accuracies)
    found = evidence.methods(rows).drop(columns="best quarter")
    claims = evidence.claims(rows)[["claim", "seeds", "won", "ranks", "median", "answer"]]
    nine = [set(table.nlargest(9).index) for table in (accuracies, published)]
    return {
        "seeds": truth.shape[1],
        "protocol": made.protocol,
        "images": "the searches' training half" if half else "all training images",
        "hours": f"{made.core_seconds / 3600:.1f}",
        "tau": kendalltau(accuracies, published.loc[accuracies.index]).statistic,
        "shared": len(nine[0] & nine[1]),
        "spread": accuracies.agg(["min", "max"]),
        "means": evidence.mean_ranks(found),
        "methods": _markdown(
            found.reset_index(), {"mean rank": "{:.1f}", "median rank": "{:g}", "accuracy": "{:.2f}"}
        ),
        "claims": _markdown(claims, {"median": "{:+g}"}),
    }


def text(
    rows: pd.DataFrame,
    judged: pd.DataFrame | None = None,
    again: pd.DataFrame | None = None,
    own: tuple[pd.DataFrame, benchmarks.Record] | None = None,
) -> str:
    """The section in Markdown.

    Args:
        rows: of ``docs/results/evidence.csv``.
        judged: of ``docs/results/judges.csv`` (:func:`hnas_kit.studies.judges.judge`), None without.
        again: of ``docs/results/evidence_again.csv``: searches of ``rows`` that ran a second time on other
            hardware, and are not counted; None without.
        own: of ``docs/results/cifar10_jpeg-pooling.csv``: accuracies of all 36 architectures trained alone
            as the searches were, see :func:`hnas_kit.benchmarks.making.make`; None without.
    """
    claims = evidence.claims(rows)
    found = evidence.methods(rows).reset_index()
    found["paper's rank"] = [paper.TABLE_1["average rank"].get(name) for name in found["method"]]
    formats = {"mean rank": "{:.1f}", "median rank": "{:g}", "accuracy": "{:.2f}", "best quarter": "{:.0f} %"}
    page = Path(__file__).with_suffix(".md").read_text(encoding="utf-8")
    template = jinja2.Template(page, trim_blocks=True, lstrip_blocks=True)
    readings = rows.loc[rows["label"] == evidence.LEARNED, "readings"].iloc[0]
    reward = rows.groupby("label", sort=False)["reward"].first()
    usual = reward[evidence.LEARNED]
    machines = rows.groupby(["hardware", "versions"], sort=False)
    if again is not None:
        again = [f"{row.label}, seed {row.seed}: {row.rank:.0f}" for row in again.itertuples()]
    shown = None
    if judged is not None:
        judged = rows[["label", "seed", "run"]].merge(judged, on="run")
        shown = judged.drop(columns=["run", "found", "favourite"]).rename(columns={"label": "method"})
        shown = shown.rename(columns=lambda name: name.replace("_", " "))
        two = dict.fromkeys(("tau before", "tau", "tau visited"), "{:.2f}")
        one = dict.fromkeys([name for name in shown if name.startswith(("best", "all"))], "{:.1f}")
        shown = _markdown(shown, two | one)
    return template.render(
        answer=evidence.answer(rows),
        claims=claims,
        table=_markdown(claims, {"median": "{:+g}", "could see": "{:.0f}"}),
        methods=_markdown(found, formats | {"paper's rank": "{:g}"}),
        readings=readings,
        usual=usual,
        rewards=reward[reward != usual],
        asked=None if judged is None else len(judged),
        machines=[_machine(*made, group) for made, group in machines],
        judged=shown,
        again=again,
        repaired=None if judged is None else _repaired(judged),
        own=own and _by_own(rows, *own),
    )


def _tables(path: Path, runs: Sequence[str]) -> dict[str, pd.DataFrame]:
    """What sums up ``searches.csv``; sweeps of ``runs`` first replace those of their data; none is lost."""
    rows, new = read_table(path, ("data", "sweep", "label"), ("seed", *ablations.MEASURED)), {}
    of = ["data", "sweep"]
    search = [*of, "label", "seed"]
    if runs:
        own = finished.collect(runs)
        known = pd.MultiIndex.from_frame(rows[of]).isin(pd.MultiIndex.from_frame(own[of]))
        kept = pd.MultiIndex.from_frame(rows[search]).isin(pd.MultiIndex.from_frame(own[search]))
        if lost := rows[known & ~kept].to_dict("records"):
            raise HnasError(
                f"--runs {' '.join(runs)} lacks {len(lost)} of the rows that it would replace in {path} "
                f"({_named(lost[0])}); finish the sweep, or take these rows out of that file"
            )
        place = list(dict.fromkeys([*rows["data"], *own["data"]])).index
        rows = pd.concat([rows[~known], own]).sort_values("data", key=lambda d: d.map(place), kind="stable")
        rows = rows.reset_index(drop=True).infer_objects()
        new["searches.csv"] = rows
    if twice := rows[rows.duplicated(search)].to_dict("records"):
        raise HnasError(
            f"{_named(twice[0])} is there twice, in {', '.join(runs or [str(path)])}; name it once"
        )
    if not (rows["sweep"] == "table1").any():
        raise HnasError(f"{path} has no search of sweep table1")
    return new | {name: summary(rows) for name, summary in finished.TABLES.items()}


def _named(row: dict) -> str:
    return "{label}, seed {seed} of {sweep} on {data}".format(**row)


def write(folder: Path, runs: Sequence[str] = ()) -> Path:
    """Write the section of ``results.md`` between its two marks, and its figure and tables beside it.

    Args:
        folder: the project's ``docs``.
        runs: of finished sweeps, which replace the same ones of their data sets in ``results/searches.csv``.

    Raises:
        HnasError: if there is no such page, or it lacks the marks; if a table is damaged, has a search twice,
            or the runs lack one that they would replace. Nothing is written then.
    """
    page = folder / "results.md"
    if not page.is_file():
        raise HnasError(f"{page} is not there; name the folder docs of the project")
    before, mark, rest = page.read_text(encoding="utf-8").partition(f"{BEGIN}\n")
    _, end, after = rest.partition(END)
    if not (mark and end):
        raise HnasError(f"{page} lacks the lines {BEGIN} and {END}, between which the section stands")
    tables = _tables(folder / "results" / "searches.csv", runs)
    own = [folder / "results" / f"{name}.csv" for name in _NEEDED]
    rows, judged, again = (
        read_table(path, *needed) if path.exists() or path == own[0] else None
        for path, needed in zip(own, _NEEDED.values(), strict=True)
    )
    if rows.duplicated(["label", "seed"]).any():
        twice = rows[rows.duplicated(["label", "seed"])].iloc[0]
        raise HnasError(f"{own[0]} has {twice['label']}, seed {twice['seed']} twice; name it once")
    path = folder / "results" / "cifar10_jpeg-pooling.csv"
    truth = path.exists() and (benchmarks.own_table(path, make_space("pooling")), benchmarks.record(path))
    section = text(rows, judged, again, truth or None)
    for name, table in tables.items():
        write_atomic(folder / "results" / name, table.to_csv(index=False).encode())
    figures.use_style()
    figure = figures.ranks(rows, 36, paper.TABLE_1["average rank"])
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "hnas"}):
        figure.savefig(folder / "results" / "evidence.svg", metadata={"Date": None})
    write_atomic(page, f"{before}{mark}{section}\n{END}{after}".encode())
    return page

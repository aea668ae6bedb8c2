"""All methods and all choices of the method compared: tables of finished sweeps, or of a short rehearsal.

The rows are those of ``params/sweeps/*.yaml``. :func:`gather` reads what ``hnas sweep`` made of them;
:func:`rehearse` searches every point at a much shorter length, in a few processes, without notebooks.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon

from hnas_kit import benchmarks, distances, evaluation, samplers, search, trees
from hnas_kit.errors import HnasError
from hnas_kit.files import read_table, require_values, torch_value
from hnas_kit.processes import parallel
from hnas_kit.runs import Finished, grids, outputs_root, provided
from hnas_kit.runs.params import NOTEBOOKS, Parameters, Pretrain
from hnas_kit.spaces import ENCODINGS
from hnas_kit.studies import paper
from hnas_kit.studies.evidence import LEARNED, differences
from hnas_kit.supernets import Supernet
from hnas_kit.training import pretrain
from hnas_kit.training.checkpoints import Kept
from hnas_kit.training.problem import Problem

SWEEPS = ("table1", "table2", "table3", "table7", "figure3", "trees")
MEASURED = ("accuracy", "rank", "best_quarter")


def gather(run: str, sweeps: Sequence[str] = SWEEPS, whole: bool = False) -> pd.DataFrame:
    """The finished rows that ``hnas sweep`` wrote into ``outputs/<run>``; column ``sweep`` says which file.

    Args:
        run: folder in ``outputs/``.
        sweeps: the files of ``params/sweeps`` whose rows are wanted; those not there are left out.
        whole: refuse a table with rows that are not done, or lack one of ``MEASURED``.

    Raises:
        HnasError: if there are none (unless ``whole``, none of Table 1 or 4), or none is done; if two are
            of the same methods, or one is damaged.
    """
    folder = outputs_root() / run
    names = {name: name for name in sweeps} | {"table4": "table1"}  # the same methods, on NAS-Bench-Macro
    found = {name: path for name in names if (path := folder / f"{name}.csv").exists()}
    if {"table1", "table4"} <= found.keys():
        raise HnasError(f"{folder} holds table1.csv and table4.csv, of the same methods; remove one of them")
    wanted = sweeps if whole else ("table1", "table4")  # with which 05 compares all others
    if not found.keys() & set(wanted):
        raise HnasError(
            f"{folder} holds no table of a sweep ({', '.join(f'{n}.csv' for n in wanted)}); "
            f"make one with hnas sweep params/sweeps/table1.yaml -p run {run}"
        )
    tables = {names[name]: _swept(path, whole) for name, path in found.items()}
    rows = pd.concat(tables, names=["sweep"]).reset_index("sweep").reset_index(drop=True)
    done = rows[rows["status"] == "done"]
    if done.empty:
        raise HnasError(f"no run of {', '.join(map(str, found.values()))} is done; column error says why")
    return done


def _swept(path: Path, whole: bool) -> pd.DataFrame:
    rows = read_table(path, ("label", "status"), ("seed",))
    left = rows[rows["status"] != "done"]
    if whole and len(left):
        first = "{label}, seed {seed}: {status}".format(**left.iloc[0])
        raise HnasError(f"{path}: {len(left)} of {len(rows)} rows are not done ({first}); finish the sweep")
    if whole:
        require_values(rows, ("run",), MEASURED, path)
    return rows


def history(run: str) -> pd.DataFrame:
    """The history of a gathered row's search (see :meth:`hnas_kit.search.History.frame`)."""
    part = Finished(run, "04_mcts")
    return part.load(f"{part.load('found.csv').index[0]}.csv")


@dataclass(frozen=True)
class Job:
    """One search of a rehearsal: parameters of notebooks 01 to 04, and pre-trained weights if they fit.

    ``scored``: so many validation images for the final choice and for a tree from accuracies, 0 for all.
    """

    params: tuple[Parameters, Parameters, Parameters, Parameters]
    weights: bytes | None
    device: str
    scored: int = 0

    @property
    def key(self) -> str:
        """Equal for equal searches."""
        return "\n".join(p.model_dump_json() for p in self.params)


_BEGUN: Kept = {}  # what the searches of one process begin with alike


@lru_cache(maxsize=2)
def _made(device: str, **follows_from: Any) -> Problem:
    return Problem.of(follows_from, device)


def _problem(p: Pretrain, device: str) -> Problem:
    """The images and their halves, made once in each process, however long they are trained on."""
    return _made(device, **p.model_dump(include={"space", "dataset", "image_size", "width", "seed"}))


@lru_cache(maxsize=8)
def _supernet(p: Pretrain, weights: bytes | None, device: str) -> Supernet:
    """The uniformly trained supernet, from its weights or trained now (as 01_pretrain does)."""
    problem = _problem(p, device)
    if weights is None:
        return pretrain(problem, seed=p.seed, epochs=p.epochs, batch_size=p.batch_size, **p.optimiser)[0]
    net = problem.supernet()
    net.load_state_dict(torch_value(weights))
    return net.to(device)


@lru_cache(maxsize=16)
def _tree(
    kind: str, before: tuple[Parameters, ...], weights: bytes | None, device: str, scored: int, seed: int
) -> tuple[trees.ArchTree | None, float]:
    """A tree that searches walk (as 02 and 03 make it), None without one; and its cophenetic correlation."""
    (p1, p2, p3), problem = before, _problem(before[0], device)
    archs, images = problem.space.enumerate(), partial(problem.dataset.fixed, problem.valid)
    if kind == "learned":
        if p2.measure in ENCODINGS:
            code = problem.space.encode(archs, p2.measure)
            distance = distances.from_encodings(code, p2.decay, p2.measure)
        else:
            net, (x, _) = _supernet(p1, weights, device), images(p2.images)
            distance = distances.from_outputs(evaluation.outputs(net, archs, x[: p2.images]), p2.measure)
        tree = trees.learned(distance, archs, p3.linkage)
        return tree, trees.cophenetic_correlation(tree, distance)
    if kind == "accuracy":
        net, some = _supernet(p1, weights, device), images(scored or p1.scored or None)
        return trees.accuracy(evaluation.accuracy(net, archs, *some), archs), np.nan
    if kind == "random":
        return trees.random(archs, seed), np.nan
    return trees.default(problem.space) if kind else None, np.nan


def run_job(job: Job) -> tuple[dict[str, Any], pd.DataFrame]:
    """One search without notebooks: the row that 04_mcts would give, and its history."""
    *before, p4 = job.params
    p1, problem = before[0], _problem(before[0], job.device)
    seed = p4.seed if p4.tree == "random" else 0  # the others do not draw
    tree, cophenetic = _tree(p4.tree, tuple(before), job.weights, job.device, job.scored, seed)
    method = next(iter(p4.searched.values()))
    walker = method.make(problem.space, {p4.tree: tree}, **p4.sampler_settings)
    own = p4.schedule(len(problem.train), method)
    result = search.trial(problem, walker, own, scored=job.scored, begun=_BEGUN, **p4.trial(method))
    truth = benchmarks.for_dataset(p1.space, p1.dataset)
    row = {"architecture": problem.space.format(result.arch), "validation": 100 * result.scores.iloc[0]}
    row |= {"search_seconds": result.seconds, "cophenetic_correlation": cophenetic}
    return row | benchmarks.judge(truth, row["architecture"], tree, result.history), result.history


def rehearsal(
    upstream: Mapping[str, Finished],
    epochs: int,
    batch_size: int,
    seeds: Sequence[int],
    device: str,
    scored: int = 0,
) -> list[tuple[dict[str, Any], Job]]:
    """Every point of the sweeps, much shorter than it should be: to see that all works, not to compare.

    Args:
        upstream: finished notebooks 01 to 03, whose parameters are taken for all that a point leaves open;
            those of 04_mcts are the defaults.
        epochs: of each search.
        batch_size: images a step.
        seeds: of the searches of each point of Table 1; the other sweeps get the first.
        device: as PyTorch names it.
        scored: see :class:`Job`.

    Returns:
        For each row its ``sweep``, ``label``, ``seed`` and values, and its search. Equal jobs are one search.
        A point that trains a supernet of its own for more than ``epochs`` is left out: it would take longer
        than all others together, and shows no more.
    """
    base = {name: part.params for name, part in upstream.items()}
    short = {"epochs": epochs, "batch_size": batch_size, "compare": []}
    base["04_mcts"] = NOTEBOOKS["04_mcts"].defaults() | short
    weights = upstream["01_pretrain"].read("supernet.pt")
    rows = []
    for sweep in SWEEPS:
        file = grids.read(provided(f"params/sweeps/{sweep}.yaml"), {})
        for label, values in grids.points(file.grid):
            changed = grids.assign(base, values)
            for seed in seeds if sweep == "table1" else seeds[:1]:
                changed["04_mcts"] = changed["04_mcts"] | {"seed": seed}
                where = f"{sweep}, {label}"
                checked = [NOTEBOOKS[name].checked(p, where) for name, p in changed.items()]
                same = changed["01_pretrain"] == base["01_pretrain"]
                if not same and changed["01_pretrain"]["epochs"] > epochs:
                    continue
                job = Job(tuple(checked), weights if same else None, device, scored)
                rows.append(({"sweep": sweep, "label": label, "seed": seed} | values, job))
    return rows


def rehearse(
    plan: Sequence[tuple[dict[str, Any], Job]],
    workers: int,
    progress: Callable[[int], Any] = lambda done: None,
) -> tuple[pd.DataFrame, dict[tuple[str, str, int], pd.DataFrame]]:
    """Run the searches of a rehearsal in processes of one thread each.

    Args:
        plan: see :func:`rehearsal`.
        workers: number of processes; 0 for one a core.
        progress: called with 1 after each search.

    Returns:
        Rows as :func:`gather` gives them, and the history of each by sweep, label and seed.
    """
    done: dict[str, tuple[dict, pd.DataFrame]] = {}
    for key, result in parallel.run_all(run_job, {job.key: (job,) for _, job in plan}, workers):
        done[key] = result
        progress(1)
    rows = pd.DataFrame([row | done[job.key][0] for row, job in plan])
    return rows, {(row["sweep"], row["label"], row["seed"]): done[job.key][1] for row, job in plan}


def sampling_methods() -> pd.DataFrame:
    """The methods of the register, with what their classes say of themselves (Table 6).

    Returns:
        Columns ``Method``, by the paper's label where it has one; ``Search Space Structure``; and ``Sampling
        Method``, the first line of the sampler's documentation.
    """
    rows = []
    for name, method in samplers.METHODS.items():
        sampler = samplers.SAMPLERS[method.sampler]
        label = paper.LABELS.get(name, f"{name} tree" if method.tree else name)
        parts = " (partitioned)" if "models" in inspect.signature(sampler).parameters else ""
        structure = f"Hierarchical ({method.tree} tree)" if method.tree else f"Flat{parts}"
        rows.append((label, structure, inspect.getdoc(sampler).splitlines()[0].rstrip(".")))
    return pd.DataFrame(rows, columns=["Method", "Search Space Structure", "Sampling Method"])


def _spread(values: pd.Series, digits: int) -> str:
    """Mean ± standard deviation, without the latter for a single value."""
    spread = f" ± {values.std():.{digits}f}" if len(values) > 1 else ""
    return f"{values.mean():.{digits}f}{spread}"


def table(rows: pd.DataFrame, published: pd.DataFrame | None, truth: pd.DataFrame) -> pd.DataFrame:
    """Measured beside published, one row a label.

    Args:
        rows: of one sweep; with ``architecture``, ``accuracy`` (%, true), ``rank``, ``search_seconds``.
        published: of :mod:`hnas_kit.studies.paper`, indexed by label; None if the paper has none.
        truth: that ``rows`` are judged by; gives ours of published rows that are no search
            (:func:`hnas_kit.studies.paper.references`).

    Returns:
        Columns ``ours: ...`` and ``paper: ...``, in the order of ``rows``, between the default architecture
        and the best one; empty where nothing is reported.
    """
    ours = {}
    for label, group in rows.groupby("label", sort=False):
        best = group.sort_values("accuracy", ascending=False).iloc[0]
        ours[label] = {
            "ours: seeds": str(len(group)),
            "ours: architecture": best["architecture"],
            "ours: best accuracy": f"{best['accuracy']:.2f}",
            "ours: average accuracy": _spread(group["accuracy"], 2),
            "ours: best rank": f"{group['rank'].min():.0f}",
            "ours: average rank": _spread(group["rank"], 1),
            "ours: search time (s)": f"{group['search_seconds'].mean():.0f}",
        }
    frame = pd.DataFrame.from_dict(ours, orient="index")
    if published is None:
        return frame
    known = paper.references(published, truth)
    judged = pd.DataFrame(index=known.index, columns=frame.columns)
    judged["ours: architecture"] = known["architecture"]
    judged["ours: best accuracy"] = known["accuracy"].map("{:.2f}".format)
    judged["ours: best rank"] = known["rank"].map("{:.0f}".format)
    is_best = judged.index == paper.BEST
    frame = pd.concat([judged[~is_best], frame, judged[is_best]])
    return frame.join(published.add_prefix("paper: ").astype(object)).fillna("")


def paired(rows: pd.DataFrame, label: str = LEARNED) -> pd.DataFrame:
    """One label against each other, seed by seed: difference of true accuracy (points), Wilcoxon's p.

    Returns:
        Indexed by the other label: ``seeds``, ``mean difference`` (positive: ``label`` is better), ``wins``,
        ``losses`` and the two-sided ``p`` of the signed-rank test (1 if no seed differs, nan without a pair).
    """
    compared = {}
    for other in [name for name in rows["label"].unique() if name != label]:
        difference = differences(rows, label, other, "accuracy").round(6)
        compared[other] = {
            "seeds": len(difference),
            "mean difference": difference.mean(),
            "wins": int((difference > 0).sum()),
            "losses": int((difference < 0).sum()),
            "p": 1.0 if len(difference) else np.nan,
        }
        if np.any(difference != 0):
            compared[other]["p"] = wilcoxon(difference).pvalue
    columns = ["seeds", "mean difference", "wins", "losses", "p"]
    return pd.DataFrame.from_dict(compared, "index", columns=columns).rename_axis(f"{label} against")

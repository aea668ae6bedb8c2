"""Sweeps: the runs of a grid on dask.distributed, many at a time, and the table of their results.

A task is one run of one notebook, in a worker process that runs one at a time. What is up to date is not
run again, so a sweep that was stopped or killed goes on when it is started again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError
from datetime import timedelta
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import pandas as pd

from hnas_kit import places, plugins
from hnas_kit.errors import Failure, HnasError, Interrupted, said
from hnas_kit.files import read_csv, write_atomic
from hnas_kit.processes.parallel import cores
from hnas_kit.runs import brought, consistency, folders, grids, locks
from hnas_kit.runs.grids import Key, Plan, Task, shown
from hnas_kit.runs.notebook import execute
from hnas_kit.runs.params import differing
from hnas_kit.runs.profiles import shared

Place = tuple[Path, Path, dict[str, str]]  # where a task is run as if it were: folder, project, environment
SHOW_EVERY = 10  # seconds between progress lines that are not written over one another


def run(path: Path, changes: Mapping[str, Any], scheduler: str | None, workers: int | None) -> None:
    """Run a sweep file, write ``outputs/<run>/<name of the file>.csv`` and print a summary of it.

    Args:
        path, changes: see :func:`hnas_kit.runs.grids.load`.
        scheduler: address of a dask scheduler to use; None starts worker processes on this machine.
        workers: number of these; None for one a core.

    Raises:
        HnasError: one line, for a mistake in the file (nothing is written then), after Ctrl-C, or in the
            end if a run failed.
    """
    if workers is not None and (scheduler or workers < 1):
        limit = "with --scheduler the workers are those it has" if scheduler else "it must be at least 1"
        raise HnasError(f"--workers is {workers}; {limit}")
    plan = grids.load(path, changes)
    for row in plan.rows:
        brought.check(row.params)
        if "02_distances" in row.params and "04_mcts" in row.params:
            consistency.check_relearned(row.params["04_mcts"], row.params["02_distances"].measure)
    for task in plan.tasks.values():
        if not scheduler:  # else the workers' devices count
            folders.device_of(task.params)
            consistency.check_one(task.params, task.lineage.get("01_pretrain", task.params.model_dump()))
        keep_others(task)
    for line in shared(dict.fromkeys(notebook for notebook, _ in plan.tasks), changes):
        print(line)
    outputs = places.outputs_root().resolve()
    environment = {name: value for name, value in os.environ.items() if name.startswith("HNAS_")}
    environment |= {"HNAS_OUTPUTS": str(outputs), "OMP_NUM_THREADS": "1"}
    place = Path.cwd(), places.project_root().resolve(), environment
    target = outputs / plan.run / f"{path.stem}.csv"
    ends = Ends(plan, _rows_before(target, plan, bool(scheduler)))
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        with _client(scheduler, workers) as client:
            try:
                _gather(client, place, ends, target)
            except KeyboardInterrupt:
                # a second one would cut the end of the workers short
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                raise
            finally:
                table = ends.save(target)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, on_interrupt)
        raise Interrupted(f"stopped ({ends}); the same command goes on from here") from None
    except OSError as error:
        raise Failure(f"{error} ({ends}); the same command goes on from here") from None
    print(summary(table).to_string(float_format="{:.2f}".format))
    print(target)
    if other := sum(not end["same_code"] for end in ends.done.values()):
        print(f"{other} results were made by other code; remove their folders to make them anew")
    if ends.errors:
        raise Failure(f"{ends}; {target} says why")


def keep_others(task: Task) -> None:
    """Raise :class:`HnasError` if a task's folder has a result of other parameters: it would be replaced."""
    notebook, run = task.key
    try:
        lineage = folders.Finished(run, notebook).manifest["lineage"]
    except HnasError:
        return
    for book, params in task.lineage.items():
        for name, (old, value) in differing(lineage.get(book, {}), params).items():
            folder = places.outputs_root() / run / notebook
            raise HnasError(
                f"{folder} was made with {book}.{name} {shown(old)}, now it is {shown(value)}; "
                f"put it in the grid or name another run to keep both, or remove the folder"
            )


class Failed(Exception):
    """A task that failed, with one line that says why; dask raises it for the tasks that need it, too."""

    def __init__(self, key: Key, line: str) -> None:
        super().__init__(key, line)
        self.key, self.line = key, line


def run_task(task: Task, place: Place, *needs: Any) -> dict[str, Any]:
    """Run a notebook in a worker process, unless its result is up to date.

    Args:
        task: what to run.
        place: see :func:`_placed`.
        needs: results of the tasks that this one needs, for dask to wait for.

    Returns:
        Its ``origin`` (commit, hardware, versions, ``readings`` of the paper); scalar ``values`` of the
        manifest's figures and of the first row of ``found.csv``; ``seconds`` of the notebook, and what it
        ``took`` with its kernel; whether it is of the ``same_code`` as there is now.

    Raises:
        Failed: whatever went wrong.
    """
    from distributed import get_worker

    notebook, run = task.key
    try:
        if get_worker().state.nthreads > 1:
            raise HnasError("a worker runs one notebook at a time: start dask worker with --nthreads 1")
        with _placed(*place), locks.alone(places.outputs_root() / run / notebook, wait=True):
            plugins.load(task.params.plugins)
            keep_others(task)
            start, old = time.perf_counter(), folders.up_to_date(task.params)
            if not old:
                execute(*task.key, task.params.model_dump())
            took = time.perf_counter() - start
            part = folders.Finished(run, notebook)
            found = part.load("found.csv").iloc[0].to_dict() if "found.csv" in part.outputs else {}
    except Exception as error:
        raise Failed(task.key, said(error)) from None
    manifest, made = part.manifest, part.manifest["provenance"]
    where = manifest["gpu"] or manifest["device"]
    return {
        "origin": {
            "commit": made["git_revision"],
            "hardware": f"{made['processor']}, {made['cores']} cores, {where}",
            "versions": f"Python {made['versions']['python']}, PyTorch {made['versions']['torch']}",
            "readings": manifest["readings"],
        },
        "values": {k: v for k, v in (manifest["figures"] | found).items() if not isinstance(v, list | dict)},
        "seconds": manifest["seconds"],
        "took": manifest["seconds"] if old else took,
        "same_code": folders.same_code(manifest),
    }


@contextlib.contextmanager
def _placed(folder: Path, root: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Work as the process that the sweep was started in: its folder, its project, its ``HNAS_*``."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("HNAS_")]:
        del os.environ[name]
    os.environ.update(environment)
    # dask's setting for its workers: memory goes back to the system with every tensor, and a search on the
    # CPU takes twice as long
    os.environ.pop("MALLOC_TRIM_THRESHOLD_", None)
    try:
        with contextlib.chdir(folder):
            if (found := places.project_root().resolve()) != root:
                raise HnasError(f"the worker finds the project in {found}, the sweep is of that in {root}")
            yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _client(scheduler: str | None, workers: int | None) -> Iterator[Any]:
    """A client of the scheduler that is there, or of one with worker processes of its own."""
    from distributed import Client, LocalCluster

    for name in [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if scheduler:
        try:
            client = Client(scheduler, timeout=10)
        except (OSError, ValueError) as error:
            why = " ".join(str(error).split())
            raise HnasError(f"no dask scheduler answers at {scheduler} ({why})") from None
        with client:
            yield client
        return
    with contextlib.ExitStack() as stack:
        # A terminal sends Ctrl-C to all processes, but it is this one that ends the workers: they inherit
        # that it is blocked. The tracker of multiprocessing would undo that if it were started later.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            cluster = stack.enter_context(
                LocalCluster(
                    n_workers=workers or cores(),
                    threads_per_worker=1,
                    dashboard_address="127.0.0.1:0",  # any free port: several sweeps may run at once
                    memory_limit=None,
                    silence_logs=logging.CRITICAL,
                )
            )
            client = stack.enter_context(Client(cluster))
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        yield client


def _rows_before(target: Path, plan: Plan, elsewhere: bool) -> dict[tuple[str, int, str], dict[str, Any]]:
    """The rows of an earlier sweep into this table whose results are there, by label, seed and run.

    They must be up to date, too, unless they are made ``elsewhere``: on another kind of device, perhaps.
    """
    try:
        rows = read_csv(target, na_values=[])
        done = rows[rows["status"] == "done"]
        kept = {(row["label"], row["seed"], row["run"]): dict(row) for _, row in done.iterrows()}
    except (OSError, ValueError, KeyError):
        return {}
    tasks = {(row.label, row.seed, row.key[1]): plan.tasks[row.key] for row in plan.rows}
    return {at: row for at, row in kept.items() if at in tasks and _is_there(tasks[at], elsewhere)}


def _is_there(task: Task, elsewhere: bool) -> bool:
    if not elsewhere:
        return folders.up_to_date(task.params) is not None
    try:
        return bool(folders.Finished(task.key[1], task.key[0]))
    except HnasError:
        return False


def _gather(client: Any, place: Place, ends: Ends, target: Path) -> None:
    """Submit all tasks, and take in each as it ends; the table is written whenever a row has."""
    from distributed import as_completed

    sweep, futures = uuid.uuid4().hex, {}
    for key, task in ends.plan.tasks.items():
        needs = [futures[need] for need in task.needs]
        name = f"{key[0]}-{len(futures)}-{sweep}"
        futures[key] = client.submit(run_task, task, place, *needs, key=name, pure=False)
    keys = {future.key: key for key, future in futures.items()}
    for future in as_completed(list(futures.values())):
        ends.add(future, keys)
        ends.save(target)
        ends.show(len(client.scheduler_info(n_workers=-1).get("workers", ())))


class Ends:
    """What became of the tasks of a plan so far."""

    def __init__(
        self, plan: Plan, before: Mapping[tuple[str, int, str], dict[str, Any]] | None = None
    ) -> None:
        self.plan, self.before = plan, before or {}
        self.done: dict[Key, dict[str, Any]] = {}
        self.errors: dict[Key, tuple[str, str]] = {}  # failed or not run, and why
        self._clear = "\r\x1b[K" if sys.stdout.isatty() else ""
        self._last = -float(SHOW_EVERY)

    def __str__(self) -> str:
        counts = Counter(status for status, _ in self.errors.values())
        more = "".join(f", {counts[status]} {status}" for status in ("failed", "not run") if counts[status])
        return f"{len(self.done)} of {len(self.plan.tasks)} runs done{more}"

    def add(self, future: Any, keys: Mapping[str, Key]) -> None:
        """Take in a task that is over, and print a line if it failed."""
        from distributed import KilledWorker

        key = keys[future.key]
        try:
            self.done[key] = future.result()
            return
        except Failed as error:
            culprit, line = error.key, error.line
        except KilledWorker as error:
            culprit, line = keys[error.task], f"{error.allowed_failures + 1} workers died while they ran it"
        except CancelledError as error:  # nobody else cancels
            raise ConnectionError("the dask scheduler has gone") from error
        except Exception as error:  # the worker could not even begin
            culprit, line = key, said(error)
        if culprit != key:
            self.errors[key] = "not run", f"{'/'.join(culprit[::-1])} failed: {line}"
            return
        self.errors[key] = "failed", line
        print(f"{self._clear}failed: {'/'.join(key[::-1])}: {line}", flush=True)

    def show(self, workers: int) -> None:
        """The progress line, with the time left if each notebook takes what it took on average."""
        open_ = [key for key in self.plan.tasks if key not in self.done | self.errors]
        if open_ and not self._clear and time.monotonic() - self._last < SHOW_EVERY:
            return
        self._last = time.monotonic()
        took = pd.Series({key: end["took"] for key, end in self.done.items()}, dtype=float)
        left = ""
        if open_ and len(took):
            of_each = took.groupby(level=0).mean()
            seconds = sum(of_each.get(notebook, took.mean()) for notebook, _ in open_) / max(workers, 1)
            left = f", about {timedelta(seconds=round(seconds))} left"
        print(f"{self._clear}{self}{left}", end="" if open_ and self._clear else "\n", flush=True)

    def table(self) -> pd.DataFrame:
        """One row a point and seed, whatever became of it."""
        rows = []
        for row in self.plan.rows:
            end, kept = self.done.get(row.key, {}), self.before.get((row.label, row.seed, row.key[1]))
            if kept and row.key not in self.done | self.errors:
                rows.append(kept)
                continue
            status, error = self.errors.get(row.key, ("done", "") if end else ("not run", "stopped"))
            own = {"label": row.label, "seed": row.seed} | row.values
            own |= {"run": row.key[1], "status": status, "error": error, "seconds": end.get("seconds")}
            own |= end.get("origin", {})
            rows.append(own | {k: v for k, v in end.get("values", {}).items() if k not in own})
        return pd.DataFrame(rows)

    def save(self, target: Path) -> pd.DataFrame:
        """Write the table as it is now, and give it."""
        table = self.table()
        write_atomic(target, table.to_csv(index=False).encode())
        return table


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """By label: number of results, and mean and standard deviation of rank and accuracy if they are there."""
    groups = table.groupby("label", sort=False)
    columns = {"n": groups["status"].agg(lambda status: (status == "done").sum())}
    for name in [name for name in ("rank", "accuracy") if name in table]:
        columns |= {f"mean {name}": groups[name].mean(), f"sd {name}": groups[name].std()}
    return pd.DataFrame(columns)

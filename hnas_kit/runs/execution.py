"""Executing the notebooks of a profile that are not up to date, side by side; or saying what would run."""

import contextlib
import multiprocessing
import time
from collections.abc import Iterable, Iterator, Mapping
from multiprocessing.connection import Connection, wait

from hnas_kit import benchmarks
from hnas_kit.errors import Failure, HnasError
from hnas_kit.files import json_value
from hnas_kit.places import READS, outputs_root
from hnas_kit.processes.parallel import cores
from hnas_kit.runs import folders
from hnas_kit.runs.meanings import value
from hnas_kit.runs.notebook import execute, hand_over
from hnas_kit.runs.params import NOTEBOOKS, Parameters
from hnas_kit.runs.profiles import checked


def left_out(params: Mapping[str, Parameters], notebook: str) -> str:
    """Why a notebook cannot run with the others, in words; empty if it can."""
    p = params[notebook]
    if notebook != "05_ablations" or p.runs:
        return ""
    if "01_pretrain" in params and p.upstream == p.run:
        made = params["01_pretrain"].model_dump()
    else:
        made = folders.Finished(p.upstream, "03_tree").manifest["lineage"]["01_pretrain"]
    try:
        benchmarks.needed(made["space"], made["dataset"])
    except HnasError as error:
        return f"left out: {error}"
    return ""


def _cores(p: Parameters) -> int:
    """How many of this machine's cores a notebook is given; all of them if it trains on a GPU."""
    whole = cores()
    if getattr(p, "device", "cpu") != "cpu" and folders.device_of(p).type != "cpu":
        return whole
    wanted = [getattr(p, name, 1) for name in ("threads", "processes")]
    return min(whole, max(whole if count == 0 else count for count in wanted))


def _begin(notebook: str, run: str, values: dict) -> Connection:
    """Execute a notebook in a process of its own (papermill's kernels may hang in threads); its result."""
    context = multiprocessing.get_context("spawn")
    result, sender = context.Pipe(duplex=False)
    # a daemon: it ends with this process, and its kernel with it
    context.Process(target=hand_over, args=(sender, notebook, run, values), daemon=True).start()
    sender.close()
    return result


def _ended(running: Mapping[str, Connection]) -> tuple[str, HnasError | None]:
    """Wait for the first notebook to end; its name and its error."""
    ready = wait(running.values())[0]
    notebook = next(name for name, result in running.items() if result is ready)
    try:
        return notebook, ready.recv()
    except EOFError:
        return notebook, Failure(f"{notebook}: its process died; started again it goes on")


def _ready(todo: list[str], running: Iterable[str], params: Mapping[str, Parameters]) -> list[str]:
    """Notebooks that wait for no other, as many as there are cores for beside those that run."""
    free, found = cores() - sum(_cores(params[name]) for name in running), []
    for place, notebook in enumerate(todo):
        if {*running, *todo[:place]}.isdisjoint(READS[notebook]) and _cores(params[notebook]) <= free:
            found.append(notebook)
            free -= _cores(params[notebook])
    return found


def _need_not_run(notebook: str, params: dict[str, Parameters], force: bool) -> bool:
    """Whether a notebook is left out or up to date; says so."""
    says = left_out(params, notebook)
    if not says and not force and (manifest := folders.up_to_date(params[notebook])):
        note = "" if folders.same_code(manifest) else "; made by other code, --force makes it anew"
        says = f"{manifest['headline']} (up to date{note})"
    if says:
        print(f"{notebook:22}{says}", flush=True)
    return bool(says)


def run_profile(profile: dict[str, dict], first: str, force: bool) -> str:
    """Run the notebooks of a profile from ``first`` on, leaving out what is up to date; the run's name.

    Those that need not wait for each other run side by side, as far as there are cores. After one has failed
    none is begun, and its error is raised when those that run have ended.
    """
    params, run = checked(profile)
    todo = [name for name in NOTEBOOKS if name in profile and name >= first]
    running: dict[str, Connection] = {}
    started, failed = {}, None
    while running or (todo and not failed):
        ready = [] if failed else _ready(todo, running, params)
        todo = [name for name in todo if name not in ready]
        new = [name for name in ready if not _need_not_run(name, params, force)]
        for notebook in new:
            print(f"{notebook:22}begins", flush=True)
            started[notebook] = time.perf_counter()
        if len(new) == 1 and not running and not _ready(todo, new, params):
            notebook, error = new[0], None
            try:
                execute(notebook, run, params[notebook].model_dump())
            except HnasError as fault:
                error = fault
        else:
            running |= {name: _begin(name, run, params[name].model_dump()) for name in new}
            if len(new) < len(ready) or not running:
                continue  # what waited for those that need not run may be ready now
            notebook, error = _ended(running)
            del running[notebook]
        failed = failed or error
        says = "failed" if error else folders.Finished(run, notebook).manifest["headline"]
        print(f"{notebook:14}{time.perf_counter() - started[notebook]:5.0f} s {says}", flush=True)
    if failed:
        raise failed
    return run


def plan(profile: dict[str, dict], first: str, force: bool) -> Iterator[str]:
    """What :func:`run_profile` would do, in lines; nothing is written."""
    params, run = checked(profile)
    yield f"run {run}"
    again: list[str] = []  # of the notebooks so far, those that would run
    for notebook in [name for name in NOTEBOOKS if name in profile and name >= first]:
        p, says = params[notebook], left_out(params, notebook)
        if not says and (reason := "--force" if force else _why(p, again)):
            again.append(notebook)
            says = f"runs, {took(p)}: {reason}"
        yield f"{notebook:14}{says or 'up to date'}"
        defaults = NOTEBOOKS[notebook].defaults()
        own = {name: v for name, v in p.model_dump().items() if v != defaults[name] and name != "run"}
        if own:
            yield f"{'':14}{', '.join(f'{name} {value(v)}' for name, v in own.items())}"


def _why(params: Parameters, again: list[str]) -> str:
    reason = folders.outdated(params)
    read = [] if getattr(params, "runs", "") else [n for n in READS[params.notebook] if n in again]
    if read and reason in ("", folders.ABSENT):
        return f"it reads {', '.join(read)}"
    return reason


def took(params: Parameters) -> str:
    """About how long a notebook takes: as it took with these parameters before, or else in this run."""
    apart = {"run", "source", "seed", "checkpoint_every"}  # the time does not depend on these
    known, mine = [(0, "", -1.0)], params.model_dump(mode="json", exclude=apart)
    for path in outputs_root().glob(f"**/{params.notebook}/manifest.json"):
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, OSError):  # damaged ones
            manifest = json_value(path)
            same = {name: v for name, v in manifest["params"].items() if name not in apart} == mine
            if same or manifest["params"]["run"] == params.run:
                known.append((int(same), str(manifest["started"]), float(manifest["seconds"])))
    seconds = max(known)[2]
    return "time unknown" if seconds < 0 else f"about {seconds:.0f} s"

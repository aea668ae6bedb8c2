"""Executing notebooks with papermill: one, or those of a profile that are not up to date."""

from __future__ import annotations

import logging
import queue
import threading
import time

from hnas_kit import benchmarks
from hnas_kit.errors import HnasError
from hnas_kit.processes.parallel import cores
from hnas_kit.runs import folders, places
from hnas_kit.runs.params import NOTEBOOKS, Parameters
from hnas_kit.runs.places import READS
from hnas_kit.runs.profiles import checked

# A kernel that is ended may log an interrupt, that a socket has gone, or what it was still waiting for.
KERNEL_IS_QUIET = [
    "--IPKernelApp.log_level=CRITICAL",
    *(
        f"""--IPKernelApp.exec_lines=__import__("logging").getLogger("{name}").setLevel("CRITICAL")"""
        for name in ("tornado", "asyncio")
    ),
]


def execute(notebook: str, run: str, values: dict) -> None:
    """Run one notebook; the executed copy is kept, with the error in it if it fails."""
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    source = places.project_root() / "notebooks" / f"{notebook}.ipynb"
    target = places.outputs_root() / run / f"{notebook}.ipynb"
    # it warns of each parameter that is not in the notebook's own cell; all of them are checked
    logging.getLogger("papermill").setLevel(logging.ERROR)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        papermill.execute_notebook(
            source,
            target,
            values,
            kernel_name="python3",
            progress_bar=False,
            # on a busy machine a kernel may be slow to start and to hand over outputs, which would be lost
            start_timeout=300,
            iopub_timeout=300,
            extra_arguments=KERNEL_IS_QUIET,
        )
    except PapermillExecutionError as error:
        what = error.evalue if error.ename == HnasError.__name__ else f"{error.ename}: {error.evalue}"
        line = " ".join(what.split())
        raise HnasError(f"{notebook}, cell {error.exec_count}: {line} (see {target})") from None
    except DeadKernelError:
        raise HnasError(
            f"{notebook}: its process died, perhaps for want of memory; "
            "started again it goes on from its last checkpoint"
        ) from None
    except OSError as error:
        raise HnasError(
            f"cannot write {target}: {error.strerror}; free space or choose another folder"
        ) from error


def left_out(params: dict[str, Parameters], notebook: str) -> str:
    """Why a notebook cannot run with the others, in words; empty if it can."""
    if notebook != "05_ablations" or params[notebook].runs:
        return ""
    try:
        benchmarks.needed(params["01_pretrain"].space, params["01_pretrain"].dataset)
    except HnasError as error:
        return f"left out: {error}"
    return ""


def _cores(p: Parameters) -> int:
    """How many of this machine's cores a notebook is given; all of them if it trains on a GPU."""
    whole = cores()
    if getattr(p, "device", "cpu") != "cpu" and folders.device_of(p).type != "cpu":
        return whole
    wanted = [getattr(p, name, 1) for name in ("threads", "processes")]
    if p.notebook == "05_ablations":
        wanted.append(p.workers)
    return min(whole, max(whole if count == 0 else count for count in wanted))


def _begin(notebook: str, run: str, p: Parameters, ended: queue.SimpleQueue) -> None:
    """Execute a notebook in a thread of its own, which hands over what came of it."""

    def work() -> None:
        start, error = time.perf_counter(), None
        try:
            execute(notebook, run, p.model_dump())
        except BaseException as fault:
            error = fault
        ended.put((notebook, time.perf_counter() - start, error))

    # a daemon: who interrupts the command does not wait for it; its kernel ends with this process
    threading.Thread(target=work, name=notebook, daemon=True).start()


def run_profile(profile: dict[str, dict], first: str, force: bool) -> str:
    """Run the notebooks of a profile from ``first`` on, leaving out what is up to date; the run's name.

    Those that need not wait for each other run side by side, as far as there are cores. After one has failed
    none is begun, and its error is raised when those that run have ended.
    """
    params, run = checked(profile)
    todo = [name for name in NOTEBOOKS if name in profile and name >= first]
    running: dict[str, int] = {}  # with the cores that each has
    ended: queue.SimpleQueue = queue.SimpleQueue()
    failed: BaseException | None = None
    while running or (todo and not failed):
        for notebook in [] if failed else todo.copy():
            p, free = params[notebook], cores() - sum(running.values())
            waits = [*running, *todo[: todo.index(notebook)]]
            if _cores(p) > free or not {*READS[notebook]}.isdisjoint(waits):
                continue
            todo.remove(notebook)
            if says := left_out(params, notebook) or _up_to_date(p, force):
                print(f"{notebook:22}{says}", flush=True)
                continue
            print(f"{notebook:22}begins", flush=True)
            running[notebook] = _cores(p)
            _begin(notebook, run, p, ended)
        if running:
            notebook, seconds, error = ended.get()
            del running[notebook]
            failed = failed or error
            says = "failed" if error else folders.Finished(run, notebook).manifest["headline"]
            print(f"{notebook:14}{seconds:5.0f} s {says}", flush=True)
    if failed:
        raise failed
    return run


def _up_to_date(p: Parameters, force: bool) -> str:
    """What a notebook that need not run again has found; empty if it must run."""
    manifest = None if force else folders.up_to_date(p)
    if not manifest:
        return ""
    note = "" if folders.same_code(manifest) else "; made by other code, --force makes it anew"
    return f"{manifest['headline']} (up to date{note})"

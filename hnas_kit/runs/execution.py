"""Executing notebooks with papermill: one, or those of a profile that are not up to date."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager

from hnas_kit import benchmarks
from hnas_kit.errors import Failure, HnasError
from hnas_kit.runs import folders, locks, places
from hnas_kit.runs.params import ASKED, NOTEBOOKS, Parameters
from hnas_kit.runs.profiles import checked

# A kernel that is ended may log an interrupt, that a socket has gone, or what it was still waiting for.
KERNEL_IS_QUIET = [
    "--IPKernelApp.log_level=CRITICAL",
    *(
        f"""--IPKernelApp.exec_lines=__import__("logging").getLogger("{name}").setLevel("CRITICAL")"""
        for name in ("tornado", "asyncio")
    ),
]


class OwnKernel(AsyncKernelManager):
    """A kernel of the interpreter that this process runs in, whatever else is called python3 here."""

    @property
    def kernel_spec(self) -> KernelSpec:
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="Python 3", language="python")


def execute(notebook: str, run: str, values: dict) -> None:
    """Run one notebook; the executed copy is kept as ``<notebook>.ipynb``.

    While it runs, and if it fails, the copy is ``<notebook>.attempt.ipynb``: an earlier one stays.
    """
    target = places.outputs_root() / run / f"{notebook}.ipynb"
    attempt = target.with_name(f"{notebook}.attempt.ipynb")
    places.cells(notebook)
    with locks.alone(target.with_suffix("")), _asked(notebook, values):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _papermill(notebook, attempt, values)
            with open(attempt, "rb") as file:
                os.fsync(file.fileno())
            os.replace(attempt, target)
        except OSError as error:
            raise Failure(
                f"cannot write {target}: {error.strerror}; free space or choose another folder"
            ) from error


@contextlib.contextmanager
def _asked(notebook: str, values: dict) -> Iterator[None]:
    """Let the kernel know what was asked for: see :func:`hnas_kit.runs.params.read`."""
    os.environ[ASKED] = json.dumps({notebook: values})
    try:
        yield
    finally:
        del os.environ[ASKED]


def _papermill(notebook: str, attempt: Path, values: dict) -> None:
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    # it warns of each parameter that is not in the notebook's own cell; all of them are checked
    logging.getLogger("papermill").setLevel(logging.ERROR)
    try:
        papermill.execute_notebook(
            places.project_root() / "notebooks" / f"{notebook}.ipynb",
            attempt,
            values,
            kernel_name="python3",
            kernel_manager_class=f"{__name__}.{OwnKernel.__name__}",
            progress_bar=False,
            # on a busy machine a kernel may be slow to start and to hand over outputs, which would be lost
            start_timeout=300,
            iopub_timeout=300,
            extra_arguments=KERNEL_IS_QUIET,
        )
    except PapermillExecutionError as error:
        known = error.ename in (HnasError.__name__, Failure.__name__)
        line = " ".join((error.evalue if known else f"{error.ename}: {error.evalue}").split())
        raise Failure(f"{notebook}, cell {error.exec_count}: {line} (see {attempt})") from None
    except DeadKernelError:
        raise Failure(
            f"{notebook}: its process died, perhaps for want of memory; "
            "started again it goes on from its last checkpoint"
        ) from None


def left_out(params: dict[str, Parameters], notebook: str) -> str:
    """Why a notebook cannot run with the others, in words; empty if it can."""
    if notebook != "05_ablations" or params[notebook].runs:
        return ""
    try:
        benchmarks.needed(params["01_pretrain"].space, params["01_pretrain"].dataset)
    except HnasError as error:
        return f"left out: {error}"
    return ""


def run_profile(profile: dict[str, dict], first: str, force: bool) -> str:
    """Run the notebooks of a profile from ``first`` on, leaving out what is up to date; the run's name."""
    params, run = checked(profile)
    for notebook in [name for name in NOTEBOOKS if name in profile and name >= first]:
        print(f"{notebook:14}", end="", flush=True)
        if reason := left_out(params, notebook):
            print(f"{'':8}{reason}", flush=True)
            continue
        manifest = None if force else folders.up_to_date(params[notebook])
        if manifest:
            note = "" if folders.same_code(manifest) else "; made by other code, --force makes it anew"
            print(f"{'':8}{manifest['headline']} (up to date{note})", flush=True)
            continue
        start = time.perf_counter()
        try:
            execute(notebook, run, params[notebook].model_dump())
        except HnasError:
            print("failed", flush=True)
            raise
        print(
            f"{time.perf_counter() - start:5.0f} s  {folders.Finished(run, notebook).manifest['headline']}",
            flush=True,
        )
    return run

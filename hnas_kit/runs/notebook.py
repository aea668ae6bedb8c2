"""Executing one notebook with papermill. Imports no torch: a process of its own does no more than this."""

import logging
from multiprocessing.connection import Connection

from hnas_kit.errors import HnasError
from hnas_kit.runs import places

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

    source = places.notebook_path(notebook)
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


def hand_over(result: Connection, notebook: str, run: str, values: dict) -> None:
    """Execute a notebook in this process, and send its error, or None, to the one that began it."""
    error = None
    try:
        execute(notebook, run, values)
    except HnasError as fault:
        error = fault
    result.send(error)

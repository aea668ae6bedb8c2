"""Executing one notebook with papermill. Imports no torch: a process of its own does no more than this."""

import json
import logging
import os
import sys
import tempfile
from multiprocessing.connection import Connection

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from traitlets.config import Config

from hnas_kit import places
from hnas_kit.errors import Failure, HnasError, said
from hnas_kit.runs import locks
from hnas_kit.runs.params import ASKED

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

    shutdown_wait_time = 60.0  # seconds: one that is killed before it has ended leaves things behind

    @property
    def kernel_spec(self) -> KernelSpec:
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="Python 3", language="python")


def _sockets(folder: str) -> Config:
    """Have a kernel spoken to through files in that folder, where the system has sockets of that kind.

    A port is chosen before the kernel takes it, and in between another process may.
    """
    if os.name != "posix" or len(folder) > 90:  # the path of a socket has at most 104 bytes
        return Config()
    return Config({OwnKernel.__name__: {"transport": "ipc", "ip": f"{folder}/kernel"}})


def execute(notebook: str, run: str, values: dict) -> None:
    """Run one notebook; the executed copy is kept as ``<notebook>.ipynb``.

    While it runs, and if it fails, the copy is ``<notebook>.attempt.ipynb``: an earlier one stays.

    Raises:
        Failure: for whatever goes wrong; the line names the cell.
    """
    places.cells(notebook)
    # jsonschema takes a grammar of this package where it is installed, which is built for longer than all the
    # rest is imported; no notebook has what it is for
    sys.modules["rfc3987_syntax"] = None
    import papermill

    del sys.modules["rfc3987_syntax"]
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    target = places.outputs_root() / run / f"{notebook}.ipynb"
    attempt = target.with_name(f"{notebook}.attempt.ipynb")
    # it warns of each parameter that is not in the notebook's own cell; all of them are checked
    logging.getLogger("papermill").setLevel(logging.ERROR)
    with locks.alone(target.with_suffix("")), tempfile.TemporaryDirectory(prefix="hnas-") as folder:
        os.environ[ASKED] = json.dumps({notebook: values})  # see :func:`hnas_kit.runs.params.read`
        try:
            papermill.execute_notebook(
                places.notebook_path(notebook),
                attempt,
                values,
                kernel_name="python3",
                language="python",  # a notebook that was stripped does not say it
                kernel_manager_class=f"{__name__}.{OwnKernel.__name__}",
                config=_sockets(folder),
                progress_bar=False,
                # on a busy machine a kernel may be slow to start, and to hand over outputs, else lost
                start_timeout=300,
                iopub_timeout=300,
                extra_arguments=KERNEL_IS_QUIET,
                coalesce_streams=True,  # of a progress bar only its last line is kept
            )
            with open(attempt, "rb") as file:
                os.fsync(file.fileno())
            os.replace(attempt, target)
        except PapermillExecutionError as error:
            known = error.ename in (HnasError.__name__, Failure.__name__)
            line = " ".join((error.evalue if known else f"{error.ename}: {error.evalue}").split())
            raise Failure(f"{notebook}, cell {error.exec_count}: {line} (see {attempt})") from None
        except DeadKernelError:
            raise Failure(
                f"{notebook}: its process died, perhaps for want of memory; "
                "started again it goes on from its last checkpoint"
            ) from None
        except RuntimeError as error:  # of jupyter_client
            raise Failure(f"{notebook}: its process did not start ({said(error)})") from None
        except OSError as error:
            raise Failure(
                f"cannot write {target}: {error.strerror}; free space or choose another folder"
            ) from error
        finally:
            del os.environ[ASKED]


def hand_over(result: Connection, notebook: str, run: str, values: dict) -> None:
    """Execute a notebook in this process, and send its error, or None, to the one that began it."""
    try:
        result.send(execute(notebook, run, values))
    except HnasError as error:
        result.send(error)

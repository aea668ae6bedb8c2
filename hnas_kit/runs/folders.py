"""Run folders: what each notebook reads and writes, with parameters, checksums and provenance.

A finished notebook has a folder ``outputs/<run>/<notebook>`` with its artefacts and ``manifest.json``.
While it runs it writes to ``<notebook>.attempt-<fingerprint>`` beside it, and the finished folder is put
in place as a whole: a run that fails or is killed leaves an earlier result as it was, and goes on from
its own checkpoints when it is started again with the same parameters and inputs.
"""

import contextlib
import io
import json
import os
import shutil
import sys
import time
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from hnas_kit.data import version as dataset_version
from hnas_kit.errors import Failure, HnasError
from hnas_kit.files import json_value, npz_value, read_csv, sha256, torch_bytes, torch_value, write_atomic
from hnas_kit.provenance import code_digest, provenance
from hnas_kit.runs import locks
from hnas_kit.runs.params import NOTEBOOKS, Parameters, result_params
from hnas_kit.runs.places import READS, SEARCHES, notebook_digest, outputs_root
from hnas_kit.runs.schema import check_run
from hnas_kit.training import Checkpoints, pick_device

try:
    import resource
except ImportError:  # Windows
    resource = None

FORMAT = "hnas_kit run 3"
ABSENT = "what it reads is not there"


class Finished:
    """The finished part of a run that one notebook made; every read is checked against its manifest.

    Args:
        run: the run's name.
        notebook: which notebook made it.

    Raises:
        HnasError: if it is missing, unfinished or foreign; the line names the notebook to run.
    """

    def __init__(self, run: str, notebook: str) -> None:
        self.notebook = notebook
        self.folder = place(run, notebook)
        stand_in = os.environ.get("HNAS_REFERENCE")  # set by tests: a small artefact for a missing one
        if not self.folder.exists() and stand_in:
            self.folder = Path(stand_in) / notebook
        self._remedy = f"run notebooks/{notebook}.ipynb with run: {run}"
        path = self.folder / "manifest.json"
        if not path.exists():
            why = _abandoned(self.folder)
            raise HnasError(f"{self.folder} holds no finished {notebook}{why}; {self._remedy}")
        try:
            self.manifest = json_value(path)
            foreign = self.manifest["format"] != FORMAT or self.manifest["notebook"] != notebook
            needed = {"params", "lineage", "runs", "fingerprint", "outputs", "headline", "provenance"}
            absent = needed - self.manifest.keys()
            if absent and not foreign:
                raise KeyError(*sorted(absent))
            if not foreign and self.manifest.get("checksum") != manifest_checksum(self.manifest):
                raise ValueError("it is not what was written: its checksum differs")
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            raise Failure(f"{path} is corrupt ({error!r}); {self._remedy}") from error
        if foreign:
            raise HnasError(f"{path} was not made by {notebook} of this kit; {self._remedy}")

    @property
    def params(self) -> dict[str, Any]:
        return self.manifest["params"]

    @property
    def outputs(self) -> dict[str, str]:
        """Checksum of each artefact."""
        return self.manifest["outputs"]

    @property
    def runs(self) -> dict[str, str]:
        """The run of this notebook and of each that it follows from."""
        return self.manifest["runs"]

    def read(self, name: str) -> bytes:
        """An artefact's content; raises :class:`HnasError` if it is missing, foreign or corrupt."""
        path = self.folder / name
        if name not in self.outputs or not path.is_file():
            raise Failure(f"{path} is missing; {self._remedy}")
        data = path.read_bytes()
        if sha256(data) != self.outputs[name]:
            raise Failure(
                f"{path} is corrupt or not the file that was saved (checksum differs); {self._remedy}"
            )
        return data

    def load(self, name: str) -> Any:
        """An artefact as Python values, by its ending: see :meth:`Stage.save`."""
        data = self.read(name)
        if name.endswith(".pt"):
            return torch_value(data)
        if name.endswith(".npz"):
            return npz_value(data)
        if name.endswith(".csv"):
            return read_csv(io.BytesIO(data), index_col=0)
        return json.loads(data)


def place(run: str, notebook: str) -> Path:
    """The folder that holds what a notebook made, or would; raises :class:`HnasError` for no run's name.

    A swap that was cut short is undone, unless another process is at it: then it may be ``<notebook>.old``.
    """
    check_run(run)
    folder = outputs_root() / run / notebook
    old = _old(folder)
    if old.exists():
        with contextlib.suppress(Failure, OSError), locks.alone(folder):
            recover(folder)
    return old if old.exists() and not folder.exists() else folder


def _old(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.old")


def manifest_checksum(manifest: dict[str, Any]) -> str:
    """SHA-256 of all that a manifest says but this itself."""
    said = {name: value for name, value in manifest.items() if name != "checksum"}
    return sha256(json.dumps(said, sort_keys=True).encode())


def _abandoned(folder: Path) -> str:
    """At which cell the newest attempt failed, in words; empty if there is none, or none that says so."""
    begun = folder.parent.glob(f"{folder.name}.attempt-*/manifest.json")
    for path in sorted(begun, key=lambda path: path.stat().st_mtime, reverse=True):
        with contextlib.suppress(ValueError, KeyError, TypeError, OSError):
            state = json_value(path)
            return f" ({state['status']} at cell {state['cell']}: {state['error']})"
    return ""


def search_of(run: str, notebook: str = "") -> Finished:
    """The finished search of a run.

    Args:
        run: the run's name.
        notebook: of :data:`SEARCHES`; empty for the first that is there.

    Raises:
        HnasError: see :class:`Finished`.
    """
    there = [name for name in SEARCHES if place(run, name).exists()]
    return Finished(run, notebook or (there or SEARCHES)[0])


class Stage:
    """One notebook's part of a run while it runs. Nothing is written before the first artefact or checkpoint.

    Args:
        params: the notebook's validated parameters.
    """

    def __init__(self, params: Parameters) -> None:
        self.params, self.notebook = params, params.notebook
        self._start, self._started = time.perf_counter(), datetime.now(UTC)
        self.device = device_of(params)
        if getattr(params, "threads", 0):
            torch.set_num_threads(params.threads)
        self.upstream = upstream(params)
        self.fingerprint = fingerprint(params, self.upstream)
        self.lineage = {self.notebook: result_params(params)}  # and of all notebooks before it
        self.runs = {self.notebook: params.run}  # likewise
        for part in self.upstream.values():
            self.lineage |= part.manifest["lineage"]
            self.runs |= part.runs
        self.folder = outputs_root() / params.run / self.notebook
        self.attempt = self.folder.with_name(f"{self.notebook}.attempt-{self.fingerprint[:8]}")
        self._outputs: dict[str, str] = {}
        self._watch_cells()

    def checkpoints(self, name: str, every: int) -> Checkpoints:
        """Checkpoints of one long loop of this notebook."""
        locks.take(self.folder)
        return Checkpoints(self.attempt / "checkpoints" / name, every)

    def save(self, name: str, value: Any) -> None:
        """Write an artefact, as its ending says.

        ``.pt``: tensors in plain containers; ``.npz``: a dict of arrays, or a tree; ``.csv``: a DataFrame;
        ``.json``: plain values; ``.png``: a Matplotlib figure. A name may have folders: ``mine/x.json``.

        Raises:
            HnasError: for a name that is not one of a file in the notebook's folder.
        """
        first, *more = PurePosixPath(name).parts or [""]
        if first in ("", "/", "manifest.json", "checkpoints") or ".." in (first, *more):
            raise HnasError(
                f"{name!r} cannot be saved: name a file in the notebook's folder, for instance a.json"
            )
        locks.take(self.folder)
        if name.endswith(".pt"):
            data = torch_bytes(value)
        elif hasattr(value, "to_bytes"):
            data = value.to_bytes()
        elif name.endswith(".npz"):
            np.savez_compressed(buffer := io.BytesIO(), **value)
            data = buffer.getvalue()
        elif name.endswith(".csv"):
            data = value.to_csv().encode()
        elif name.endswith(".png"):
            value.savefig(
                buffer := io.BytesIO(), format="png", bbox_inches="tight", metadata={"Software": None}
            )
            data = buffer.getvalue()
        else:
            data = (json.dumps(value, indent=2) + "\n").encode()
        write_atomic(self.attempt / name, data)
        self._outputs[name] = sha256(data)

    def finish(self, headline: str, **figures: Any) -> None:
        """Write the manifest and put the folder in place; ``headline`` is the one line to print of it."""
        locks.take(self.folder)
        recover(self.folder)
        self._complete()
        self._write_manifest("done", headline=headline, figures=figures)
        if self.folder.exists():
            os.rename(self.folder, _old(self.folder))
        os.rename(self.attempt, self.folder)
        recover(self.folder)
        shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)  # last: until here it could be resumed
        locks.release(self.folder)
        self._unwatch_cells()

    def _complete(self) -> None:
        """Have in the attempt all that was saved, and nothing else but checkpoints.

        After the end a cell may be run again, and what it does not save again is taken from the result.
        """
        self.attempt.mkdir(parents=True, exist_ok=True)
        for path in [path for path in self.attempt.rglob("*") if path.is_symlink() or not path.is_dir()]:
            name = path.relative_to(self.attempt).as_posix()
            if name not in self._outputs and not name.startswith("checkpoints/"):
                path.unlink()  # left by an attempt that was stopped
        for path in sorted((p for p in self.attempt.rglob("*") if p.is_dir()), reverse=True):
            if path.relative_to(self.attempt).parts[0] != "checkpoints" and not any(path.iterdir()):
                path.rmdir()
        for name, checksum in self._outputs.items():
            here, before = self.attempt / name, self.folder / name
            if not here.exists():
                data = before.read_bytes() if before.is_file() else b""
                if sha256(data) != checksum:
                    raise Failure(f"{here} has gone since it was saved; run the notebook again")
                write_atomic(here, data)

    def _write_manifest(self, status: str, **more: Any) -> None:
        record = {
            "format": FORMAT,
            "notebook": self.notebook,
            "status": status,
            "params": self.params.model_dump(),
            "readings": getattr(self.params, "readings", ""),  # of the paper, in words
            "lineage": self.lineage,
            "runs": self.runs,
            "fingerprint": self.fingerprint,
            "inputs": inputs(self.notebook, self.upstream),
            "outputs": self._outputs,
            "device": str(self.device),
            "started": self._started.isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - self._start, 1),
            "peak_memory_mb": peak_memory_mb(),
        }
        record = json.loads(json.dumps(record | more | {"provenance": provenance()}))
        data = json.dumps(record | {"checksum": manifest_checksum(record)}, indent=2)
        write_atomic(self.attempt / "manifest.json", data.encode() + b"\n")

    def _watch_cells(self) -> None:
        """In a notebook, have the manifest say at which cell a run failed."""
        shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
        self._events = shell.events if shell else None
        if self._events:
            for old in [
                f
                for f in self._events.callbacks["post_run_cell"]
                if isinstance(getattr(f, "__self__", None), Stage)
            ]:
                self._events.unregister("post_run_cell", old)
            self._events.register("post_run_cell", self._after_cell)

    def _unwatch_cells(self) -> None:
        if self._events:
            self._events.unregister("post_run_cell", self._after_cell)

    def _after_cell(self, result: Any) -> None:
        error = result.error_in_exec or result.error_before_exec
        if error is not None and self.attempt.exists():
            self._write_manifest(
                "failed", cell=result.execution_count, error=f"{type(error).__name__}: {error}"
            )


def recover(folder: Path) -> None:
    """Undo a swap of folders that was cut short: the older result is put back, or its rest removed."""
    old = _old(folder)
    if old.exists():
        if folder.exists():
            shutil.rmtree(old)
        else:
            os.rename(old, folder)


def device_of(params: Parameters) -> Any:
    """The device a notebook runs on: its parameter, unless ``HNAS_DEVICE`` says another one."""
    return pick_device(os.environ.get("HNAS_DEVICE") or getattr(params, "device", "cpu"))


def upstream(params: Parameters) -> dict[str, Finished]:
    """The finished notebooks that a notebook reads; raises :class:`HnasError` if one is not there.

    The nearest is read from the run that ``params`` name, the others from where that one was made from.
    """
    names = list(READS[params.notebook])
    if not names or getattr(params, "runs", ""):  # gathered from other runs
        return {}
    nearest = Finished(params.upstream, names[-1])
    others = {name: Finished(nearest.runs.get(name, params.upstream), name) for name in names[:-1]}
    return others | {names[-1]: nearest}


def gathered(params: Parameters) -> list[str]:
    """Checksums of the tables of finished sweeps that a notebook gathers; empty if it does not."""
    run = getattr(params, "runs", "")
    return [sha256(path) for path in sorted((outputs_root() / run).glob("*.csv"))] if run else []


def inputs(notebook: str, parts: dict[str, Finished]) -> dict[str, str]:
    """Checksum of every file that a notebook reads, and the fingerprint of each result they belong to."""
    reads = READS[notebook]
    files = {
        f"{name}/{file}": part.outputs.get(file, "") for name, part in parts.items() for file in reads[name]
    }
    return files | {name: part.manifest["fingerprint"] for name, part in parts.items()}


def fingerprint(params: Parameters, parts: dict[str, Finished]) -> str:
    """SHA-256 of all that a notebook's result follows from: code, parameters, device, images, inputs."""
    own = [notebook_digest(params.notebook), result_params(params), device_of(params).type]
    own += filter(None, (dataset_version(getattr(params, "dataset", "")), *gathered(params)))
    return sha256(json.dumps([*own, inputs(params.notebook, parts)], sort_keys=True).encode())


def up_to_date(params: Parameters) -> dict | None:
    """The manifest of a finished notebook that would come out the same again; None if there is none."""
    return None if outdated(params) else Finished(params.run, params.notebook).manifest


def outdated(params: Parameters) -> str:
    """Why a notebook's result would not come out the same again, in words; empty if it would.

    Nothing is written.
    """
    try:
        part = Finished(params.run, params.notebook)
    except Failure:
        return "its manifest is damaged"
    except HnasError:
        return "there is no result yet"
    try:
        for name in part.outputs:
            part.read(name)
    except HnasError:
        return f"{name} is missing or damaged"
    try:
        parts = upstream(params)
    except HnasError:
        return ABSENT
    if part.manifest["fingerprint"] == fingerprint(params, parts):
        return ""
    old, new = part.manifest["lineage"][params.notebook], json.loads(json.dumps(result_params(params)))
    if changed := [name for name in new if name not in old or old[name] != new[name]]:
        return "changed: " + ", ".join(f"{n} (was {json.dumps(old.get(n))})" for n in changed)
    before = part.manifest["inputs"]
    if changed := [name for name in parts if before.get(name) != parts[name].manifest["fingerprint"]]:
        return f"made again: {', '.join(changed)}"
    return "its code, data or kind of device changed"


def same_code(manifest: dict) -> bool:
    """Whether a result was made by the package's code as it is now."""
    return manifest["provenance"]["code_sha256"] == code_digest()


def peak_memory_mb() -> int:
    """Largest memory this process held so far, MiB; 0 where the system does not tell (Windows)."""
    if resource is None:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))


def progress(total: int, what: str, main: bool = True) -> tqdm:
    """A plain text progress bar for one long loop; under test (``HNAS_QUIET``) nothing is shown.

    Of several processes that run the loop only the ``main`` one shows it.
    """
    quiet = bool(os.environ.get("HNAS_QUIET")) or not main
    return tqdm(
        total=total, desc=what, unit="step", disable=quiet, mininterval=3.0, ascii=" #", file=sys.stdout
    )


assert list(READS) == list(NOTEBOOKS)

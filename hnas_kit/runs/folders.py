"""Run folders: what each notebook reads and writes, with parameters, checksums and provenance.

A finished notebook has a folder ``outputs/<run>/<notebook>`` with its artefacts and ``manifest.json``.
While it runs it writes to ``<notebook>.attempt-<fingerprint>`` beside it, and the finished folder is put
in place as a whole: a run that fails or is killed leaves an earlier result as it was, and goes on from
its own checkpoints when it is started again with the same parameters and inputs.
"""

import io
import json
import os
import resource
import shutil
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from tqdm import tqdm

from hnas_kit import benchmarks, plugins
from hnas_kit.data import version as dataset_version
from hnas_kit.errors import HnasError
from hnas_kit.files import read_csv, sha256, torch_bytes, torch_value, write_atomic
from hnas_kit.provenance import code_digest, provenance
from hnas_kit.runs.params import NOTEBOOKS, Parameters, result_params
from hnas_kit.runs.places import READS, SEARCHES, notebook_digest, outputs_root
from hnas_kit.training import Checkpoints, pick_device

FORMAT = "hnas_kit run 2"
ABSENT = "what it reads is not there"


class Finished:
    """The finished part of a run that one notebook made; every read is checked against its manifest.

    Args:
        run: the run's name.
        notebook: which notebook made it.

    Attributes:
        manifest: all that is known of it.
        params: the notebook's parameters.
        outputs: checksum of each artefact.
        runs: the run of this notebook and of each that it follows from.

    Raises:
        HnasError: if it is missing, unfinished or foreign; the line names the notebook to run.
    """

    def __init__(self, run: str, notebook: str) -> None:
        self.notebook = notebook
        self.folder = outputs_root() / run / notebook
        stand_in = os.environ.get("HNAS_REFERENCE")  # set by tests: a small artefact for a missing one
        if not self.folder.exists() and stand_in:
            self.folder = Path(stand_in) / notebook
        self._remedy = f"run notebooks/{notebook}.ipynb with run: {run}"
        path = self.folder / "manifest.json"
        if not path.exists():
            begun = self.folder.parent.glob(f"{notebook}.attempt-*/manifest.json")
            last = max(begun, key=os.path.getmtime, default=None)
            state, why = json.loads(last.read_text()) if last else {}, ""
            if "cell" in state:
                why = f" ({state['status']} at cell {state['cell']}: {state['error']})"
            raise HnasError(f"{self.folder} holds no finished {notebook}{why}; {self._remedy}")
        try:
            self.manifest = json.loads(path.read_text())
            foreign = self.manifest["format"] != FORMAT or self.manifest["notebook"] != notebook
            needed = {"params", "lineage", "runs", "fingerprint", "outputs", "headline", "provenance"}
            absent = needed - self.manifest.keys()
            if absent and not foreign:
                raise KeyError(*sorted(absent))
        except (ValueError, KeyError, TypeError) as error:
            raise HnasError(f"{path} is corrupt ({error!r}); {self._remedy}") from error
        if foreign:
            raise HnasError(f"{path} was not made by {notebook} of this kit; {self._remedy}")
        self.params: dict[str, Any] = self.manifest["params"]
        self.outputs: dict[str, str] = self.manifest["outputs"]
        self.runs: dict[str, str] = self.manifest["runs"]

    def read(self, name: str) -> bytes:
        """An artefact's content; raises :class:`HnasError` if it is missing, foreign or corrupt."""
        path = self.folder / name
        if name not in self.outputs or not path.exists():
            raise HnasError(f"{path} is missing; {self._remedy}")
        data = path.read_bytes()
        if sha256(data) != self.outputs[name]:
            raise HnasError(
                f"{path} is corrupt or not the file that was saved (checksum differs); {self._remedy}"
            )
        return data

    def load(self, name: str) -> Any:
        """An artefact as Python values, by its ending: see :meth:`Stage.save`."""
        data = self.read(name)
        if name.endswith(".pt"):
            return torch_value(data)
        if name.endswith(".npz"):
            with np.load(io.BytesIO(data)) as arrays:
                return dict(arrays)
        if name.endswith(".csv"):
            return read_csv(io.BytesIO(data), index_col=0)
        return json.loads(data)


def search_of(run: str, notebook: str = "") -> Finished:
    """The finished search of a run.

    Args:
        run: the run's name.
        notebook: of :data:`SEARCHES`; empty for the first that is there.

    Raises:
        HnasError: see :class:`Finished`.
    """
    there = [name for name in SEARCHES if (outputs_root() / run / name).exists()]
    part = Finished(run, notebook or (there or SEARCHES)[0])
    know(part)
    return part


def know(*parts: Finished) -> None:
    """Import the plugins that finished notebooks were made with; raises :class:`HnasError` if one is gone."""
    plugins.load(dict.fromkeys(file for part in parts for file in part.manifest.get("plugins", {})))


class Stage:
    """One notebook's part of a run while it runs. Nothing is written before the first artefact or checkpoint.

    Args:
        params: the notebook's validated parameters.
    """

    _running: ClassVar["Stage | None"] = None  # in this process, the last that was begun

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
        Stage._running = self
        if "IPython" in sys.modules and (shell := sys.modules["IPython"].get_ipython()):
            shell.events.register("post_run_cell", _after_cell)  # once, however often it is asked for

    def checkpoints(self, name: str, every: int) -> Checkpoints:
        """Checkpoints of one long loop of this notebook."""
        return Checkpoints(self.attempt / "checkpoints" / name, every)

    def save(self, name: str, value: Any) -> None:
        """Write an artefact, as its ending says.

        ``.pt``: tensors in plain containers; ``.npz``: a dict of arrays, or a tree; ``.csv``: a DataFrame;
        ``.json``: plain values; ``.png``: a Matplotlib figure.
        """
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
        shutil.rmtree(self.attempt / "checkpoints", ignore_errors=True)
        for path in self.attempt.glob("*"):
            if path.name not in self._outputs:
                path.unlink()  # left by an attempt that was stopped
        self.write_manifest("done", headline=headline, figures=figures)
        old = self.folder.with_name(f"{self.notebook}.old")
        recover(self.folder)
        if self.folder.exists():
            os.rename(self.folder, old)
        os.rename(self.attempt, self.folder)
        shutil.rmtree(old, ignore_errors=True)
        Stage._running = None

    def _plugins(self) -> dict[str, str]:
        """The files of one's own that this notebook and those before it were made with, and their digests."""
        before = [part.manifest.get("plugins", {}) for part in self.upstream.values()]
        own = dict(zip(self.params.plugins, plugins.digests(self.params.plugins), strict=True))
        return {name: digest for known in (*before, own) for name, digest in known.items()}

    def write_manifest(self, status: str, **more: Any) -> None:
        """Write what is known of this attempt so far, and its ``status``: done or failed."""
        record = {
            "format": FORMAT,
            "notebook": self.notebook,
            "status": status,
            "params": self.params.model_dump(),
            "plugins": self._plugins(),
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
        data = json.dumps(record | more | {"provenance": provenance()}, indent=2)
        write_atomic(self.attempt / "manifest.json", data.encode() + b"\n")


def _after_cell(result: Any) -> None:
    """In a notebook, have the manifest say at which cell a run failed."""
    stage, error = Stage._running, result.error_in_exec or result.error_before_exec
    if stage is not None and error is not None and stage.attempt.exists():
        stage.write_manifest("failed", cell=result.execution_count, error=f"{type(error).__name__}: {error}")


def recover(folder: Path) -> None:
    """Undo a swap of folders that was cut short: the older result is put back, or its rest removed."""
    old = folder.with_name(f"{folder.name}.old")
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
    parts = others | {names[-1]: nearest}
    know(*parts.values())
    return parts


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
    own += plugins.digests(params.plugins)
    if hasattr(params, "space") and (truth := benchmarks.version(params.space, params.dataset)):
        own.append(truth)
    return sha256(json.dumps([*own, inputs(params.notebook, parts)], sort_keys=True).encode())


def up_to_date(params: Parameters) -> dict | None:
    """The manifest of a finished notebook that would come out the same again; None if there is none."""
    recover(outputs_root() / params.run / params.notebook)
    return None if outdated(params) else Finished(params.run, params.notebook).manifest


def outdated(params: Parameters) -> str:
    """Why a notebook's result would not come out the same again, in words; empty if it would.

    Nothing is written.
    """
    try:
        part = Finished(params.run, params.notebook)
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
    return f"its code, {'plugins, ' if params.plugins else ''}data or kind of device changed"


def same_code(manifest: dict) -> bool:
    """Whether a result was made by the package's code as it is now."""
    return manifest["provenance"]["code_sha256"] == code_digest()


def peak_memory_mb() -> int:
    """Largest memory this process held so far, MiB."""
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

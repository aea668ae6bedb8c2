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
from pathlib import PurePosixPath
from typing import Any, ClassVar

import numpy as np
import torch
from tqdm import tqdm

from hnas_kit import benchmarks, plugins
from hnas_kit.data import version as dataset_version
from hnas_kit.errors import Failure, HnasError
from hnas_kit.files import sha256, torch_bytes, write_atomic
from hnas_kit.places import READS, notebook_digest, outputs_root
from hnas_kit.provenance import code_digest, provenance
from hnas_kit.runs import locks
from hnas_kit.runs.finished import FORMAT, Finished, know, manifest_checksum, recover, set_aside
from hnas_kit.runs.params import Parameters, differing, result_params
from hnas_kit.training import Checkpoints, pick_device
from hnas_kit.trees import ArchTree

try:
    import resource
except ImportError:  # Windows
    resource = None

ABSENT = "what it reads is not there"


class Stage:
    """One notebook's part of a run while it runs. Nothing is written before the first artefact or checkpoint.

    Args:
        params: the notebook's validated parameters.
    """

    _running: ClassVar["Stage | None"] = None  # in this process, the last that was begun

    def __init__(self, params: Parameters) -> None:
        self.params, self.notebook = params, params.notebook
        self._start, self._started = time.perf_counter(), datetime.now(UTC)
        self._provenance = provenance()  # at the end the code may be another one
        self._loops: list[Checkpoints] = []
        self.device = device_of(params)
        if getattr(params, "threads", 0):
            torch.set_num_threads(params.threads)
        self.upstream = upstream(params)
        check_images(params, self.upstream)
        self.fingerprint = fingerprint(params, self.upstream)
        self.lineage = {self.notebook: result_params(params)}  # and of all notebooks before it
        self.runs = {self.notebook: params.run}  # likewise
        self._plugins: dict[str, str] = {}  # likewise, and the digest of each
        for part in self.upstream.values():
            self.lineage |= part.manifest["lineage"]
            self.runs |= part.runs
            self._plugins |= part.manifest.get("plugins", {})
        self._plugins |= dict(zip(params.plugins, plugins.digests(params.plugins), strict=True))
        self.folder = outputs_root() / params.run / self.notebook
        self.attempt = self.folder.with_name(f"{self.notebook}.attempt-{self.fingerprint[:8]}")
        self._outputs: dict[str, str] = {}
        Stage._running = self
        if "IPython" in sys.modules and (shell := sys.modules["IPython"].get_ipython()):
            shell.events.register("post_run_cell", _after_cell)  # once, however often it is asked for

    def checkpoints(self, name: str, every: int) -> Checkpoints:
        """Checkpoints of one long loop of this notebook."""
        locks.take(self.folder)
        self._loops.append(Checkpoints(self.attempt / "checkpoints" / name, every))
        return self._loops[-1]

    def save(self, name: str, value: Any) -> None:
        """Write an artefact, as its ending says.

        ``.pt``: tensors in plain containers; ``.npz``: a dict of arrays, or a tree; ``.csv``: a DataFrame;
        ``.json``: plain values; ``.png``: a Matplotlib figure. A name may have folders: ``mine/x.json``.

        Raises:
            HnasError: for a name that is not one of a file in the notebook's folder.
        """
        parts = PurePosixPath(name).parts or [""]
        if parts[0] in ("", "/", "manifest.json", "checkpoints") or ".." in parts:
            raise HnasError(
                f"{name!r} cannot be saved: name a file in the notebook's folder, for instance a.json"
            )
        locks.take(self.folder)
        name, buffer = "/".join(parts), io.BytesIO()
        if name.endswith(".pt"):
            buffer.write(torch_bytes(value))
        elif isinstance(value, ArchTree):
            buffer.write(value.to_bytes())
        elif name.endswith(".npz"):
            np.savez_compressed(buffer, **value)
        elif name.endswith(".csv"):
            value.to_csv(buffer)
        elif name.endswith(".png"):
            value.savefig(buffer, format="png", bbox_inches="tight", metadata={"Software": None})
        else:
            buffer.write((json.dumps(value, indent=2) + "\n").encode())
        write_atomic(self.attempt / name, data := buffer.getvalue())
        self._outputs[name] = sha256(data)

    def finish(self, headline: str, **figures: Any) -> None:
        """Write the manifest and put the folder in place; ``headline`` is the one line to print of it.

        Raises:
            Failure: if the disk is full or the folder cannot be written; an earlier result stays.
        """
        locks.take(self.folder)
        try:
            recover(self.folder)
            self._complete()
            self.write_manifest("done", headline=headline, figures=figures)
            if self.folder.exists():
                os.rename(self.folder, set_aside(self.folder))
            os.rename(self.attempt, self.folder)
            recover(self.folder)
        except OSError as error:
            raise Failure(
                f"cannot write {self.folder}: {error.strerror}; free space or choose another folder"
            ) from None
        shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)  # last: until here it could be resumed
        locks.release(self.folder)
        Stage._running = None

    def _complete(self) -> None:
        """Have in the attempt all that was saved, and nothing else but checkpoints.

        After the end a cell may be run again, and what it does not save again is taken from the result.
        """
        self.attempt.mkdir(parents=True, exist_ok=True)
        for path in sorted(self.attempt.rglob("*"), reverse=True):  # what lies in a folder before it
            name = path.relative_to(self.attempt)
            if name.as_posix() in self._outputs or name.parts[0] == "checkpoints":
                continue
            if path.is_symlink() or not path.is_dir():
                path.unlink()  # left by an attempt that was stopped
            elif not any(path.iterdir()):
                path.rmdir()
        for name, checksum in self._outputs.items():
            here, before = self.attempt / name, self.folder / name
            if not here.exists():
                data = before.read_bytes() if before.is_file() else b""
                if sha256(data) != checksum:
                    raise Failure(f"{here} has gone since it was saved; run the notebook again")
                write_atomic(here, data)

    def write_manifest(self, status: str, **more: Any) -> None:
        """Write what is known of this attempt so far, and its ``status``: done or failed."""
        record = {
            "format": FORMAT,
            "notebook": self.notebook,
            "status": status,
            "params": self.params.model_dump(),
            "plugins": self._plugins,
            "readings": getattr(self.params, "readings", ""),  # of the paper, in words
            "lineage": self.lineage,
            "runs": self.runs,
            "fingerprint": self.fingerprint,
            "inputs": inputs(self.notebook, self.upstream),
            "images": images(self.params, self.upstream),
            "outputs": self._outputs,
            "device": str(self.device),
            "gpu": torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "",
            "started": self._started.isoformat(timespec="seconds"),
            "seconds": round(sum((one.seconds for one in self._loops), time.perf_counter() - self._start), 1),
            "peak_memory_mb": peak_memory_mb(),
        }
        codes = {self._provenance["code_sha256"]}.union(*(one.codes for one in self._loops))
        record |= {"codes": sorted(codes), "provenance": self._provenance}
        record = json.loads(json.dumps(record | more))
        data = json.dumps(record | {"checksum": manifest_checksum(record)}, indent=2)
        write_atomic(self.attempt / "manifest.json", data.encode() + b"\n")


def _after_cell(result: Any) -> None:
    """In a notebook, have the manifest say at which cell a run failed."""
    stage, error = Stage._running, result.error_in_exec or result.error_before_exec
    if stage is not None and error is not None and stage.attempt.exists():
        with contextlib.suppress(Failure):  # the cell's own error is told
            what = f"{type(error).__name__}: {error}"
            stage.write_manifest("failed", cell=result.execution_count, error=what)


def device_of(params: Parameters) -> Any:
    """The device a notebook runs on: its parameter, unless ``HNAS_DEVICE`` says another one."""
    return pick_device(os.environ.get("HNAS_DEVICE") or getattr(params, "device", "cpu"))


def upstream(params: Parameters) -> dict[str, Finished]:
    """The finished notebooks that a notebook reads; raises :class:`HnasError` if one is not there.

    The nearest is read from the run that ``params`` name, the others from where that one was made from.
    """
    *others, last = READS[params.notebook] or [""]
    if not last or getattr(params, "runs", ""):  # gathered from other runs
        return {}
    nearest = Finished(params.upstream, last)
    parts = {name: Finished(nearest.runs.get(name, params.upstream), name) for name in others}
    parts[last] = nearest
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


def images(params: Parameters, parts: dict[str, Finished]) -> str:
    """Number and checksum of the images that a notebook's result follows from, as far as they are files."""
    pretrain = parts.get("01_pretrain")
    return dataset_version(getattr(params, "dataset", pretrain.params["dataset"] if pretrain else ""))


def check_images(params: Parameters, parts: dict[str, Finished]) -> None:
    """Raise :class:`HnasError` if 01_pretrain was made with other images than a notebook would read now."""
    before = parts["01_pretrain"].manifest.get("images", "") if "01_pretrain" in parts else ""
    if before and params.notebook != "03_tree" and (now := images(params, parts)) != before:
        raise HnasError(
            f"{params.notebook}: the images of {parts['01_pretrain'].params['dataset']} have changed since "
            f"01_pretrain was made (it had {before}, now {now or 'none'}); run 01_pretrain again"
        )


def fingerprint(params: Parameters, parts: dict[str, Finished]) -> str:
    """SHA-256 of all that a notebook's result follows from: code, parameters, device, images, inputs."""
    own = [notebook_digest(params.notebook), result_params(params), device_of(params).type]
    own += filter(None, (images(params, parts), *gathered(params)))
    own += plugins.digests(params.plugins)
    if hasattr(params, "space") and (truth := benchmarks.version(params.space, params.dataset)):
        own.append(truth)
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
    if changed := differing(part.manifest["lineage"][params.notebook], result_params(params)):
        return "changed: " + ", ".join(f"{n} (was {json.dumps(old)})" for n, (old, _) in changed.items())
    before = part.manifest["inputs"]
    if changed := [name for name in parts if before.get(name) != parts[name].manifest["fingerprint"]]:
        return f"made again: {', '.join(changed)}"
    if part.manifest.get("images", "") != images(params, parts):
        return "its images changed"
    return f"its code, {'plugins, ' if params.plugins else ''}data or kind of device changed"


def same_code(manifest: dict) -> bool:
    """Whether a result was made, from its first step on, by the package's code as it is now."""
    return {manifest["provenance"]["code_sha256"], *manifest.get("codes", [])} == {code_digest()}


def peak_memory_mb() -> int:
    """Largest memory this process held so far, MiB; 0 where the system does not tell (Windows)."""
    if resource is None:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))


def progress(total: int | None, what: str, main: bool = True) -> tqdm:
    """A plain text progress bar for one long loop; under test (``HNAS_QUIET``) nothing is shown.

    Of several processes that run the loop only the ``main`` one shows it.
    """
    quiet = bool(os.environ.get("HNAS_QUIET")) or not main
    return tqdm(
        total=total, desc=what, unit="step", disable=quiet, mininterval=3.0, ascii=" #", file=sys.stdout
    )

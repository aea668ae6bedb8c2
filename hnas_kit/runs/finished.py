"""Finished parts of a run, read with every file checked against its manifest."""

import contextlib
import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

from hnas_kit import plugins
from hnas_kit.errors import Failure, HnasError
from hnas_kit.files import json_value, npz_value, read_csv, sha256, torch_value
from hnas_kit.places import SEARCHES, outputs_root
from hnas_kit.runs import locks
from hnas_kit.runs.fields import check_run

FORMAT = "hnas_kit run 3"


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
        self.params: dict[str, Any] = self.manifest["params"]
        self.outputs: dict[str, str] = self.manifest["outputs"]
        self.runs: dict[str, str] = self.manifest["runs"]

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
    old = set_aside(folder)
    if old.exists():
        with contextlib.suppress(Failure, OSError), locks.alone(folder):
            recover(folder)
    return old if old.exists() and not folder.exists() else folder


def set_aside(folder: Path) -> Path:
    """Where an earlier result lies between the two renames that put a new one in its place."""
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
    if not there and (below := sorted(outputs_root().glob(f"{run}/**/{SEARCHES[0]}/manifest.json"))):
        name = below[0].parents[1].relative_to(outputs_root()).as_posix()
        raise HnasError(f"{outputs_root() / run} has runs below it; name one of them, such as {name}")
    part = Finished(run, notebook or (there or SEARCHES)[0])
    know(part)
    return part


def know(*parts: Finished) -> None:
    """Import the plugins that finished notebooks were made with; raises :class:`HnasError` if one is gone."""
    plugins.load(dict.fromkeys(file for part in parts for file in part.manifest.get("plugins", {})))


def recover(folder: Path) -> None:
    """Undo a swap of folders that was cut short: the older result is put back, or its rest removed."""
    old = set_aside(folder)
    if old.exists():
        if folder.exists():
            shutil.rmtree(old)
        else:
            os.rename(old, folder)

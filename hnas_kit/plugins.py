"""Files of one's own that register search spaces, samplers, rewards and data sets.

A run names them (parameter ``plugins``); every process imports them before it looks at parameters.
"""

import sys
import traceback
from collections.abc import Collection, Iterable, Mapping
from os.path import expanduser  # that of Path raises where there is no such user
from pathlib import Path
from types import ModuleType
from typing import Any

from hnas_kit.errors import HnasError, said
from hnas_kit.files import sha256
from hnas_kit.names import DATASETS, REWARDS, SAMPLERS, SPACES, Registry

REGISTERS: tuple[Registry, ...] = (SPACES, SAMPLERS, REWARDS, DATASETS)
Entry = tuple[int, str]  # position of a register, and a name in it
_digests: dict[Path, str] = {}  # of the text of each file that was imported
_owners: dict[Entry, Path] = {}  # which of them registered what


def listed(value: Any, folder: Path | None = None) -> Any:
    """Files as absolute paths, if it is one or a list of them; anything else stays as it is.

    Args:
        value: one path, or a list of paths.
        folder: that they are relative to; default: the working folder.
    """
    files = [value] if isinstance(value, str) and value else value
    if not isinstance(files, list) or not all(isinstance(file, str) for file in files):
        return value
    return [str((folder or Path()).joinpath(expanduser(file)).resolve()) for file in files]


def load_given(value: Any) -> None:
    """Import what is given as a parameter, as far as it is files: what else it is, its check says later."""
    files = listed(value)
    if isinstance(files, list):
        load(file for file in files if isinstance(file, str))


def load(files: Iterable[str]) -> None:
    """Import files, each once; one whose text has changed registers anew.

    Names that another run's files registered before may be used again.

    Raises:
        HnasError: one line that names the file, if it is missing, raises, or registers what will not do; then
            nothing of it is registered.
    """
    paths = [Path(file) for file in files]
    for path in paths:
        digest, text = _read(path)
        if _digests.get(path) == digest:
            continue
        _forget(path)
        before = _brought()
        others = {entry: before.pop(entry) for entry, owner in _owners.items() if owner not in paths}
        _remove(others)
        try:
            _run(path, text)
        except HnasError:
            _remove(_brought().keys() - before.keys())
            _add(others)
            raise
        now = _brought()
        for owner in {_owners[entry] for entry in others if entry in now}:
            _forget(owner, now)
        _add({entry: value for entry, value in others.items() if entry in _owners})
        _owners.update(dict.fromkeys(now.keys() - before.keys(), path))
        _digests[path] = digest


def _brought() -> dict[Entry, Any]:
    return {(i, name): value for i, own in enumerate(REGISTERS) for name, value in own.brought.items()}


def _remove(entries: Iterable[Entry]) -> None:
    for i, name in entries:
        REGISTERS[i].remove(name)


def _add(values: Mapping[Entry, Any]) -> None:
    for (i, name), value in values.items():
        REGISTERS[i].data[name] = REGISTERS[i].brought[name] = value


def _forget(path: Path, kept: Collection[Entry] = ()) -> None:
    """Remove what a file registered, but for names that are another's by now."""
    _digests.pop(path, None)
    for entry in [entry for entry, owner in _owners.items() if owner == path]:
        del _owners[entry]
        if entry in _brought() and entry not in kept:
            _remove([entry])


def _run(path: Path, text: bytes) -> None:
    module = ModuleType(f"hnas_plugin_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # classes are looked up there by who copies or prints them
    try:
        exec(compile(text, str(path), "exec"), vars(module))
    except HnasError as error:
        raise HnasError(f"plugin {path}: {error}") from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        trace = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in trace if frame.filename == str(path)]
        lines = lines or [getattr(error, "lineno", None)]  # of a mistake in syntax
        where = f", line {lines[-1]}" if lines[-1] else ""
        raise HnasError(f"plugin {path}{where}: {said(error)}") from None


def _read(path: Path) -> tuple[str, bytes]:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise HnasError(f"plugin {path} cannot be read: {error.strerror}") from None
    return sha256(text), text


def digests(files: Iterable[str]) -> list[str]:
    """SHA-256 of each file's text; raises :class:`HnasError` for one that is missing."""
    return [_read(Path(file))[0] for file in files]


def everything() -> tuple[list[str], dict[Entry, Any]]:
    """What another process needs to know the same: files, and what was registered by none."""
    return [str(path) for path in _digests], {e: v for e, v in _brought().items() if e not in _owners}


def know(files: Iterable[str], rest: Mapping[Entry, Any]) -> None:
    """Register what :func:`everything` gave in another process."""
    load(files)
    _add(rest)

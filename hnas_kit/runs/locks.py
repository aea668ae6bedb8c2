"""One process makes a result at a time: a lock beside its folder says who, and since when.

The system holds it (``flock``), also on folders that machines share, and lets go of it when the process ends,
however it ends. Where there are no such locks, on Windows and some network file systems, none are taken.
"""

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO

from hnas_kit.errors import Failure

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

HANDED_ON = "HNAS_LOCKED"  # the lock that a process holds for a kernel that it starts
_held: dict[Path, IO[str]] = {}


def take(folder: Path, wait: bool = False) -> None:
    """Hold the lock of a result's folder until :func:`release`, or the end of this process.

    Nothing is done if this process holds it already, or the one that started it for this result.

    Args:
        folder: of the result.
        wait: for a process that holds it, instead of being refused.

    Raises:
        Failure: if another process holds it; the line says which.
    """
    path = _path(folder)
    if fcntl is None or path in _held or os.environ.get(HANDED_ON) == str(path):
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while not (file := _locked(path, folder, wait)):
            pass
    except OSError as error:
        raise Failure(f"cannot write {path}: {error.strerror}; choose another folder") from None
    if file.read():
        time.sleep(2)  # that process was killed; its kernel looks for it every second, and ends
    file.seek(0)
    file.truncate(0)
    now = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    file.write(json.dumps({"process": os.getpid(), "machine": socket.gethostname(), "since": now}))
    file.flush()
    _held[path] = file


def _locked(path: Path, folder: Path, wait: bool) -> IO[str] | None:
    """The lock's file, held; None if its last holder removed it in this moment."""
    file = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - held until it is released
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        with file:
            file.seek(0)
            raise Failure(f"{folder} is being made {_by(file.read())}; wait for it, or end it") from None
    except OSError:
        pass  # no locks on this file system
    file.seek(0)
    with contextlib.suppress(OSError):
        if os.fstat(file.fileno()).st_ino == path.stat().st_ino:
            return file
    file.close()
    return None


def _by(content: str) -> str:
    try:
        holder = json.loads(content)
        return f"by process {holder['process']} on {holder['machine']} since {holder['since']}"
    except (ValueError, KeyError, TypeError):  # it has just begun
        return "by another process"


def _path(folder: Path) -> Path:
    return folder.resolve().with_name(f".{folder.name}.lock")


def release(folder: Path) -> None:
    """Let go of the lock of a result's folder, if this process holds it."""
    if file := _held.pop(_path(folder), None):
        with contextlib.suppress(OSError):
            _path(folder).unlink()
        file.close()


@contextlib.contextmanager
def alone(folder: Path, wait: bool = False) -> Iterator[None]:
    """Hold a lock for as long as something is done; a kernel that is started meanwhile may do it."""
    path, before = _path(folder), os.environ.get(HANDED_ON)
    mine = path not in _held
    take(folder, wait)
    os.environ[HANDED_ON] = str(path)
    try:
        yield
    finally:
        os.environ.pop(HANDED_ON)
        if before is not None:
            os.environ[HANDED_ON] = before
        if mine:
            release(folder)

"""Files that are whole or absent: atomic writes and checksums."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
from pathlib import Path
from typing import IO, Any

import pandas as pd
import torch

from hnas_kit.errors import HnasError


def sha256(data: bytes | Path) -> str:
    """Hex SHA-256 of bytes, or of a file's content."""
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    with open(data, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file under a temporary name beside it, then rename: a reader sees all of it or nothing.

    Raises:
        HnasError: if the disk is full or the folder cannot be written; what was there stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):  # above it may be a file instead of a folder
            temporary.unlink()
        reason = "no space left on the disk" if error.errno == errno.ENOSPC else error.strerror
        raise HnasError(f"cannot write {path}: {reason}; free space or choose another folder") from error


def torch_bytes(value: object) -> bytes:
    """``torch.save`` to bytes: values made alike give equal bytes, whatever the file will be called."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def torch_value(data: bytes, map_location: str | torch.device = "cpu") -> object:
    """The value saved by :func:`torch_bytes`; tensors and plain containers only (no code is run)."""
    return torch.load(io.BytesIO(data), map_location=map_location, weights_only=True)


def read_csv(source: Path | IO, **options: Any) -> pd.DataFrame:
    """A table whose architectures stay text: the code 00000001 is no number."""
    return pd.read_csv(source, dtype={"architecture": str}, **options)

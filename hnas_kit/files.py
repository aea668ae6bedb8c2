"""Files that are whole or absent: atomic writes and checksums."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import pickle
import re
import uuid
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar

import yaml

from hnas_kit.errors import Failure, HnasError

if TYPE_CHECKING:  # each takes a second, and is imported where it is used
    import numpy as np
    import pandas as pd


def sha256(data: bytes | Path) -> str:
    """Hex SHA-256 of bytes, or of a file's content."""
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    with open(data, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file under a temporary name beside it, then rename: a reader sees all of it or nothing.

    Raises:
        Failure: if the disk is full or the folder cannot be written; what was there stays.
    """
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")  # of no other process, nor of another machine's
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
        raise Failure(f"cannot write {path}: {reason}; free space or choose another folder") from error


def require_place(path: Path) -> None:
    """Raise :class:`HnasError` where :func:`write_atomic` would fail for its folder: before hours of work."""
    folder = next(above for above in path.absolute().parents if above.exists())
    reason = "it is a folder" if path.is_dir() else ""
    reason = reason or ("" if folder.is_dir() else f"{folder} is a file")
    reason = reason or ("" if os.access(folder, os.W_OK | os.X_OK) else f"{folder} cannot be written")
    if reason:
        raise HnasError(f"cannot write {path}: {reason}; choose another folder (HNAS_OUTPUTS)")


def torch_bytes(value: object) -> bytes:
    """``torch.save`` to bytes: values made alike give equal bytes, whatever the file will be called."""
    import torch

    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def torch_value(data: bytes) -> object:
    """The value saved by :func:`torch_bytes`; tensors and plain containers only (no code is run).

    Raises:
        Failure: if it is something else.
    """
    import torch

    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, KeyError, EOFError, OSError) as error:
        raise Failure(f"not a file of plain tensors ({first_line(error)})") from None


def npz_value(data: bytes) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file; no objects, as those are pickles (no code is run).

    Raises:
        Failure: if it is something else.
    """
    import numpy as np

    try:
        with np.load(io.BytesIO(data)) as arrays:
            return dict(arrays)
    except (ValueError, OSError, EOFError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise Failure(f"not a file of plain arrays ({first_line(error)})") from None


def json_value(path: Path) -> Any:
    """The value of a JSON file in UTF-8.

    Raises:
        ValueError: if it is none; that it is nested too deep counts.
        OSError: if it cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("nested too deep") from None


def first_line(error: BaseException) -> str:
    """What an error says, without what follows its first line; the error's name if it says nothing."""
    return str(error).strip().partition("\n")[0].strip() or type(error).__name__


TEXTS = ("architecture", "label", "method", "run", "status", "error", "commit", "hardware", "versions")


def read_csv(source: Path | IO, **options: Any) -> pd.DataFrame:
    """A table whose names stay text: the code 00000001 is no number, a label None is not nothing."""
    import pandas as pd

    given = {"dtype": dict.fromkeys(TEXTS, str), "keep_default_na": False, "na_values": [""]}
    return pd.read_csv(source, **given | options)


def read_table(path: Path, texts: Iterable[str] = (), numbers: Iterable[str] = ()) -> pd.DataFrame:
    """A table that this kit wrote, see :func:`read_csv`, with what every row must have.

    Raises:
        Failure: one line that names the file, if it is something else or was cut short.
    """
    import pandas as pd

    data = path.read_bytes()
    try:
        rows = read_csv(io.BytesIO(data))
        if not isinstance(rows.index, pd.RangeIndex):
            raise ValueError("lines have more parts than there are columns")
    except ValueError as error:
        raise Failure(f"{path} is not a table that can be read ({first_line(error)})") from None
    require_values(rows, texts, numbers, path)
    if not data.endswith(b"\n"):
        raise Failure(f"{path} was cut short: its last line has no end")
    return rows


def require_values(rows: pd.DataFrame, texts: Iterable[str], numbers: Iterable[str], path: Path) -> None:
    """Raise :class:`Failure` unless every row of a table has these texts and finite numbers."""
    import numpy as np
    import pandas as pd

    for name in (texts := [*texts]) + [*numbers]:
        if name not in rows:
            raise Failure(f"{path} has no column {name}")
        kind, sound = "text", rows[name].notna()
        if name not in texts:
            kind, sound = "number", np.isfinite(pd.to_numeric(rows[name], errors="coerce"))
        if not sound.all():
            raise Failure(f"{path}: line {rows.index[sound.argmin()] + 2} has no {kind} in column {name}")


class _Yaml(yaml.SafeLoader):
    """Plain values as in YAML 1.2: 1e-3 is a number; yes, 1:30 and 010 are text. A key stands once."""

    yaml_implicit_resolvers: ClassVar[dict] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        found = super().construct_mapping(node, deep)
        if len(found) < len(node.value):
            raise yaml.YAMLError("a name stands there twice")
        return found


for _kind, _pattern, _first in (
    ("null", r"~|null|", ["~", "n", ""]),
    ("bool", r"true|false|True|False", list("tfTF")),
    ("int", r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    (
        "float",
        r"[-+]?((\.[0-9]+|(0|[1-9][0-9]*)\.[0-9]*)([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.inf)|\.nan",
        list("-+.0123456789"),
    ),
):
    _Yaml.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(rf"^(?:{_pattern})$"), _first)


def yaml_value(text: str, where: str) -> Any:
    """The value of a text in YAML; raises :class:`HnasError` with one line that begins with ``where``."""
    try:
        return yaml.load(text, _Yaml)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = (
            "it is nested too deep" if isinstance(error, RecursionError) else " ".join(str(error).split())
        )
        raise HnasError(f"{where} is not YAML: {reason}") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """The ``name: value`` lines of a UTF-8 file, which may have none.

    Raises:
        HnasError: one line that names the file.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise HnasError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    values = yaml_value(text, str(path))
    values = {} if values is None else values
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise HnasError(f"{path} must hold name: value lines")
    return values

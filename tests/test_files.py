"""Files that are whole or absent."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hnas_kit import files
from hnas_kit.errors import Failure, HnasError
from hnas_kit.files import read_csv, read_table, sha256, torch_bytes, torch_value, write_atomic


def test_sha256_of_bytes_and_of_a_file(tmp_path):
    data = b"pool" * 100_000
    (tmp_path / "a").write_bytes(data)
    assert sha256(data) == sha256(tmp_path / "a") == hashlib.sha256(data).hexdigest()


def test_a_file_is_written_and_replaced_without_leftovers(tmp_path):
    path = tmp_path / "new" / "folder" / "a.bin"
    for data in (b"one", b"another", b""):
        write_atomic(path, data)
        assert path.read_bytes() == data
    assert os.listdir(path.parent) == ["a.bin"]


class FullDisk(io.FileIO):
    """A file that takes one byte and then finds no space."""

    def write(self, data):
        super().write(data[:1])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def refuse(*args):
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


@pytest.mark.parametrize("existing", [None, b"old"])
@pytest.mark.parametrize(
    ("where", "what", "reason"),
    [
        (files, "open", "no space left on the disk"),
        (files.os, "fsync", "Permission denied"),
        (files.os, "replace", "Permission denied"),
    ],
)
def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch, existing, where, what, reason):
    path = tmp_path / "a.bin"
    if existing is not None:
        path.write_bytes(existing)
    monkeypatch.setattr(where, what, FullDisk if what == "open" else refuse, raising=False)
    with pytest.raises(HnasError) as caught:
        write_atomic(path, b"new")
    assert str(caught.value) == f"cannot write {path}: {reason}; free space or choose another folder"
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a.bin", existing)] * bool(existing)


@pytest.mark.parametrize("name", ["file/a.bin", "file/folder/a.bin", "folder"])
def test_a_place_that_cannot_hold_the_file_is_refused(tmp_path, name):
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "folder" / "full").mkdir(parents=True)
    with pytest.raises(HnasError, match=f"^cannot write {tmp_path / name}: "):
        write_atomic(tmp_path / name, b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def example() -> dict:
    return {"weights": torch.arange(6.0).view(2, 3), "step": 3, "names": ["a", "b"], "big": 2**100}


def test_whether_a_file_can_be_written_is_told_before_it_is_made(tmp_path, monkeypatch):
    files.require_place(tmp_path / "new" / "folder" / "a.csv")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for path, said in {
        "file/a.csv": f"{tmp_path / 'file'} is a file",
        "file/deeper/a.csv": f"{tmp_path / 'file'} is a file",
        "folder": "it is a folder",
    }.items():
        with pytest.raises(HnasError, match=rf"\Acannot write {tmp_path / path}: {said}; choose another"):
            files.require_place(tmp_path / path)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(HnasError, match=rf"{tmp_path} cannot be written; choose another"):
        files.require_place(tmp_path / "a.csv")


def test_values_made_alike_give_equal_bytes_that_hold_the_value():
    data = torch_bytes(example())
    assert data == torch_bytes(example())
    assert data != torch_bytes(example() | {"step": 4})
    value, expected = torch_value(data), example()
    assert torch.equal(value.pop("weights"), expected.pop("weights"))
    assert value == expected


class Code:
    def __reduce__(self):
        return os.mkdir, ("made-by-code",)


def test_a_file_with_code_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Failure, match=r"\Anot a file of plain tensors \(Weights only load failed"):
        torch_value(torch_bytes({"a": Code()}))
    assert not os.listdir(tmp_path)


def test_a_code_in_a_table_stays_text(tmp_path):
    table = pd.DataFrame({"rank": [1, 2]}, index=pd.Index(["00000001", "22212220"], name="architecture"))
    table.to_csv(tmp_path / "table.csv")
    pd.testing.assert_frame_equal(
        read_csv(tmp_path / "table.csv", index_col=0), table, check_index_type=False
    )
    assert read_csv(tmp_path / "table.csv")["architecture"].tolist() == ["00000001", "22212220"]
    (tmp_path / "other.csv").write_text("step,loss\n1,0.5\n")
    assert read_csv(tmp_path / "other.csv")["step"].tolist() == [1]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3), ("-2.5", -2.5), (".5", 0.5), ("1.", 1.0), ("5", 5), ("+3", 3), ("true", True),
        ("null", None), ('"5"', "5"), ("[a, 1]", ["a", 1]), ("{a: {b: 1e2}}", {"a": {"b": 100.0}}),
        ("yes", "yes"), ("on", "on"), ("1:30", "1:30"), ("2020-13-45", "2020-13-45"), ("0x10", "0x10"),
        ("1_000", "1_000"), ("nan", "nan"),
    ],
)  # fmt: skip
def test_plain_values_are_what_people_mean(text, value):
    found = files.yaml_value(text, "-p")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1", "here is not YAML: while parsing a flow sequence"),
        ("{a: 1, a: 2}", "here is not YAML: a name stands there twice"),
        ("{a: {b: 1, b: 1}}", "here is not YAML: a name stands there twice"),
        ("[" * 3000, "here is not YAML: it is nested too deep"),
        ("!!python/object/apply:os.getcwd []", "here is not YAML: could not determine a constructor"),
    ],
)
def test_what_is_no_value_is_one_line(text, said):
    with pytest.raises(HnasError, match=rf"\A{re.escape(said)}.*\Z"):
        files.yaml_value(text, "here")


@given(st.text())
def test_any_text_is_a_value_or_one_line(text):
    line = ""
    try:
        files.yaml_value(text, "here")
    except HnasError as error:
        line = str(error)
    assert len(line.splitlines()) <= 1


def test_a_file_of_names_and_values_is_utf_8_and_nothing_else(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes("# λ\nlr: 1e-3\n".encode())
    assert files.read_yaml(path) == {"lr": 1e-3}
    path.write_text("# no more than a comment\n")
    assert files.read_yaml(path) == {}
    for content, said in (
        ("# λ".encode("utf-16"), "cannot read .*codec can't decode"),
        (b"- 1", "must hold name: value lines"),
        (b"1: 2", "must hold name: value lines"),
        (b"a: [", "is not YAML"),
    ):
        path.write_bytes(content)
        with pytest.raises(HnasError, match=said):
            files.read_yaml(path)
    for missing, said in ((tmp_path, "Is a directory"), (tmp_path / "b.yaml", "No such file")):
        with pytest.raises(HnasError, match=f"cannot read .*{said}"):
            files.read_yaml(missing)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not a table that can be read (No columns to parse from file)"),
        (b"\x89PNG\r\n\x1a\n\xff\x00", "is not a table that can be read ('utf-8' codec can't decode"),
        (b"label,seed\na,0,1,2\nb\n", "(lines have more parts than there are columns)"),
        (b"label,seed\na,0\nb,0,1\n", "is not a table that can be read (Error tokenizing data"),
        (b"seed\n0\n", "has no column label"),
        (b"label,seed\na,0\n,1\n", "line 3 has no text in column label"),
        (b"label,seed\na,0\nb\n", "line 3 has no number in column seed"),
        (b"label,seed\na,many\n", "line 2 has no number in column seed"),
        (b"label,seed\na,inf\n", "line 2 has no number in column seed"),
        (b"label,seed\na,0\nb,1", "was cut short: its last line has no end"),
    ],
)
def test_a_table_that_is_none_or_not_whole_is_one_line_that_names_it(tmp_path, content, said):
    path = tmp_path / "mine.csv"
    path.write_bytes(content)
    with pytest.raises(Failure) as raised:
        read_table(path, ["label"], ["seed"])
    assert str(raised.value).startswith(str(path))
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    path.write_bytes(b"label,seed\nNone,7\n")
    assert read_table(path, ["label"], ["seed"]).to_numpy().tolist() == [["None", 7]]

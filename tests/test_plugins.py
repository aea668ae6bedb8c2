"""Files of one's own: when they are imported, what they leave, and what another process gets of it."""

from __future__ import annotations

import pytest

from hnas_kit import names, plugins
from hnas_kit.errors import HnasError
from hnas_kit.processes import parallel

pytestmark = pytest.mark.usefixtures("forget")

TEXT = "from hnas_kit import rewards\nrewards.register({name!r}, lambda arch, logits, labels: {value})\n"


@pytest.fixture
def write(tmp_path):
    """Writes a plugin that registers a reward, and gives its path."""

    def make(file: str, name: str, value: float) -> str:
        path = tmp_path / file
        path.write_text(TEXT.format(name=name, value=value))
        return str(path)

    return make


def value(name: str) -> float:
    return names.REWARDS[name]((), None, None)


def test_a_file_is_imported_once_and_again_when_its_text_changes(write, capsys):
    path = write("a.py", "mine", 1)
    with open(path, "a") as file:
        file.write("print('imported')\n")
    plugins.load([path])
    plugins.load([path])
    assert capsys.readouterr().out == "imported\n"
    assert value("mine") == 1
    before = plugins.digests([path])
    plugins.load([write("a.py", "other", 2)])
    assert "mine" not in names.REWARDS
    assert value("other") == 2
    assert plugins.digests([path]) != before


def test_two_files_of_a_run_may_not_register_the_same_name(write):
    first, second = write("a.py", "mine", 1), write("b.py", "mine", 2)
    with pytest.raises(HnasError, match=r"\Aplugin .*b\.py: there is a reward 'mine' already"):
        plugins.load([first, second])
    assert value("mine") == 1


def test_another_run_may_use_a_name_again(write):
    plugins.load([write("a.py", "mine", 1)])
    plugins.load([write("b.py", "mine", 2)])
    assert value("mine") == 2
    plugins.load([write("a.py", "mine", 1)])
    assert value("mine") == 1


def test_nothing_stays_of_a_file_that_fails(tmp_path, write):
    plugins.load([write("a.py", "mine", 1)])
    broken = tmp_path / "b.py"
    broken.write_text(TEXT.format(name="mine", value=2) + "1 / 0\n")
    with pytest.raises(HnasError, match=r"b\.py, line 3: ZeroDivisionError: division by zero\Z"):
        plugins.load([str(broken)])
    assert value("mine") == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise BaseException('all')", "line 1: BaseException: all"),
        ("class E(Exception):\n    def __str__(self): raise ValueError\nraise E", "line 3: E"),
        ("raise ValueError('one\\ntwo')", "line 1: ValueError: one two"),
        ("def f(): f()\nf()", "line 1: RecursionError: maximum recursion depth exceeded"),
    ],
)
def test_whatever_a_file_raises_is_one_line(tmp_path, text, said):
    (path := tmp_path / "a.py").write_text(text)
    with pytest.raises(HnasError) as caught:
        plugins.load([str(path)])
    assert str(caught.value) == f"plugin {path}, {said}"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(HnasError, match=r"\Aplugin .*/none\.py cannot be read: No such file or directory\Z"):
        plugins.load([str(tmp_path / "none.py")])


def test_paths_are_relative_to_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/somewhere")
    assert plugins.listed("a.py") == [str(tmp_path / "a.py")]
    assert plugins.listed(["../a.py", "~/b.py"], tmp_path / "x") == [
        str(tmp_path / "a.py"),
        "/somewhere/b.py",
    ]
    assert [plugins.listed(wrong) for wrong in (3, [3], {"a": 1})] == [3, [3], {"a": 1}]


def test_processes_know_what_was_registered_by_a_file_and_by_none(write):
    plugins.load([write("a.py", "mine", 1)])
    names.REWARDS.register("unwritten", lambda arch, logits, labels: 2)
    try:
        found = dict(parallel.run_all(value, {name: (name,) for name in ("mine", "unwritten")}, workers=2))
    finally:
        names.REWARDS.remove("unwritten")
    assert found == {"mine": 1, "unwritten": 2}


def test_a_cell_that_is_run_again_replaces_what_it_registered():
    known = names.Registry("cheese", {"feta": 1})
    for number in (1, 2):
        space = {"__name__": "__main__"}
        exec(f"def brie(): return {number}", space)
        known.register("brie", space["brie"])
    assert known["brie"]() == 2
    with pytest.raises(HnasError, match="there is a cheese 'brie' already"):
        known.register("brie", lambda: 3)
    with pytest.raises(HnasError, match="there is a cheese 'feta' already"):
        known.register("feta", space["brie"])


@pytest.mark.parametrize("name", ["", "a/b", "../x", "a:b", " a", "1", 3, None, "a" * 61])
def test_a_name_is_plain(name):
    with pytest.raises(HnasError, match="is no name for a cheese"):
        names.Registry("cheese", {}).register(name, 1)

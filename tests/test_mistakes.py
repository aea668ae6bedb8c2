"""Mistakes of a user: each input ends in one line before anything starts, and nothing is written.

A line of ``MISTAKES`` is an input and how its line begins. ``{own}`` is the folder that :func:`own` makes.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from common import clean_environment
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from hnas_kit import cli
from hnas_kit.cli import commands
from hnas_kit.errors import HnasError
from hnas_kit.processes import parallel
from hnas_kit.runs import profiles
from hnas_kit.runs.params import NOTEBOOKS
from hnas_kit.studies import beyond, forests, readings, study

ROOT = Path(__file__).resolve().parents[1]
LONG = "n" * 300
PLAIN = "should be a plain name: letters, digits and _ . - (parts may be joined by /)"
DIGITS = "run quick -p dataset digits --to 01"

MISTAKES = [
    (
        "run slow",
        "unknown profile 'slow'; allowed: digits, imagenet, macro_cifar10, macro_cpu, pooling_cifar10, "
        "pooling_cpu, quick",
    ),
    ("run quick --to 7", f"--to 7: there is no such notebook; allowed: {', '.join(NOTEBOOKS)}"),
    ("run quick --from 03 --to 02", "no notebook of the profile is from 03_tree to 02_distances"),
    ("run quick --from 07", f"--from 07: there is no such notebook; allowed: {', '.join(NOTEBOOKS)}"),
    ("run quick -p epoch 2", "unknown parameter epoch (did you mean epochs?)"),
    (
        "run quick -p sampler uniform -p tree '' -p compare [] -p bonus linear --to 04",
        "04_mcts: sampler uniform has no bonus; it has no settings",
    ),
    ("run quick -p beta 2", "04_mcts: beta is 2: Input should be less than 1"),
    ("run quick -p lr 2020-13-45", "01_pretrain: lr is '2020-13-45': Input should be a valid number"),
    ("run quick -p epochs 1:30", "01_pretrain: epochs is '1:30': Input should be a valid integer"),
    ("run quick -p seed [1", "-p seed: '[1' is not YAML: while parsing a flow sequence in"),
    ("run quick -p lr '{{a: 1, a: 2}}'", "-p lr: '{{a: 1, a: 2}}' is not YAML: a name stands there twice"),
    ("run quick -p 01_pretrain.epoch 2", "unknown parameter epoch (did you mean epochs?)"),
    ("run quick -p 01.epochs 2", "unknown notebook '01'; allowed: 01_pretrain, 02_distances, "),
    ("run quick -p lr 1e-3 -p 04_mcts.beta 2", "04_mcts: beta is 2: Input should be less than 1"),
    ("run quick --seeds 0", "--seeds is 0; it must be at least 1 and at most 1000"),
    ("report a", "{outputs}/a/04_mcts holds no finished 04_mcts; run notebooks/04_mcts.ipynb with run"),
    ("benchmark digits", "unknown benchmark 'digits' (did you mean 'digits-pooling'?); allowed: digits-"),
    ("benchmark cifar10-pooling", "unknown benchmark 'cifar10-pooling'"),
    ("benchmark digits-pooling --seeds 0", "seeds is 0; it must be at least 1 and at most 1000"),
    ("notebooks notebooks", "notebooks/01_pretrain.ipynb is there already; choose another folder"),
    (
        "benchmark digits-pooling -p width 3",
        "digits-pooling is made as the package's table was: width cannot",
    ),
    # names of runs
    ("run quick -p run ../x", f"01_pretrain: run is '../x': {PLAIN}"),
    ("run quick -p run a/../b", f"01_pretrain: run is 'a/../b': {PLAIN}"),
    ("run quick -p run /tmp/x", f"01_pretrain: run is '/tmp/x': {PLAIN}"),
    ("run quick --to 01 -p dataset 'folder:/no/set #2'", "01_pretrain: dataset is 'folder:/no/set #2': da"),
    ("run quick -p run .hidden", f"01_pretrain: run is '.hidden': {PLAIN}"),
    ("run quick -p run a/", f"01_pretrain: run is 'a/': {PLAIN}"),
    ("run quick -p run ''", f"01_pretrain: run is '': {PLAIN}"),
    ("run quick -p run 'a b'", f"01_pretrain: run is 'a b': {PLAIN}"),
    ("run quick -p run '<b>x</b>'", f"01_pretrain: run is '<b>x</b>': {PLAIN}"),
    ("run quick -p run '\"a\\nb\"'", f"01_pretrain: run is 'a\\nb': {PLAIN}"),
    ("run quick -p run naïve", f"01_pretrain: run is 'naïve': {PLAIN}"),
    (
        f"run quick -p run {LONG}",
        f"01_pretrain: run is '{LONG[:59]}... (302 letters): should have at most 120",
    ),
    (
        f"run quick --from 02 -p source {LONG}",
        f"02_distances: source is '{LONG[:59]}... (302 letters): should",
    ),
    (
        "run quick -p run nest/01_pretrain",
        "01_pretrain: run is 'nest/01_pretrain': should not have the part 01_",
    ),
    ("run quick -p run nest/01_pretrain.old", "01_pretrain: run is 'nest/01_pretrain.old': should not have"),
    (
        "run quick -p run 04_mcts.attempt-1",
        "01_pretrain: run is '04_mcts.attempt-1': should not have the part",
    ),
    (
        "run quick -p run x/retrain-a-1",
        "01_pretrain: run is 'x/retrain-a-1': should not have the part retrain-a",
    ),
    (
        "run quick -p run x/report.html",
        "01_pretrain: run is 'x/report.html': should not have the part report.",
    ),
    (
        "run quick -p run simulate.csv",
        "01_pretrain: run is 'simulate.csv': should not have the part simulate.",
    ),
    (f"report {LONG}", f"run is '{LONG[:59]}... (302 letters): should have at most 120 letters"),
    ("report ../x", f"run is '../x': {PLAIN}"),
    ("verify ../x", f"run is '../x': {PLAIN}"),
    ("verify none", "{outputs}/none holds no finished notebook"),
    (f"export {LONG} x.onnx", f"run is '{LONG[:59]}... (302 letters): should have at most 120 letters"),
    ("export none x.onnx", "{outputs}/none/04_mcts holds no finished 04_mcts; run notebooks/04_mcts.ipynb"),
    ("export none x.txt", "x.txt ends in '.txt'; allowed: .pt2, .onnx"),
    (f"retrain {LONG}", f"run is '{LONG[:59]}... (302 letters): should have at most 120 letters"),
    # profiles and sweep files
    (f"run {LONG}", "unknown profile 'nnnn"),
    ("run {own}", "{own}/notes.yaml: there is no notebook notes; allowed: 01_pretrain"),
    ("run {own}/empty", "profile folder {own}/empty holds no <notebook>.yaml"),
    ("run {own}/latin", "cannot read {own}/latin/01_pretrain.yaml: 'utf-8' codec can't decode byte 0xe9"),
    ("run {own}/folder", "cannot read {own}/folder/01_pretrain.yaml: Is a directory"),
    ("run {own}/cut", "{own}/cut/01_pretrain.yaml is not YAML: while parsing a flow sequence"),
    ("run {own}/deep", "{own}/deep/01_pretrain.yaml is not YAML: it is nested too deep"),
    ("run {own}/list", "{own}/list/01_pretrain.yaml must hold name: value lines"),
    ("run {own}/nothing", "{own}/nothing/01_pretrain.yaml is not YAML: unacceptable character"),
    ("sweep {own}/none.yaml", "cannot read {own}/none.yaml: No such file or directory"),
    ("sweep {own}", "cannot read {own}: Is a directory"),
    (f"sweep {LONG}.yaml", f"cannot read {LONG}.yaml: File name too long"),
    ("sweep {own}/latin/01_pretrain.yaml", "cannot read {own}/latin/01_pretrain.yaml: 'utf-8' codec"),
    # the command itself
    ("", "the following arguments are required: command (hnas --help says more)"),
    ("runn quick", "argument command: invalid choice: 'runn' (choose from"),
    ("run", "the following arguments are required: profile (hnas run --help says more)"),
    ("run quick -p lr", "argument -p: expected 2 arguments (hnas run --help says more)"),
    ("run quick --seeds many", "argument --seeds: invalid int value: 'many'"),
    ("run quick --seeds 1000000000", "--seeds is 1000000000; it must be at least 1 and at most 1000"),
    ("run quick --wat", "unrecognized arguments: --wat"),
    ("run quick --from 9", "--from 9: there is no such notebook; allowed: 01_pretrain"),
    # values of parameters
    ("run quick -p lr fast", "01_pretrain: lr is 'fast': Input should be a valid number"),
    ("run quick -p lr .nan", "01_pretrain: lr is nan: Input should be a finite number"),
    ("run quick -p lr -1", "01_pretrain: lr is -1: Input should be greater than 0"),
    ("run quick -p lr ''", "01_pretrain: lr is '': Input should be a valid number"),
    ("run quick -p lr 1,5", "01_pretrain: lr is '1,5': Input should be a valid number"),
    ("run quick -p epochs 2.5", "01_pretrain: epochs is 2.5: Input should be a valid integer"),
    ("run quick -p lr 010", "01_pretrain: lr is '010': Input should be a valid number"),
    ("run quick -p epochs 010", "01_pretrain: epochs is '010': Input should be a valid integer"),
    ("run quick -p epochs yes", "01_pretrain: epochs is 'yes': Input should be a valid integer"),
    ("run quick -p epochs true", "01_pretrain: epochs is True: Input should be a valid integer"),
    ("run quick -p seed -1", "01_pretrain: seed is -1: Input should be greater than or equal to 0"),
    ("run quick -p epochs 1000000000000", "01_pretrain: epochs is 1000000000000: Input should be less than"),
    ("run quick -p pool 1000000000", "06_imagenet: pool is 1000000000: Input should be less than or equal"),
    ("run quick -p width 100000", "01_pretrain: width is 100000: Input should be less than or equal to 4096"),
    ("run quick -p sampler mctz", "04_mcts: sampler is 'mctz': Input should be "),
    ("run quick -p sampler uniform -p tree learned", "04_mcts: "),
    (
        "run quick -p compare '[{{label: \"<b>\", sampler: mcts, tree: learned}}]'",
        "04_mcts: compare[0].label is '<b>':",
    ),
    (
        "run quick -p lr '!!python/object/apply:os.getcwd []'",
        "-p lr: '!!python/object/apply:os.getcwd []' is not YAML",
    ),
    ("run quick -p wdith 3", "unknown parameter wdith (did you mean width?)"),
    ("run quick -p 05_ablations.width 3", "unknown parameter width"),
    ("run quick -p low 300", "06_imagenet: low is 300.0 and high 280.0; low must not be above high"),
    # data, together with what is asked of them
    (
        "run quick -p dataset digitz --to 01",
        "01_pretrain: dataset is 'digitz': unknown data set 'digitz' (did you mean 'digits'?); allowed: ",
    ),
    ("run quick -p dataset folder:{own}/none --to 01", "01_pretrain: dataset is 'folder:{own}/none': "),
    (
        "run quick -p dataset folder:{own}/cut --to 01",
        "01_pretrain: dataset is 'folder:{own}/cut': {own}/cut must hold",
    ),
    (
        "run quick -p dataset folder:{own}/cut.tar --to 01",
        "01_pretrain: dataset is 'folder:{own}/cut.tar': {own}/cut.tar",
    ),
    (
        "run quick -p dataset folder:{own}/broken --to 01",
        "01_pretrain: dataset is 'folder:{own}/broken': {own}/broken",
    ),
    (
        "run quick -p dataset imagefolder:{own} --to 01",
        "01_pretrain: dataset is 'imagefolder:{own}': {own} must",
    ),
    (
        "run quick -p dataset cifar10_jpeg --to 01",
        "01_pretrain: dataset is 'cifar10_jpeg': data set cifar10_jpeg is not",
    ),
    (
        f"{DIGITS} -p batch_size 451",
        "01_pretrain: batch_size is 451; data set digits has 450 images to train on",
    ),
    (f"{DIGITS} -p scored 451", "01_pretrain: scored is 451; data set digits has 450 images to validate on"),
    (
        "run quick -p dataset digits --to 02 -p images 451",
        "02_distances: images is 451; data set digits has 450",
    ),
    (
        "run quick -p dataset digits --to 05 -p 05_ablations.scored 451",
        "05_ablations: scored is 451; data set digits",
    ),
    (
        "run {own}/six -p dataset digits -p tested 898",
        "06_imagenet: tested is 898; data set digits has 897 images to test",
    ),
    (
        "run {own}/six -p image_size 32 -p batch_size 1",
        "06_imagenet: batch_size is 1: at 32 pixels the mobile network's",
    ),
    (
        "run {own}/six -p image_size 32 -p batch_size 8 -p parts 8",
        "06_imagenet: batch_size is 8: at 32 pixels the",
    ),
    (
        f"retrain --space mobile --arch {','.join(['12'] * 21)} --dataset digits -p batch_size 1 "
        "-p image_size 32",
        "retrain: batch_size is 1: at 32 pixels the mobile network's last features",
    ),
    (
        "run quick -p dataset folder:{own}/images --to 01",
        "01_pretrain: dataset is 'folder:{own}/images': data set",
    ),
    (
        "benchmark digits-macro -p batch_size 901",
        "batch_size is 901; data set digits has 900 images to train on",
    ),
    ("benchmark digits-mobile", "the mobile space has 1.149e+23 architectures, too many to list"),
    # what is given twice, empty, in a place of something else
    ("run quick --seeds 2 -p seed 5", "seed is given twice: --seeds says the seed of each run"),
    ("run quick --seeds 2 -p 04_mcts.seed 5", "04_mcts.seed is given twice: --seeds says the seed of each"),
    ("retrain --space pooling --arch [4,3,3] -p architecture [8,1,1]", "architecture is given twice"),
    ("simulate --seeds 2 -p seeds 3", "seeds is given twice"),
    ("simulate readings --steps 0", "simulate readings goes through all of them: it takes --seeds"),
    ("run quick -p '' 3", "unknown parameter '' (allowed: batch_size, "),
    ("run quick -p ' epochs' 3", "unknown parameter ' epochs' (did you mean epochs?)"),
    ("run quick --from ''", "--from '': there is no such notebook; allowed: 01_pretrain"),
    ("notebooks ''", "argument folder: it is empty (hnas notebooks --help says more)"),
    ("course ''", "argument folder: it is empty"),
    ("export none ''", "argument file: it is empty"),
    ("sweep ''", "argument file: it is empty"),
    ("sweep x.yaml --scheduler ''", "argument --scheduler: it is empty"),
    ("benchmark digits-pooling --out ''", "argument --out: it is empty"),
    (f"notebooks {LONG}", f"{LONG}: File name too long"),
    (f"course {LONG}", f"{LONG}: File name too long"),
    ("notebooks {own}/notes.yaml", "{own}/notes.yaml is no folder; choose another"),
    ("run quick -p threads 1025", "01_pretrain: threads is 1025: Input should be less than or equal to 1024"),
    (
        "run quick -p workers 1025",
        "05_ablations: workers is 1025: Input should be less than or equal to 1024",
    ),
    # what is read and not there
    ("run quick --from 02", "{outputs}/quick/01_pretrain holds no finished 01_pretrain"),
    ("run quick --from 04 -p source none", "{outputs}/none/03_tree holds no finished 03_tree"),
    (
        "run quick -p run x -p source quick -p dataset digits --from 04 --to 04",
        "{outputs}/quick/03_tree holds no finished 03_tree; run notebooks/03_tree.ipynb with run: quick",
    ),
    (
        "run quick --from 05 --to 05 -p runs none",
        "05_ablations: runs is 'none', which has no table of a finished sweep",
    ),
]


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Path:
    """Profiles and images with mistakes in them."""
    folder = tmp_path_factory.mktemp("own")
    contents = {
        "notes.yaml": b"a: 1",
        "latin/01_pretrain.yaml": "# é\n".encode("latin-1"),
        "cut/01_pretrain.yaml": b"epochs: [1",
        "deep/01_pretrain.yaml": b"epochs: " + b"[" * 3000,
        "list/01_pretrain.yaml": b"- epochs",
        "nothing/01_pretrain.yaml": bytes(9),
        "six/06_imagenet.yaml": b"epochs: 1",
        "broken/train/a/1.png": b"x",
    }
    for name, content in contents.items():
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_bytes(content)
    for name in ("empty", "folder/01_pretrain.yaml"):
        (folder / name).mkdir(parents=True)
    images = folder / "images"
    for part in ("train", "test"):
        (images / part / "a").mkdir(parents=True)
        for i in range(4):
            Image.fromarray(np.full((16, 16), i, np.uint8)).save(images / part / "a" / f"{i}.png")
    whole = shutil.make_archive(str(folder / "whole"), "tar", images)
    with tarfile.open(whole) as archive:
        end = archive.getmembers()[-1].offset
    (folder / "cut.tar").write_bytes(
        Path(whole).read_bytes()[:end]
    )  # at the end of the member before the last
    return folder


@pytest.fixture
def empty(tmp_path, monkeypatch):
    monkeypatch.setenv("HNAS_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("HNAS_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("HNAS_DEVICE", "cpu")
    monkeypatch.delenv("HNAS_REFERENCE", raising=False)
    monkeypatch.chdir(ROOT)
    return tmp_path / "outputs"


@pytest.mark.parametrize(("command", "said"), MISTAKES, ids=[str(i) for i in range(len(MISTAKES))])
def test_a_mistake_ends_in_one_line_before_anything_starts(empty, own, capsys, command, said):
    where = {"own": own, "outputs": empty}
    status = cli.main(shlex.split(command.format(**where)))
    out, err = capsys.readouterr()
    assert err.startswith(f"hnas: {said.format(**where)}"), err
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert not empty.exists()


def test_an_archive_that_was_cut_short_at_the_end_of_a_member_is_refused(empty, own, capsys):
    assert cli.main(["run", "quick", "--to", "01", "-p", "dataset", f"folder:{own / 'cut.tar'}"]) == 2
    assert "(it was cut short: its end is not marked)" in capsys.readouterr().err


TEXTS = st.one_of(
    st.text(max_size=40),
    st.text("0123456789.eE+-_:,[]{}!&*#'\"\\ \n\t~<>|%@`", max_size=12),
    st.sampled_from(["1e3", "0x10", "1_000", "on", "null", "~", "2020-01-01", "=", "<<", "!!int a", "&a *a"]),
)
NAMES = sorted({name for cls in NOTEBOOKS.values() for name in cls.model_fields})


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(NAMES), TEXTS)
@example("lr", "!!python/object/apply:os.system [ls]")
@example("run", "2024")
@example("plugins", "~0")
@example("dataset", "folder:~0")
@example("compare", "[{label: a, sampler: mcts, tree: learned, beta: {}}]")
@example("compare", "{a: &x [*x]}")
@example("methods", "[[]]")
@example("low", "9" * 5000)
@example("seed", "\ud800")
def test_any_text_given_to_a_parameter_ends_in_a_value_or_in_one_line(name, text):
    profile, line = profiles.load_profile(ROOT / "params" / "quick"), ""
    try:
        changed = profiles.override(profile, {name: commands._value(name, text)})
        params, _ = profiles.checked(changed)
    except HnasError as error:
        line, status = str(error), error.status
    if line:
        assert (line.count("Traceback"), status) == (0, 2)
    else:
        owner = next(p for p in params.values() if name in type(p).model_fields)
        assert owner.model_dump_json()


def hnas(*arguments, **environment):
    command = [sys.executable, "-m", "hnas_kit.cli", *arguments]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=clean_environment() | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_a_reader_that_goes_away_ends_a_command_without_a_word():
    process = hnas("parameters")
    process.stdout.close()  # before it has begun
    assert process.stderr.read() == b""
    assert process.wait() == 141


def test_ctrl_c_is_one_line(monkeypatch, capsys, empty):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(profiles, "load_profile", stop)
    assert cli.main(["run", "quick"]) == 130
    assert capsys.readouterr() == ("", "hnas: stopped; the same command goes on from here\n")


def test_what_keeps_nothing_does_not_say_that_it_goes_on(monkeypatch, capsys, empty):
    def stop(*args, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(readings, "run", stop)
    monkeypatch.setattr(forests, "run", stop)
    monkeypatch.setattr(beyond, "run", stop)
    monkeypatch.setattr(study, "setting", stop)
    for command in ("simulate readings", "simulate trees", "simulate beyond", "simulate"):
        assert cli.main(command.split()) == 130
        assert capsys.readouterr().err == "hnas: stopped; the same command starts anew\n"


def test_memory_that_does_not_suffice_is_one_line(monkeypatch, capsys, empty):
    def take(*args, **settings):
        raise MemoryError("Unable to allocate 9 TiB")

    monkeypatch.setattr(study, "run", take)
    assert cli.main(["simulate", "-p", "space", "pooling"]) == 1
    assert capsys.readouterr() == ("", "hnas: memory does not suffice (Unable to allocate 9 TiB)\n")


@pytest.mark.parametrize("what", ["readings", "trees", "beyond", "simulate"])
def test_a_table_that_cannot_be_written_is_told_before_anything_is_simulated(
    tmp_path, monkeypatch, capsys, what
):
    monkeypatch.setenv("HNAS_OUTPUTS", str(tmp_path))
    (tmp_path / f"{what}.csv").mkdir()
    monkeypatch.setattr(study, "run", None)
    assert cli.main(["simulate", *([what] if what != "simulate" else [])]) == 2
    assert f"cannot write {tmp_path / what}.csv: it is a folder" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["readings", "trees", "beyond", "methods"])
def test_what_does_not_fit_in_memory_is_told_before_anything_is_simulated(empty, monkeypatch, capsys, what):
    monkeypatch.setattr(study, "simulate", None)
    monkeypatch.setattr(parallel, "memory", lambda: 10**9)
    assert cli.main(["simulate", what, "--seeds", "100000"]) == 2
    line = capsys.readouterr().err
    assert "GB of memory, and there are 1.0: one of them must be lower" in line
    assert line.startswith("hnas: seeds 100000, steps ")
    assert line.count("\n") == 1


def test_signs_that_a_terminal_lacks_do_not_end_a_command(tmp_path):
    folder = shutil.copytree(ROOT / "params" / "quick", tmp_path / "λ")
    (folder / "01_pretrain.yaml").write_text("# λ is a comment\nepoch: 3\n", encoding="utf-8")
    for environment in ({"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}):
        process = hnas("run", str(folder), **environment)
        out, err = process.communicate()
        assert (process.returncode, out, err.count(b"\n")) == (2, b"", 1)
        assert err.startswith(b"hnas: 01_pretrain: unknown parameter epoch")


@pytest.mark.parametrize("size", ["many", "0", "-1", "1.5"])
def test_a_number_of_processes_that_is_none_is_one_line(monkeypatch, capsys, empty, size):
    monkeypatch.setenv("WORLD_SIZE", size)
    assert cli.main(["run", "quick"]) == 2
    line = f"hnas: WORLD_SIZE is {size!r}; it must be the number of processes of a launcher, or unset\n"
    assert capsys.readouterr() == ("", line)


@pytest.mark.parametrize("place", [{}, {"MASTER_ADDR": "", "MASTER_PORT": "x"}])
def test_processes_that_cannot_meet_are_one_line(monkeypatch, capsys, empty, place):
    for name in ("MASTER_ADDR", "MASTER_PORT", "RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"WORLD_SIZE": "2", **place}.items():
        monkeypatch.setenv(name, value)
    assert cli.main(["run", "quick"]) == 2
    out, err = capsys.readouterr()
    assert err.startswith("hnas: the 2 processes cannot meet: MASTER_ADDR is '' and MASTER_PORT ")
    assert (out, err.count("\n")) == ("", 1)


def test_results_do_not_go_into_a_file(monkeypatch, capsys, empty, own):
    monkeypatch.setenv("HNAS_OUTPUTS", str(own / "notes.yaml"))
    for command in ("run quick --dry-run", "simulate --seeds 1 --steps 10", "verify quick"):
        assert cli.main(command.split()) == 2
        assert "notes.yaml, which is a file; name a folder" in capsys.readouterr().err


def test_a_working_folder_that_is_gone_is_one_line(monkeypatch, capsys, tmp_path):
    (folder := tmp_path / "gone").mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    assert cli.main(["run", "quick", "--dry-run"]) == 2
    assert capsys.readouterr() == ("", "hnas: the working folder is not there any more; change to another\n")


def test_windows_is_told_what_to_use(monkeypatch, capsys):
    monkeypatch.setattr("platform.system", lambda: "Windows")
    assert cli.main(["run", "quick"]) == 2
    assert "on Windows use the Windows Subsystem for Linux" in capsys.readouterr().err

"""What goes wrong from outside: killed runs, full disks, missing data, damaged files.

A killed run goes on to the same bits. Everything else ends in one line, and an earlier result stays.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from common import clean_environment

from hnas_kit import cli, spaces, trees
from hnas_kit.errors import HnasError
from hnas_kit.files import sha256
from hnas_kit.runs import Stage, notebook
from hnas_kit.runs.params import NOTEBOOKS
from hnas_kit.runs.profiles import load_profile, override

ROOT = Path(__file__).resolve().parents[1]
TINY = {"dataset": "digits", "epochs": 2, "batch_size": 32, "width": 2, "run": "tiny", "device": "cpu"}
LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
from hnas_kit.cli import main
sys.exit(main(sys.argv[2:]))
"""
KERNEL_IS_SLOW = "IOStream.flush timed out\n"  # ipykernel's own, after 10 s on a machine that does much else
# 28 or more checkpoints, to be killed among them; in 04 half of them are of a second loop
LONG = {
    "01_pretrain": {"epochs": 30, "checkpoint_every": 15},
    "04_mcts": {"epochs": 10, "checkpoint_every": 10, "compare": "[default]"},
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the notebooks and parameters, with one more profile that has the first notebook only."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("notebooks", "params"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "params" / "quick" / "05_ablations.yaml").unlink()  # it has no loop of its own to be killed in
    (folder / "params" / "quick" / "06_imagenet.yaml").unlink()  # killed in test_studies_imagenet.py
    (folder / "params" / "pretrain").mkdir()
    shutil.copy(folder / "params/quick/01_pretrain.yaml", folder / "params/pretrain")
    return folder


def finish(outputs, last):
    """Make the run ``tiny`` up to a notebook, with small artefacts, without training; its folder."""
    space = spaces.make_space("pooling")
    archs = space.enumerate()
    names = [space.format(arch) for arch in archs]
    distances = np.abs(np.subtract.outer(*[np.random.default_rng(0).random(36)] * 2))
    artefacts = {
        "01_pretrain": {"supernet.pt": {}, "ranking.csv": pd.DataFrame({"supernet": np.arange(36.0)}, names)},
        "02_distances": {"distances.npz": {"distances": distances, "archs": np.array(archs)}},
        "03_tree": {
            "tree.npz": trees.learned(distances, archs),
            "accuracy.npz": trees.accuracy(np.arange(36), archs),
        },
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HNAS_OUTPUTS", str(outputs))
        patch.setenv("HNAS_DEVICE", "cpu")
        for notebook, values in override(load_profile(ROOT / "params" / "quick"), TINY).items():
            if notebook <= last:
                stage = Stage(NOTEBOOKS[notebook].checked(values, notebook))
                for name, value in artefacts[notebook].items():
                    stage.save(name, value)
                stage.finish(f"made for {notebook}", cophenetic_correlation=0.5)
    return outputs / "tiny"


def start(project, outputs, first, limit=None, **values):
    """Start ``hnas run`` from a notebook on, in a session of its own; ``01`` runs no other."""
    profile, more = ("pretrain", {}) if first == "01" else ("quick", {"simulated": 2})
    options = [part for name, value in (TINY | more | values).items() for part in ("-p", name, str(value))]
    how = ["-m", "hnas_kit.cli"] if limit is None else ["-c", LIMITED, str(limit)]
    own = {"HNAS_OUTPUTS": str(outputs), "HNAS_QUIET": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *how, "run", profile, "--from", first, *options],
        cwd=project,
        env=clean_environment() | own,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def kill(process):
    """SIGKILL to a run and its kernel, which is in another session; what was printed."""
    with contextlib.suppress(psutil.NoSuchProcess):
        whole = psutil.Process(process.pid)
        for part in [whole, *whole.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                part.kill()
    return process.communicate()


def end(process):
    """Its exit status and what it printed."""
    try:
        out, err = process.communicate(timeout=300)
    finally:
        kill(process)
    return process.returncode, out, err.replace(KERNEL_IS_SLOW, "")


def failure(*args, **values):
    """The one line that a run ends with."""
    ended, out, err = end(start(*args, **values))
    assert ended == 1
    assert out.endswith(" failed\n")
    assert err.startswith("hnas: ")
    assert err.count("\n") == 1
    return err.removeprefix("hnas: ").strip()


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def artefacts(outputs, notebook):
    """Checksums of all files of a finished notebook but the manifest, which has times."""
    files = contents(outputs / "tiny" / notebook)
    assert json.loads(files.pop("manifest.json"))["status"] == "done"
    return {name: sha256(data) for name, data in files.items()}


@pytest.fixture(scope="module")
def undisturbed(project, tmp_path_factory):
    """What a long run of a notebook makes if nothing happens to it."""
    made = {}

    def run(notebook):
        if notebook not in made:
            outputs = tmp_path_factory.mktemp("undisturbed")
            begin(project, outputs, notebook)
            status, _, err = end(start(project, outputs, notebook[:2], **LONG[notebook]))
            assert (status, err) == (0, "")
            made[notebook] = artefacts(outputs, notebook)
        return made[notebook]

    return run


def begin(project, outputs, notebook):
    if notebook != "01_pretrain":
        finish(outputs, "03_tree")


def checkpoints(outputs, notebook):
    """Of each loop the steps that there are checkpoints of, newest first."""
    found = {}
    for path in outputs.glob(f"tiny/{notebook}.attempt-*/checkpoints/*/step-*.pt"):
        found.setdefault(path.parent, []).append((int(path.name.split("-")[1]), path))
    return {folder.name: sorted(steps, reverse=True) for folder, steps in found.items()}


def kill_in_training(project, outputs, notebook, after, delay):
    """Start a run and kill it some seconds after its first so many new checkpoints; whether it was training.

    Of the checkpoints only the newest of each loop is left for it: one that does not go on from there
    would soon write one of an earlier step.
    """
    before = checkpoints(outputs, notebook)
    for _, *older in before.values():
        for _, path in older:
            path.unlink()
    newest = {loop: steps[0][0] for loop, steps in before.items()}
    goal = sum(newest.values()) + after * LONG[notebook]["checkpoint_every"]
    process = start(project, outputs, notebook[:2], **LONG[notebook])
    try:
        while process.poll() is None:
            now = checkpoints(outputs, notebook)
            for loop, steps in now.items():
                assert steps[-1][0] >= newest.get(loop, 0), f"{loop} began again"
            if sum(steps[0][0] for steps in now.values()) >= goal:
                time.sleep(delay)
                break
            time.sleep(0.01)
    finally:
        running = process.poll() is None
        output = kill(process)
    if not running:
        print("ended before it was killed:", *output)
    return running and bool(checkpoints(outputs, notebook)) and not (outputs / "tiny" / notebook).exists()


@pytest.mark.slow
def test_a_run_killed_three_times_ends_with_the_same_bits(project, undisturbed, tmp_path):
    notebook = "04_mcts"  # 01 is killed below, once
    seed = random.randrange(2**32)
    print(f"{notebook}: moments of the kills from seed {seed}")
    moments = random.Random(seed)
    begin(project, tmp_path, notebook)
    for _ in range(3):
        when = {"after": moments.randint(3, 9), "delay": moments.uniform(0, 0.05)}
        assert kill_in_training(project, tmp_path, notebook, **when)
        steps = {loop: newest[0] for loop, (newest, *_) in checkpoints(tmp_path, notebook).items()}
        print(f"killed {when}; saved up to steps {steps}")
    status, out, err = end(start(project, tmp_path, notebook[:2], **LONG[notebook]))
    assert (status, err) == (0, ""), out
    assert artefacts(tmp_path, notebook) == undisturbed(notebook)
    assert not list((tmp_path / "tiny").glob("*.attempt-*"))


@pytest.mark.slow
def test_a_damaged_checkpoint_falls_back_to_the_one_before(project, undisturbed, tmp_path):
    assert kill_in_training(project, tmp_path, "01_pretrain", after=3, delay=0)
    (_, newest), (_, older) = checkpoints(tmp_path, "01_pretrain")["pretrain"]
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    status, out, err = end(start(project, tmp_path, "01", **LONG["01_pretrain"]))
    assert (status, err) == (0, ""), out
    cells = nbformat.read(tmp_path / "tiny" / "01_pretrain.ipynb", as_version=4).cells
    printed = "".join(o.get("text", "") for c in cells for o in c.get("outputs", []))
    assert f"checkpoint {newest} is corrupt; falling back to the one before it" in printed
    assert str(older) not in printed
    assert artefacts(tmp_path, "01_pretrain") == undisturbed("01_pretrain")


@pytest.mark.slow
def test_a_kernel_that_dies_is_one_line(project, tmp_path):
    """As one does that takes too much memory."""
    process = start(project, tmp_path, "01", **LONG["01_pretrain"])
    try:
        while process.poll() is None and not checkpoints(tmp_path, "01_pretrain"):
            time.sleep(0.05)
        (kernel,) = psutil.Process(process.pid).children()
        kernel.kill()
    except BaseException:
        kill(process)
        raise
    status, out, err = end(process)
    assert status == 1
    assert re.fullmatch("01_pretrain +begins\n01_pretrain +[0-9]+ s failed\n", out)
    assert "Traceback" not in err  # nbclient says that the kernel died, too
    assert err.splitlines()[-1].startswith(
        "hnas: 01_pretrain: its process died, perhaps for want of memory; "
    )


@pytest.mark.slow
def test_a_loss_that_is_not_finite_names_step_and_architecture(project, tmp_path):
    folder = finish(tmp_path, "01_pretrain")
    before = contents(folder)
    line = failure(project, tmp_path, "01", lr="1.0e+30", checkpoint_every=1)
    assert re.match(
        r"01_pretrain, cell \d+: the loss is not finite at step \d+, architecture \((\d, ){8}\d\); "
        r"lower the learning rate \(lr is 1e\+30\)",
        line,
    )
    (path,) = folder.glob("01_pretrain.attempt-*/manifest.json")
    manifest = json.loads(path.read_text())
    assert manifest["status"] == "failed"
    assert line.startswith(f"01_pretrain, cell {manifest['cell']}: ")
    assert manifest["error"].removeprefix("Failure: ") in line
    assert before.items() <= contents(folder).items()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "refused"),
    [(400_000, r"01_pretrain\.attempt-.*/step-\d+-\w+\.pt"), (50_000, r"01_pretrain\.ipynb")],
    ids=["checkpoint", "executed notebook"],
)
def test_a_full_disk_is_one_line_and_an_earlier_result_stays(project, tmp_path, limit, refused):
    """Files may not grow beyond a limit: too little for a checkpoint, or even for the executed notebook."""
    folder = finish(tmp_path, "01_pretrain")
    before = contents(folder)
    line = failure(project, tmp_path, "01", limit=limit, width=8, checkpoint_every=5)
    assert re.search(rf"cannot write {folder}/{refused}: File too large; free space or choose another", line)
    assert before.items() <= contents(folder).items()
    assert not [name for name in contents(folder) if name.endswith(".tmp")]


@pytest.mark.slow
def test_what_a_kernel_logs_at_its_end_is_not_printed(project, tmp_path, monkeypatch, capfd):
    """A kernel that is stopped in mid-cell may log that a socket has gone; the line says enough"""
    cell = "import logging\nlogging.getLogger('tornado.general').error('gone')\nraise ValueError('the cause')"
    copy = tmp_path / "project"
    shutil.copytree(project, copy)
    book = nbformat.read(copy / "notebooks/01_pretrain.ipynb", 4)
    first = [c for c in book.cells if "parameters" in c.metadata.get("tags", [])]
    book.cells = [*first, nbformat.v4.new_code_cell(cell)]
    nbformat.write(book, copy / "notebooks/01_pretrain.ipynb")
    monkeypatch.chdir(copy)
    monkeypatch.setenv("HNAS_OUTPUTS", str(tmp_path / "outputs"))
    with pytest.raises(HnasError, match=r"^01_pretrain, cell \d+: ValueError: the cause \(see "):
        notebook.execute("01_pretrain", "tiny", {})
    assert "gone" not in capfd.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("environment", [None, "cuda"])
def test_without_cuda_there_is_no_cuda_run(tmp_path, monkeypatch, capsys, environment):
    monkeypatch.setenv("HNAS_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("HNAS_DEVICE", environment or "")
    assert cli.main(["run", "quick", "-p", "device", "cpu" if environment else "cuda"]) == 2
    line = "hnas: device is cuda, but PyTorch finds no CUDA device here; use device: cpu or auto\n"
    assert capsys.readouterr() == ("", line)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_what_is_read_but_corrupt_names_the_notebook_to_run(project, tmp_path):
    folder = finish(tmp_path, "02_distances")
    (folder / "02_distances" / "distances.npz").write_bytes(b"PK")
    before = contents(folder)
    line = failure(project, tmp_path, "03")
    assert re.match(r"03_tree, cell \d: ", line)
    assert f": {folder}/02_distances/distances.npz is corrupt or not" in line
    assert f"; run notebooks/02_distances.ipynb with run: tiny (see {folder}/03_tree.attempt.ipynb)" in line
    assert contents(folder).keys() - before.keys() == {"03_tree.attempt.ipynb"}

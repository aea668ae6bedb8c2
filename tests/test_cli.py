"""The command line, and plain papermill beside it."""

from __future__ import annotations

import errno
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import papermill
import pytest
import torch
from common import FOUR, SIX, SMALL, TINY, call, options
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError
from PIL import Image

from hnas_kit import benchmarks, cli, data
from hnas_kit.files import read_csv
from hnas_kit.runs import Finished, Stage, execution, meanings
from hnas_kit.runs.params import NOTEBOOKS
from hnas_kit.training.problem import Problem

ROOT = Path(__file__).resolve().parents[1]


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def tiny(tiny_run, tmp_path, monkeypatch):
    """A copy of that folder; its outputs are those of this process."""
    folder = shutil.copytree(tiny_run[0], tmp_path / "elsewhere")
    monkeypatch.setenv("HNAS_OUTPUTS", str(folder / "outputs"))
    monkeypatch.delenv("HNAS_DEVICE", raising=False)
    return folder


@pytest.fixture
def four(tiny):
    """A profile with notebooks 01 to 04 in that folder."""
    shutil.copytree(ROOT / "params" / "quick", tiny / "four", ignore=shutil.ignore_patterns("0[56]*"))
    return tiny


@pytest.fixture
def executed(monkeypatch):
    """The notebooks that are run; none is really, but each has its result made again."""
    names = []

    def execute(notebook, run, values):
        stage = Stage(NOTEBOOKS[notebook].checked(values, notebook))
        for name in Finished("tiny", notebook).outputs:
            if not name.endswith(".png"):
                stage.save(name, Finished("tiny", notebook).load(name))
        stage.finish(f"{notebook} once more", **Finished("tiny", notebook).manifest["figures"])
        names.append(notebook)

    monkeypatch.setattr(execution, "execute", execute)
    monkeypatch.setattr(execution, "cores", lambda: 1)  # all in this process
    return names


@pytest.mark.slow
def test_a_run_prints_a_line_a_notebook_and_makes_the_report(tiny_run):
    folder, result = tiny_run
    assert (result.returncode, result.stderr) == (0, "")
    *lines, last = result.stdout.splitlines()
    said, lines = lines[: -2 * len(NOTEBOOKS)], lines[-2 * len(NOTEBOOKS) :]
    assert {line.split()[0] for line in lines if line.endswith("begins")} == set(NOTEBOOKS)
    lines = sorted(line for line in lines if not line.endswith("begins"))
    assert (
        "epochs 2: sets 01_pretrain, 04_mcts, 05_ablations, 06_imagenet; -p NOTEBOOK.epochs sets one" in said
    )
    assert all(re.fullmatch(r"\w+ \S+: sets \w+(, \w+)+; -p NOTEBOOK\.\w+ sets one", line) for line in said)
    assert not [line for line in said if line.split()[0] in ("run", "seed", "device")]
    assert [line.split()[0] for line in lines] == list(NOTEBOOKS)
    for line, notebook in zip(lines, NOTEBOOKS, strict=True):
        part = folder / "outputs" / "tiny" / notebook
        assert re.fullmatch(rf"{notebook} +\d+ s \S.*", line)
        assert (part / "manifest.json").exists()
        assert nbformat.read(part.with_suffix(".ipynb"), as_version=4).metadata.papermill.exception is None
    assert re.fullmatch(r"learned found \[\d,\d,\d\], .*; report: outputs/tiny/report.html", last)
    assert "learned found" in (folder / "outputs" / "tiny" / "report.html").read_text()
    assert [path.name for path in folder.iterdir()] == ["outputs"]


@pytest.mark.slow
def test_what_is_up_to_date_is_not_run_again(tiny, executed, capsys):
    before = times(tiny / "outputs" / "tiny")
    assert cli.main(["run", "quick", *TINY]) == 0
    lines = capsys.readouterr().out.splitlines()[:-1][-len(NOTEBOOKS) :]
    assert [line.split()[0] for line in lines] == list(NOTEBOOKS)
    assert all("(up to date" in line for line in lines)
    assert executed == []
    changed = {
        path.name for path, time in times(tiny / "outputs" / "tiny").items() if before.get(path) != time
    }
    assert changed == {"report.html"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "rerun"),
    [
        ("-p device auto -p checkpoint_every 7", ""),
        ("-p beta 0.9", "04 06"),
        ("-p linkage average", "03 04 05 06"),
        ("-p images 16", "02 03 04 05 06"),
        ("-p width 3", "01 02 03 04 05 06"),
        ("--force", "01 02 03 04 05 06"),
        ("--force --from 03", "03 04 05 06"),
        ("--from 04_mcts -p images 16", "06"),
        ("--from 02 -p width 3", "06"),
        ("--force --to 02", "01 02"),
        ("--force --from 04 --to 05", "04 05"),
        ("-p low 277", "06"),
    ],
)
def test_only_what_depends_on_a_change_is_run_again(tiny, executed, monkeypatch, arguments, rerun):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert cli.main(["run", "quick", *TINY, *arguments.split()]) == 0
    assert [name[:2] for name in executed] == rerun.split()


@pytest.mark.slow
def test_what_was_found_is_exported(tiny, capfd):
    digits = data.load("digits")
    x, _ = digits.fixed(digits.test, limit=30)
    for name, notebook, method in (
        ("pooling", "", ""),
        ("pooling", "04_mcts", "default"),
        ("mobile", "06_imagenet", "uniform"),
    ):
        whose = [f"--method={method}", *([f"--notebook={notebook}"] if notebook else [])]
        assert cli.main(["export", "tiny", str(tiny / "net.pt2"), *whose]) == 0
        part, method = Finished("tiny", notebook or "04_mcts"), method or "learned"
        architecture = part.load("found.csv").loc[method, "architecture"]
        line = f"space {name}, architecture {architecture}, image_size 16, width 2, in_channels 1, "
        out = capfd.readouterr().out
        assert line in out
        assert "statistics BatchNorm's mean and variance are fixed, from 900 training images" in out
        program = torch.export.load(tiny / "net.pt2").module()
        with torch.no_grad():  # statistics of its own, of 900 training images
            torch.testing.assert_close(program(x[:1]), program(x)[:1], atol=1e-4, rtol=1e-4)
    assert cli.main(["export", "tiny", str(tiny / "net.pt2"), "--method", "randm"]) == 2
    assert cli.main(["export", "none", str(tiny / "net.pt2")]) == 2
    assert cli.main(["export", "tiny", str(tiny / "net.pth")]) == 2
    lines = capfd.readouterr().err.splitlines()
    assert [line[:6] for line in lines] == ["hnas: "] * 3
    assert "unknown method of tiny 'randm'" in lines[0]


@pytest.mark.slow
def test_a_search_is_judged_by_all_architectures_on_all_validation_images(tiny, capsys):
    assert cli.main(["judge", "tiny"]) == 0
    row = read_csv(tiny / "outputs" / "judges.csv").iloc[0]
    part, before = (Finished("tiny", name) for name in ("04_mcts", "01_pretrain"))
    problem, truth = Problem.of(before.params), benchmarks.load("digits-pooling")
    net = problem.supernet()
    net.load_state_dict(part.load("learned.pt")["net"])
    x, y = (
        part.tensor_split(2) for part in problem.dataset.fixed(problem.valid)
    )  # at most 1,024 images each
    archs = [problem.space.parse(text) for text in truth.index]
    with torch.no_grad():
        said = [torch.cat([net.eval()(images, arch).argmax(1) for images in x]) for arch in archs]
    right = [100 * float((given == torch.cat(y)).double().mean()) for given in said]
    ranking = before.load("ranking.csv")["supernet"]
    assert row["found"] == part.load("found.csv").loc["learned", "architecture"]
    assert row["all"] == pytest.approx(np.mean(right), abs=1e-3)
    assert row["all_before"] == pytest.approx(ranking.mean(), abs=1e-3)
    assert row["best"] == pytest.approx(np.mean(np.array(right)[truth["rank"] <= 10]), abs=1e-3)
    assert row["favourite_rank"] == truth.loc[row["favourite"], "rank"]
    assert cli.main(["judge", "tiny", "none"]) == 2  # nothing is asked before all are there
    out, err = capsys.readouterr()
    assert out.count("judges.csv") == 1
    assert err.startswith("hnas: ")
    assert "04_mcts" in err
    assert err.count("\n") == 1


@pytest.mark.slow
def test_a_changed_parameter_really_runs_the_rest(four):
    before = times(four)
    result = call(["hnas_kit.cli", "run", "four", *FOUR, "-p", "linkage", "average"], four)
    assert (result.returncode, result.stderr) == (0, "")
    current = [line.split()[0] for line in result.stdout.splitlines() if "(up to date" in line]
    assert current == ["01_pretrain", "02_distances"]
    changed = {path.parent.name for path, time in times(four).items() if before.get(path) != time}
    assert changed == {"tiny", "03_tree", "04_mcts"}  # the first has the executed notebooks and the report
    cells = nbformat.read(four / "outputs/tiny/03_tree.ipynb", 4).cells
    (cell,) = [c for c in cells if "injected-parameters" in c.metadata.get("tags", [])]
    assert 'linkage = "average"' in cell.source


@pytest.mark.slow
def test_a_window_of_macs_alone_has_a_report_and_an_empty_one_is_one_line(tiny):
    (tiny / "six").mkdir()
    shutil.copy(ROOT / "params" / "quick" / "06_imagenet.yaml", tiny / "six")
    outputs = tiny / "outputs" / "tiny"
    for path in [path for path in outputs.iterdir() if not path.name.startswith("06_imagenet")]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    result = call(["hnas_kit.cli", "run", "six", *SMALL, *SIX], tiny)
    assert (result.returncode, result.stderr) == (0, "")
    first, last = result.stdout.splitlines()  # one notebook: nothing is said of what a name sets
    found = r"learned found 27\d\.\d M MACs, \d+\.\d % in its supernet"
    found = re.fullmatch(rf"06_imagenet +({found}) \(up to date\)", first)[1]
    assert last == f"{found}; report: outputs/tiny/report.html"
    assert found in (outputs / "report.html").read_text()
    empty = options(run="empty", low=60.0, high=60.1)
    result = call(["hnas_kit.cli", "run", "six", *SMALL, *SIX, *empty], tiny)
    assert result.returncode == 1
    line = (
        "no architecture of the mobile space has between 60,000,000 and 60,100,000 MACs; nearest: 59,986,496"
    )
    assert result.stderr.startswith(f"hnas: 06_imagenet, cell 3: {line} and 60,710,336 (see ")
    assert result.stderr.count("\n") == 1
    assert [path.name for path in (tiny / "outputs" / "empty").iterdir()] == ["06_imagenet.attempt.ipynb"]


@pytest.mark.slow
def test_a_mixture_alone_is_searched_and_neither_simulated_nor_exported(four, capsys):
    method = options(sampler="mixture", tree="", compare="[]", retrain=1, retrain_epochs=1)
    result = call(["hnas_kit.cli", "run", "four", *FOUR, *method], four)
    assert result.stderr == ""
    assert re.search(r"(?m)^04_mcts +\d+ s mixture found \[\d,\d,\d\], true rank", result.stdout)
    part = Finished("tiny", "04_mcts")
    assert "simulated.png" not in part.outputs
    assert part.load("found.csv").loc["mixture", "retrained"] > 0
    assert cli.main(["export", "tiny", str(four / "net.pt2"), "--notebook", "04_mcts"]) == 2
    line = "hnas: mixture searched in several supernets, and a file holds one; name another method\n"
    assert capsys.readouterr().err == line


@pytest.mark.slow
def test_ones_own_images_have_no_ground_truth(tmp_path):
    """The profile up to 05, with images in a folder named relative to the working folder."""
    levels = np.random.default_rng(0).integers(0, 128, (48, 12, 12, 3), dtype=np.uint8)
    for i, pixels in enumerate(levels):
        path = (
            tmp_path / "photos" / ("test" if i < 8 else "train") / ("light" if i % 2 else "dark") / f"{i}.png"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels + np.uint8(128 * (i % 2))).save(path)
    values = options(dataset="folder:photos", run="own", batch_size=16, images=16, compare="[random]")
    environment = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    result = call(["hnas_kit.cli", "run", "quick", "--to", "05", *TINY, *values], tmp_path, **environment)
    assert (result.returncode, result.stderr) == (0, "")
    assert re.search(r"(?m)^04_mcts +\d+ s learned found \[\d,\d,\d\], no ground truth$", result.stdout)
    assert re.search(
        r"(?m)^05_ablations +left out: .* no ground truth of pooling on folder:photos", result.stdout
    )
    folder = tmp_path / "outputs" / "own"
    assert not [*folder.glob("*/ranking.png"), *folder.glob("*/visits.png")]
    assert (folder / "report.html").read_text().count("<td>no ground truth</td>") == 4


@pytest.mark.slow
def test_seeds_are_runs_of_their_own_with_a_table(tiny, executed, capsys):
    assert cli.main(["run", "quick", *TINY, "--seeds", "2"]) == 0
    assert executed == [*NOTEBOOKS, *NOTEBOOKS]
    assert [Finished(f"tiny-seed{seed}", "04_mcts").params["seed"] for seed in (0, 1)] == [0, 1]
    out = capsys.readouterr().out
    assert "best rank" in out
    assert re.search(r"(?m)^uniform +\[\d,\d,\d\] \[\d,\d,\d\] ", out)
    assert (tiny / "outputs" / "tiny-seed1" / "report.html").exists()
    assert cli.main(["run", "quick", *TINY, "--seeds", "1", "--to", "02", "--force"]) == 0
    assert executed[len(NOTEBOOKS) * 2 :] == list(NOTEBOOKS)[:2]
    assert "best rank" not in capsys.readouterr().out


@pytest.mark.slow
def test_a_result_of_other_code_is_kept_and_said_to_be(tiny, executed, monkeypatch, capsys):
    monkeypatch.setattr("hnas_kit.runs.folders.code_digest", lambda: "0" * 64)
    assert cli.main(["run", "quick", *TINY]) == 0
    assert executed == []
    note = "(up to date; made by other code, --force makes it anew)"
    assert capsys.readouterr().out.count(note) == len(NOTEBOOKS)


@pytest.mark.slow
def test_the_report_can_be_written_again(tiny, capsys):
    path = tiny / "outputs" / "tiny" / "report.html"
    path.unlink()
    assert cli.main(["report", "tiny"]) == 0
    assert capsys.readouterr().out == f"{path}\n"
    assert path.exists()


@pytest.mark.slow
def test_plain_papermill_runs_a_notebook_from_any_folder(tiny):
    parameters = options(
        run="other", source="tiny", epochs=2, batch_size=32, beta=0.8, device="cpu", simulated=2
    )
    arguments = [ROOT / "notebooks/04_mcts.ipynb", "out.ipynb", "-f", ROOT / "params/quick/04_mcts.yaml"]
    result = call(["papermill", *arguments, *parameters], tiny)
    assert result.returncode == 0, result.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HNAS_OUTPUTS", str(tiny / "outputs"))
        found = Finished("other", "04_mcts").params
    # the notebook's own cell has the first alone
    assert [found[name] for name in ("epochs", "batch_size", "beta", "source")] == [2, 32, 0.8, "tiny"]
    assert {path.name for path in tiny.iterdir()} == {"outputs", "out.ipynb"}


@pytest.mark.slow
def test_plain_papermill_refuses_a_misspelt_parameter(tmp_path):
    arguments = [
        ROOT / "notebooks/01_pretrain.ipynb",
        "out.ipynb",
        "-f",
        ROOT / "params/quick/01_pretrain.yaml",
    ]
    result = call(["papermill", *arguments, "-p", "epoch", "2"], tmp_path)
    line = "HnasError: notebook 01_pretrain: unknown parameter epoch (did you mean epochs?)"
    assert result.returncode == 1
    assert result.stderr.strip().endswith(line)
    assert [path.name for path in tmp_path.iterdir()] == ["out.ipynb"]
    outputs = [o for c in nbformat.read(tmp_path / "out.ipynb", 4).cells for o in c.get("outputs", [])]
    assert [o["traceback"] for o in outputs if o["output_type"] == "error"] == [[line]]


@pytest.fixture
def empty(tmp_path, monkeypatch):
    monkeypatch.setenv("HNAS_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.delenv("HNAS_DEVICE", raising=False)
    return tmp_path / "outputs"


def test_the_notebooks_of_a_profile_share_a_run(empty, tmp_path, capsys):
    folder = shutil.copytree(ROOT / "params" / "digits", tmp_path / "own")
    (folder / "03_tree.yaml").write_text("# of the default run\n")
    for arguments in ([], ["--seeds", "2"], ["--dry-run"]):
        assert cli.main(["run", str(folder), *arguments]) == 2
        line = "hnas: the notebooks of one profile share one run; found run: digits, quick\n"
        assert capsys.readouterr() == ("", line)
    assert not empty.exists()


HEAVY = {"torch", "numba", "numpy", "pandas", "scipy", "sklearn", "matplotlib", "papermill", "distributed"}


@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "run --help",
        "parameters",
        "run quick -p lr -1",
        "run quick -p epoch 3",
        "run quick -p sampler mctz",
        "run quick -p 06_imagenet.low -1",
        "run quick -p compare [lerned]",
        "run quick --seeds 0",
        "run slow",
        "simulate -p bonus square",
    ],
)
def test_what_computes_nothing_imports_nothing_that_computes(tmp_path, command):
    code = f"""
import sys
from hnas_kit import cli
try:
    cli.main({shlex.split(command)})
except SystemExit:
    pass
print(sorted({HEAVY} & sys.modules.keys()), file=sys.stderr)
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0
    assert result.stderr.splitlines()[-1] == "[]"


def test_the_parameters_of_a_notebook_or_of_all_are_printed(capsys):
    assert cli.main(["parameters", "04"]) == 0
    assert capsys.readouterr().out == f"{meanings.table('04_mcts')}\n"
    assert cli.main(["parameters", "simulate"]) == 0
    assert capsys.readouterr().out == f"{meanings.table('simulate')}\n"
    assert cli.main(["parameters"]) == 0
    assert capsys.readouterr().out == "\n\n".join(map(meanings.table, meanings.DESCRIBED)) + "\n"
    assert cli.main(["parameters", "7"]) == 2
    assert "parameters 7: there is no such notebook; allowed: 01_pretrain, " in capsys.readouterr().err


def test_a_dry_run_says_what_would_run_and_writes_nothing(empty, monkeypatch, capsys):
    monkeypatch.setattr(execution, "execute", None)
    changes = ["-p", "epochs", "3", "-p", "01_pretrain.lr", "1e-3", "-p", "images", "8"]
    assert cli.main(["run", "quick", *changes, "--dry-run", "--to", "02", "--seeds", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "run quick-seed0"
    assert lines[1:4] == [
        "01_pretrain   runs, time unknown: there is no result yet",
        "              epochs 3, lr 0.001",
        "02_distances  runs, time unknown: there is no result yet",
    ]
    assert lines[4:6] == ["              images 8", "run quick-seed1"]
    assert lines[7] == "              seed 1, epochs 3, lr 0.001"
    assert cli.main(["run", "quick", *changes, "--dry-run"]) == 0
    first, second, third, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("epochs 3: sets 01_pretrain, 04_mcts, ")
    assert second == "images 8: sets 02_distances, 06_imagenet; -p NOTEBOOK.images sets one"
    assert third == "run quick"
    assert not empty.exists()


def test_an_empty_value_is_an_empty_text(empty, monkeypatch):
    given = {}
    monkeypatch.setattr(execution, "run_profile", lambda profile, first, force: given.update(profile) or "a")
    monkeypatch.setattr("hnas_kit.reports.report.write", lambda run: None)
    monkeypatch.setattr(
        "hnas_kit.runs.folders.Finished", lambda *args: type("", (), {"manifest": {"headline": ""}})
    )
    assert cli.main(["run", "quick", "-p", "source", "", "-p", "compare", "[random]"]) == 0
    assert [values["source"] for values in given.values() if "source" in values] == [""] * 4
    assert given["04_mcts"]["compare"] == ["random"]
    assert given["01_pretrain"] == {}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PapermillExecutionError(3, 5, "", "HnasError", "width is 0", []), "{name}, cell 5: width is 0 (see"),
        (
            PapermillExecutionError(3, 5, "", "RuntimeError", "shapes differ:\n [1]\n [2]", []),
            "{name}, cell 5: RuntimeError: shapes differ: [1] [2] (see ",
        ),
        (DeadKernelError("Kernel died"), "{name}: its process died, perhaps for want of memory; "),
        (OSError(errno.ENOSPC, "No space left"), "cannot write {outputs}/quick/{name}.ipynb: No space left;"),
    ],
)
def test_whatever_ends_a_notebook_is_one_line(empty, monkeypatch, capsys, error, said):
    def execute(*args, **kwargs):
        raise error

    monkeypatch.setattr(papermill, "execute_notebook", execute)
    assert cli.main(["run", "quick", "--to", "05"]) == 1
    out, err = capsys.readouterr()
    assert out == "01_pretrain           begins\n01_pretrain       0 s failed\n"
    assert err.count("\n") == 1
    assert err.startswith("hnas: " + said.format(outputs=empty, name="01_pretrain"))


def test_a_run_without_a_search_says_where_its_results_are(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HNAS_OUTPUTS", str(tmp_path))
    monkeypatch.setenv("HNAS_DEVICE", "cpu")
    monkeypatch.setattr(execution, "run_profile", lambda profile, first, force: "quick")
    assert cli.main(["run", "quick", "--to", "03", "-p", "dataset", "digits"]) == 0
    assert capsys.readouterr().out == f"results: {tmp_path}/quick\n"

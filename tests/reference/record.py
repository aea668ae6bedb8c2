"""Store the notebooks with the outputs of the quick profile, and the references their tests need.

Runs the quick profile twice on the CPU: once to record the values and the small artefacts that stand in
for a missing one, and once with these in place, so that the stored checks are real.

    python tests/reference/record.py [--from NN]
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat

from hnas_kit.runs import READS
from hnas_kit.runs.folders import manifest_checksum

REFERENCE = Path(__file__).parent
ROOT = REFERENCE.parents[1]
UNSTORED = ("metadata.papermill", "cell.metadata.papermill", "cell.metadata.execution", "metadata.widgets")


def run_quick(first: str) -> Path:
    outputs = ROOT / "outputs" / "reference"
    environment = os.environ | {"HNAS_OUTPUTS": str(outputs), "HNAS_DEVICE": "cpu", "HNAS_QUIET": "1"}
    command = [sys.executable, "-m", "hnas_kit.cli", "run", "quick", "--force", "--from", first]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    return outputs / "quick"


def record(run: Path, notebooks: list[str]) -> None:
    """Keep the figures of each notebook, and the artefacts that others read with a manifest of just these."""
    for notebook in notebooks:
        manifest = run / notebook / "manifest.json"
        content = json.loads(manifest.read_text())
        record = {"lineage": content["lineage"], "values": content["figures"]}
        (REFERENCE / f"{notebook}.json").write_text(json.dumps(record, indent=2) + "\n")
        readers = [reads[notebook] for reads in READS.values() if notebook in reads]
        read = {file for files in readers for file in files}
        if readers:
            folder = REFERENCE / notebook
            folder.mkdir(exist_ok=True)
            content["outputs"] = {name: content["outputs"][name] for name in sorted(read)}
            content["checksum"] = manifest_checksum(content)
            (folder / "manifest.json").write_text(json.dumps(content, indent=2) + "\n")
            for name in read:
                shutil.copy(manifest.parent / name, folder / name)


def store(run: Path, notebooks: list[str]) -> None:
    """Put the outputs of the executed notebooks into the stored ones, without what papermill adds."""
    if "04_mcts" in notebooks:
        shutil.copy(
            run / "04_mcts" / "probability.png", ROOT / "notebooks" / "figures" / "probability.png"
        )  # README
    for notebook in notebooks:
        source = ROOT / "notebooks" / f"{notebook}.ipynb"
        stored, executed = nbformat.read(source, as_version=4), nbformat.read(run / source.name, as_version=4)
        executed.cells = [
            c for c in executed.cells if "injected-parameters" not in c.metadata.get("tags", [])
        ]
        count = 0
        for cell, done in zip(stored.cells, executed.cells, strict=True):
            if cell.cell_type == "code":
                count += 1
                cell.execution_count = count
                cell.outputs = [out for out in done.outputs if out.get("name") != "stderr"]
                for out in cell.outputs:
                    if "execution_count" in out:
                        out["execution_count"] = count
        nbformat.write(stored, source)
        keys = " ".join(UNSTORED)
        strip = [
            Path(sys.executable).with_name("nbstripout"),
            "--keep-output",
            "--keep-count",
            "--extra-keys",
            keys,
        ]
        subprocess.run([*strip, source], check=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--from", dest="first", default="01", metavar="NN", help="leave out those before it")
    options = parser.parse_args()
    notebooks = [name for name in READS if name >= options.first]
    for notebook in notebooks:
        (REFERENCE / f"{notebook}.json").unlink(missing_ok=True)
    record(run_quick(options.first), notebooks)
    finished = run_quick(options.first)
    record(finished, notebooks)
    store(finished, notebooks)

"""``hnas verify``: a sound run is said to be sound, and whatever is changed afterwards is named."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from hnas_kit import benchmarks, cli, distances, spaces, trees
from hnas_kit.errors import Failure
from hnas_kit.reports import report
from hnas_kit.reports.verification import verify
from hnas_kit.runs import Stage
from hnas_kit.runs.folders import manifest_checksum
from hnas_kit.runs.params import NOTEBOOKS

NAMES = ["01_pretrain", "02_distances", "03_tree", "04_mcts"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Notebooks 01 to 04 of a run, their numbers those of their files, without training."""
    folder = tmp_path_factory.mktemp("outputs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HNAS_OUTPUTS", str(folder))
        patch.setenv("HNAS_DEVICE", "cpu")
        patch.delenv("HNAS_REFERENCE", raising=False)
        space = spaces.make_space("pooling")
        archs = space.enumerate()
        names = [space.format(arch) for arch in archs]
        distance = distances.from_encodings(space.encode(archs, "onehot"), 1.0)
        tree, truth = trees.learned(distance, archs), benchmarks.load("textures-pooling")
        steps = pd.DataFrame({"phase": "search", "architecture": names[3], "reward": np.arange(20) / 100})
        found = pd.DataFrame(
            {"architecture": names[3]} | truth.loc[names[3], ["accuracy", "rank"]].to_dict(), ["learned"]
        )
        artefacts = [
            {"supernet.pt": {}, "ranking.csv": pd.DataFrame({"supernet": np.arange(36.0)}, names)},
            {"distances.npz": {"distances": distance, "archs": np.array(archs)}},
            {"tree.npz": tree, "accuracy.npz": tree},
            {"learned.csv": steps, "found.csv": found.rename_axis("method")},
        ]
        figures = [
            {"mean_accuracy": 17.5},
            {"mean_distance": float(distance.mean())},
            {"depth": tree.depth, "cophenetic_correlation": trees.cophenetic_correlation(tree, distance)},
            {"reward_learned": 18.5},
        ]
        headlines = ["a", "b", "c", f"learned found {names[3]}, true rank {truth['rank'].iloc[3]} of 36"]
        for name, files, numbers, line in zip(NAMES, artefacts, figures, headlines, strict=True):
            stage = Stage(NOTEBOOKS[name].checked({"run": "a"}, name))
            for file, value in files.items():
                stage.save(file, value)
            stage.finish(line, **numbers)
        report.write("a")
    return folder


@pytest.fixture
def run(made, tmp_path, monkeypatch):
    monkeypatch.setenv("HNAS_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("HNAS_DEVICE", "cpu")
    monkeypatch.delenv("HNAS_REFERENCE", raising=False)
    return shutil.copytree(made, tmp_path / "outputs") / "a"


def test_a_sound_run_is_said_to_be_sound(run, capsys):
    assert cli.main(["verify", "a"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == NAMES
    assert "2 files as they were saved" in lines[0]


def edit(path, change):
    """A manifest with a change, its checksum made anew: somebody who means it."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content | {"checksum": manifest_checksum(content)}))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (
            lambda f: (f / "03_tree/tree.npz").write_bytes(b"PK"),
            "03_tree/tree.npz is corrupt or not the file",
        ),
        (lambda f: (f / "02_distances/distances.npz").unlink(), "02_distances/distances.npz is missing"),
        (lambda f: (f / "01_pretrain/mine.txt").write_text(""), "01_pretrain: mine.txt was not saved by it"),
        (
            lambda f: (f / "01_pretrain/manifest.json").write_text(
                (f / "01_pretrain/manifest.json").read_text().replace('"seed": 0', '"seed": 1')
            ),
            "01_pretrain/manifest.json is corrupt (ValueError('it is not what was written",
        ),
        (
            lambda f: edit(
                f / "01_pretrain/manifest.json", lambda m: m["figures"].update(mean_accuracy=99.0)
            ),
            "01_pretrain: mean_accuracy is 99.0 in the manifest, and 17.5 by its files",
        ),
        (
            lambda f: edit(f / "04_mcts/manifest.json", lambda m: m["figures"].update(reward_learned=50.0)),
            "04_mcts: reward_learned is 50.0 in the manifest, and 18.5 by its files",
        ),
        (
            lambda f: edit(f / "04_mcts/manifest.json", lambda m: m.update(headline="learned found [6,2,2]")),
            "04_mcts: the headline says nothing of [1,4,5]",
        ),
        (
            lambda f: edit(f / "02_distances/manifest.json", lambda m: m.update(fingerprint="other")),
            "03_tree: what it was made from has been made again since",
        ),
        (lambda f: (f / "report.html").write_text("another"), "report.html is not of this result"),
        (
            lambda f: (f / "03_tree.ipynb").write_text('{"cells": ['),
            "03_tree.ipynb cannot be read (Expecting",
        ),
        (
            lambda f: (f / "03_tree.ipynb").write_text(
                json.dumps(
                    {
                        "cells": [
                            {"metadata": {"tags": ["injected-parameters"]}, "source": ["linkage = 'average'"]}
                        ]
                    }
                )
            ),
            "03_tree.ipynb was executed with linkage average, and the result made with ward",
        ),
    ],
)
def test_what_was_changed_afterwards_is_named(run, damage, said):
    damage(run)
    with pytest.raises(Failure) as caught:
        verify("a")
    assert said in str(caught.value)


def test_a_number_that_an_edited_notebook_does_not_keep_is_not_compared(run):
    edit(run / "03_tree/manifest.json", lambda m: m["figures"].pop("cophenetic_correlation"))
    assert not any("cophenetic" in line for line in verify("a"))


def test_a_notebook_that_is_looked_at_is_not_run(run, tmp_path):
    code = f"linkage = open({str(tmp_path / 'door')!r}, 'w')"
    cell = {"metadata": {"tags": ["injected-parameters"]}, "source": code}
    (run / "03_tree.ipynb").write_text(json.dumps({"cells": [cell]}))
    with pytest.raises(Failure, match=r"03_tree\.ipynb cannot be read"):
        verify("a")
    assert not (tmp_path / "door").exists()


def test_a_run_that_is_not_there_is_a_mistake(run, capsys):
    assert cli.main(["verify", "b"]) == 2
    assert (
        capsys.readouterr().err
        == f"hnas: {run.parent}/b holds no finished notebook; allowed: the name of a run\n"
    )

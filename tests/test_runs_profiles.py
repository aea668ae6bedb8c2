"""Profiles: what they set, changes to that, and one line for each mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from hnas_kit.errors import HnasError
from hnas_kit.runs import profiles
from hnas_kit.runs.params import NOTEBOOKS

ROOT = Path(__file__).resolve().parents[1]
PROFILES = sorted(
    folder for folder in (ROOT / "params").iterdir() if folder.is_dir() and folder.name != "sweeps"
)
QUICK = {name: cls.defaults() for name, cls in NOTEBOOKS.items()}


@pytest.mark.parametrize("folder", PROFILES, ids=lambda folder: folder.name)
def test_a_profile_is_one_run_and_says_only_what_differs(folder):
    profile = profiles.load_profile(folder)
    assert list(profile) == [name for name in NOTEBOOKS if name in profile]
    checked, run = profiles.checked(profile)
    assert run == folder.name
    assert {p.upstream for p in checked.values() if hasattr(p, "upstream")} <= {folder.name}
    for notebook, values in profile.items():
        assert [name for name, value in values.items() if value == QUICK[notebook][name]] == []


def test_the_quick_profile_is_the_defaults():
    assert profiles.load_profile(ROOT / "params" / "quick") == {name: {} for name in NOTEBOOKS}


def test_a_profile_folder_that_cannot_be_used_is_refused(tmp_path):
    def said() -> str:
        with pytest.raises(HnasError) as caught:
            profiles.load_profile(tmp_path / "p")
        assert "\n" not in str(caught.value)
        return str(caught.value).replace(str(tmp_path), "")

    assert said() == "there is no profile folder /p"
    (tmp_path / "p").mkdir()
    assert said() == "profile folder /p holds no <notebook>.yaml"
    path = tmp_path / "p" / "03_tree.yaml"
    path.write_text("- seed\n")
    assert said() == "/p/03_tree.yaml must hold name: value lines"
    path.write_text("seed: [1\nrun: a")
    assert said().startswith("/p/03_tree.yaml is not YAML: while parsing a flow sequence")
    path.rename(path.with_name("3_tree.yaml"))
    assert said() == f"/p/3_tree.yaml: there is no notebook 3_tree; allowed: {', '.join(NOTEBOOKS)}"


def test_a_change_goes_to_every_notebook_that_has_the_parameter():
    before = {name: dict(QUICK[name]) for name in NOTEBOOKS}
    after = profiles.override(before, {"epochs": 7, "linkage": "average"})
    assert {name: v["epochs"] for name, v in after.items() if "epochs" in v} == {
        "01_pretrain": 7,
        "04_mcts": 7,
        "05_ablations": 7,
        "06_imagenet": 7,
    }
    assert after["03_tree"] == QUICK["03_tree"] | {"linkage": "average"}
    assert after["02_distances"] == QUICK["02_distances"]
    assert before == {name: QUICK[name] for name in NOTEBOOKS}


def test_a_change_of_an_unknown_parameter_is_refused():
    profile = {"03_tree": QUICK["03_tree"]}
    with pytest.raises(HnasError, match=r"^unknown parameter linkag \(did you mean linkage\?\)$"):
        profiles.override(profile, {"linkag": "ward"})
    with pytest.raises(
        HnasError, match=r"^unknown parameter epochs \(allowed: linkage, plugins, run, seed, source\)$"
    ):
        profiles.override(profile, {"epochs": 1})


def test_what_a_bare_name_sets_is_said_if_it_is_more_than_one():
    changes = {"epochs": 40, "lr": 1e-3, "seed": 3, "run": "a", "linkage": "average", "04_mcts.epochs": 4}
    assert profiles.shared(["01_pretrain", "02_distances", "03_tree", "04_mcts"], changes) == [
        "epochs 40: sets 01_pretrain, 04_mcts; -p NOTEBOOK.epochs sets one",
        "lr 0.001: sets 01_pretrain, 04_mcts; -p NOTEBOOK.lr sets one",
    ]
    assert profiles.shared(["04_mcts"], changes) == []

"""What is asked of images and results, checked together: a change that nothing reads is refused."""

from __future__ import annotations

import pytest

from hnas_kit import cli
from hnas_kit.errors import HnasError
from hnas_kit.runs import Stage, consistency
from hnas_kit.runs.params import NOTEBOOKS
from hnas_kit.runs.profiles import checked, override

DIGITS = {"01_pretrain": {"dataset": "digits"}, "02_distances": {}, "03_tree": {}, "04_mcts": {}}


def make(run, first="01_pretrain", **changes):
    """Notebooks of a run up to 03, on digits, two epochs; the first of them with changes."""
    for name in ("01_pretrain", "02_distances", "03_tree"):
        if name >= first:
            values = {"run": run} | ({"dataset": "digits", "epochs": 2} if name == "01_pretrain" else {})
            stage = Stage(NOTEBOOKS[name].checked(values | (changes if name == first else {}), name))
            stage.save("a.json", 1)
            stage.finish("done")


@pytest.fixture
def made(outputs):
    make("a")


def check(first, run="a", **changes):
    params, _ = checked(override(override(DIGITS, {"run": run}), changes))
    consistency.refuse_unread(params, first, changes)
    consistency.check(params, first)
    return list(consistency.made_otherwise(params, first))


@pytest.mark.parametrize("run", [{}, {"run": "b", "source": "a"}])
def test_a_change_that_only_notebooks_have_which_are_not_run_is_refused(made, run):
    with pytest.raises(
        HnasError, match=r"\Adataset belongs to 01_pretrain, which is not run \(it was made with"
    ):
        check("04_mcts", **run, dataset="textures")
    with pytest.raises(HnasError, match=r"\A01_pretrain.epochs belongs to 01_pretrain, which is not run"):
        check("02_distances", **run, **{"01_pretrain.epochs": 3})


def test_what_was_not_run_with_the_profiles_parameters_is_said(made):
    assert check("04_mcts") == ["01_pretrain is not run; it was made with epochs 2"]
    assert check("04_mcts", epochs=2) == []  # as it was made
    assert check("01_pretrain") == []


def test_images_are_those_that_what_is_read_was_made_with(made):
    with pytest.raises(HnasError, match=r"\A04_mcts: batch_size is 451; data set digits has 450 images"):
        check("04_mcts", batch_size=451)
    with pytest.raises(HnasError, match="b/03_tree holds no finished 03_tree"):
        check("04_mcts", run="b")


def test_images_of_a_run_that_is_read_are_found_through_every_notebook(made):
    """As 03 reads another run, so does what follows from it."""
    assert check("03_tree", run="b", epochs=2, **{"03_tree.source": "a"}) == []
    with pytest.raises(HnasError, match=r"\A04_mcts: batch_size is 451; data set digits has 450 images"):
        check("03_tree", run="b", batch_size=451, **{"03_tree.source": "a"})


def test_a_notebook_that_is_followed_through_another_is_known_too(made):
    """02 is read by 03, and 04 reads that."""
    changed = {"02_distances.measure": "l2"}
    with pytest.raises(HnasError, match=r"\A02_distances.measure belongs to 02_distances, which is not run"):
        check("04_mcts", epochs=2, **changed)
    make("a", "02_distances", measure="l2")
    assert check("04_mcts", epochs=2, **changed) == []
    assert check("04_mcts", epochs=2) == ["02_distances is not run; it was made with measure l2"]


def test_a_tree_that_is_learned_anew_needs_outputs(made, outputs):
    assert check("04_mcts", epochs=2, tree="relearned") == []
    with pytest.raises(
        HnasError, match=r"\A04_mcts: tree relearned is learned from a supernet's outputs, and"
    ):
        check("01_pretrain", tree="relearned", measure="onehot")
    check("01_pretrain", compare=["uniform"], measure="onehot")
    make("a", "02_distances", measure="vector")
    with pytest.raises(HnasError, match="02_distances has measure vector, of encodings, which stay as they"):
        check("04_mcts", compare=["relearned"])


def test_of_several_seeds_each_run_is_checked(outputs, capsys):
    command = ["run", "quick", "--seeds", "2", "-p", "run", "a", "--from", "04", "--to", "04", "--dry-run"]
    make("a-seed0")
    assert cli.main(command) == 2
    line = (
        f"hnas: {outputs}/a-seed1/03_tree holds no finished 03_tree; run notebooks/03_tree.ipynb with run: "
    )
    assert capsys.readouterr().err.startswith(line)
    make("a-seed1")
    assert cli.main(command) == 0
    assert (
        "01_pretrain is not run; it was made with seed 0, epochs 2, dataset digits" in capsys.readouterr().out
    )

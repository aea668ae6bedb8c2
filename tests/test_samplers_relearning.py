"""Trees learned anew while they are searched: when, from what, resumed exactly, told and drawn."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from hnas_kit import distances, evaluation, search, trees
from hnas_kit.errors import HnasError
from hnas_kit.files import torch_bytes
from hnas_kit.samplers import MCTS, comparable, relearning
from hnas_kit.samplers.relearning import Planted, Relearning
from hnas_kit.spaces import make_space
from hnas_kit.training import Checkpoints, Schedule
from hnas_kit.training.problem import Problem

SPACE = make_space("pooling")
ARCHS = tuple(SPACE.enumerate())
TREE = trees.random(ARCHS, seed=0)
SHORT = Schedule(40, temperature_start=0.05, temperature_end=0.01)  # the third phase: 14 steps from 26 on
HOW = {"every": 0.34, "images": 20, "measure": "kl", "linkage": "ward"}


def trial(relearn: dict | None = HOW, **options) -> search.Result:
    problem = Problem.of({"space": "pooling", "width": 2, "dataset": "digits", "image_size": 0, "seed": 0})
    problem = replace(problem, valid=problem.valid.take(torch.arange(100)))
    settings = {"seed": 0, "batch_size": 16, "lr": 0.05, "weight_decay": 1e-3, "final_samples": 5} | options
    return search.trial(problem, MCTS(TREE), SHORT, relearn=relearn, **settings)


def assert_same(one: search.Result, other: search.Result) -> None:
    """Bit for bit the same history, trees, statistics and weights."""
    pd.testing.assert_frame_equal(one.history, other.history, check_exact=True)
    assert [p.step for p in one.planted] == [p.step for p in other.planted]
    for mine, theirs in zip(one.planted, other.planted, strict=True):
        assert mine.tree.to_bytes() == theirs.tree.to_bytes()
    assert torch_bytes(one.sampler.state_dict()) == torch_bytes(other.sampler.state_dict())
    assert torch_bytes(one.net.state_dict()) == torch_bytes(other.net.state_dict())


@pytest.fixture(scope="module")
def whole() -> search.Result:
    return trial()


# when


@pytest.mark.parametrize(
    ("steps", "every", "expected"),
    [
        (40, 0.34, [31, 36]),  # 26 + 4.76, 26 + 9.52
        (40, 0.5, [33]),
        (40, 0.25, [30, 33, 36]),  # 3.5, 7, 10.5; round goes to even, and the end is none
        (40, 0.9, [39]),
        (11_760, 0.34, [9043, 10_443]),
        (3, 0.5, []),  # one step
    ],
)
def test_the_steps_of_each_share_of_the_third_phase(steps, every, expected):
    if expected:
        assert relearning.steps(Schedule(steps), every) == expected
    else:
        with pytest.raises(HnasError, match=r"\Athe third phase has 1 steps, too few to learn its tree anew"):
            relearning.steps(Schedule(steps), every)


@pytest.mark.parametrize("every", [0.0, 1.0, -1.0, float("nan")])
def test_a_share_out_of_range_is_refused(every):
    with pytest.raises(HnasError, match=r"\Arelearn_every is .*; allowed: above 0 and below 1\Z"):
        relearning.steps(SHORT, every)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"measure": "onehot"}, "unknown measure of tree relearned 'onehot'"),
        ({"linkage": "x"}, "unknown linkage"),
    ],
)
def test_what_cannot_be_learned_from_is_refused_before_a_step(change, complaint):
    with pytest.raises(HnasError, match=complaint):
        trial(HOW | change, progress=lambda done: pytest.fail("it began"))


# from what


def test_a_tree_is_learned_from_the_network_as_it_is_then(monkeypatch):
    seen, learned = [], Relearning.tree

    def spy(self, net, archs, team):
        outputs = evaluation.outputs(net, archs, self.x)
        seen.append(trees.learned(distances.from_outputs(outputs, "l2"), archs, "average"))
        assert self.x.shape[0] == 20
        return learned(self, net, archs, team)

    monkeypatch.setattr(Relearning, "tree", spy)
    result = trial(HOW | {"measure": "l2", "linkage": "average"})
    assert [one.step for one in result.planted] == [0, 31, 36]
    assert result.planted[0].tree is TREE
    assert [one.tree.to_bytes() for one in result.planted[1:]] == [tree.to_bytes() for tree in seen]
    assert seen[0].to_bytes() != seen[1].to_bytes()  # it had learned meanwhile
    assert result.sampler.tree is result.planted[-1].tree
    assert all(one.seconds > 0 for one in result.planted[1:])


def test_until_the_first_new_tree_nothing_differs_and_an_unchanged_tree_changes_no_bit(whole, monkeypatch):
    plain = trial(None)
    assert plain.planted == ()
    pd.testing.assert_frame_equal(plain.history.head(31), whole.history.head(31), check_exact=True)
    assert not plain.history.equals(whole.history)
    monkeypatch.setattr(Relearning, "tree", lambda *args: trees.load(TREE.to_bytes()))
    same = trial()
    pd.testing.assert_frame_equal(plain.history, same.history, check_exact=True)
    assert plain.sampler.nodes.tobytes() == same.sampler.nodes.tobytes()
    assert torch_bytes(plain.net.state_dict()) == torch_bytes(same.net.state_dict())
    assert plain.arch == same.arch


# resumed


@pytest.mark.parametrize("stop", [20, 30, 31, 34, 35, 37])
def test_a_search_that_broke_off_goes_on_bit_for_bit(whole, tmp_path, stop):
    done = []

    def power_cut(steps: int) -> None:
        done.append(steps)
        if sum(done) >= stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trial(checkpoints=Checkpoints(tmp_path, 7), progress=power_cut)
    assert_same(trial(checkpoints=Checkpoints(tmp_path, 7)), whole)


@pytest.mark.parametrize("where", ["in the outputs", "before it is planted"])
@pytest.mark.parametrize("time", [1, 2])
def test_a_search_killed_in_the_middle_of_learning_its_tree_goes_on_bit_for_bit(
    whole, tmp_path, monkeypatch, where, time
):
    calls = []

    def killed(function):
        def call(*args, **options):
            calls.append(1)
            if len(calls) == time:
                raise KeyboardInterrupt
            return function(*args, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        if where == "in the outputs":
            patch.setattr(evaluation, "outputs", killed(evaluation.outputs))
        else:
            patch.setattr(MCTS, "replant", killed(MCTS.replant))
        with pytest.raises(KeyboardInterrupt):
            trial(checkpoints=Checkpoints(tmp_path, 9))
    assert_same(trial(checkpoints=Checkpoints(tmp_path, 9)), whole)


def test_a_resumed_search_took_the_seconds_of_all_its_parts(whole, tmp_path):
    first = trial(checkpoints=Checkpoints(tmp_path, 35))  # keeps its last state, after the first new tree
    checkpoints = Checkpoints(tmp_path, 35)
    again = trial(checkpoints=checkpoints)
    assert [one.seconds > 0 for one in again.planted] == [False, True, True]
    assert again.planted[1].seconds == first.planted[1].seconds
    assert 0 < checkpoints.seconds < min(first.seconds, again.seconds)
    assert_same(again, whole)


# looked at afterwards


def test_a_replay_plants_the_same_trees(whole):
    seen = MCTS(TREE)
    terms = search.term_spread(whole.history, SPACE, seen, SHORT, planted=whole.planted)
    assert terms.index[-1] == 40
    assert seen.nodes.tobytes() == whole.sampler.nodes.tobytes()


def test_the_table_of_a_search_by_hand(whole):
    rows = relearning.table(whole.planted, seconds=2.0)
    (_, first, _), (_, second, took), (_, third, _) = whole.planted
    assert list(rows.index) == [0, 31, 36]
    assert rows["moved"].tolist() == [0, trees.moved(first, second), trees.moved(second, third)]
    assert rows["moved in all"].tolist() == [0, trees.moved(first, second), trees.moved(first, third)]
    groups = [{frozenset(m) for m in tree.members if len(m) > 1} for tree in (first, second, third)]
    assert first.archs == second.archs == third.archs
    fresh = [len(now - before) / 35 for before, now in itertools.pairwise(groups)]
    assert rows["new groups"].tolist() == pytest.approx([0, *fresh])
    assert rows.loc[31, "share (%)"] == pytest.approx(50 * took)
    assert list(relearning.table(whole.planted)) == [
        "moved",
        "moved in all",
        "new groups",
        "depth",
        "seconds",
    ]
    assert relearning.table([Planted(0, TREE)])["moved"].tolist() == [0]


def test_relearned_is_a_name_beside_the_papers_methods():
    method = comparable()["relearned"]
    sampler = method.make(SPACE, {"learned": TREE})
    assert (type(sampler), sampler.tree, method.name) == (MCTS, TREE, "relearned")
    assert np.isfinite(list(sampler.probabilities().values())).all()

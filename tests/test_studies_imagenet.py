"""The steps of the search inside a window of MACs: pool, pre-training, searches and Table 5, at tiny size."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from hnas_kit import cost, data, evaluation, runs, search, trees
from hnas_kit.data import rendering
from hnas_kit.errors import HnasError
from hnas_kit.processes import distributed
from hnas_kit.processes.distributed import Team
from hnas_kit.runs.params import IN_WINDOW, NOTEBOOKS
from hnas_kit.samplers import MCTS, Boltzmann, comparable
from hnas_kit.samplers.budget import IndependentInBudget, MCTSInBudget, UniformInBudget
from hnas_kit.samplers.compiled import NONE, SHARED_TABLE
from hnas_kit.spaces import make_space
from hnas_kit.studies import imagenet, paper
from hnas_kit.training import Checkpoints, pretraining

ROOT = Path(__file__).resolve().parents[1]
QUICK = NOTEBOOKS["06_imagenet"].defaults()
TINY = {
    "run": "a", "device": "cpu", "dataset": "digits", "image_size": 16, "width": 2, "pool": 6, "images": 32,
    "pretrain_epochs": 1, "epochs": 1, "batch_size": 64, "final_samples": 4, "scored": 100, "tested": 50,
    "checkpoint_every": 3, "uniform_share": 0.2, "warmup_share": 0.3, "exploration": 0.25, "beta": 0.75,
    "coefficient": 0.125,
}  # fmt: skip
MOBILE = make_space("mobile")


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    monkeypatch.setenv("HNAS_QUIET", "1")
    monkeypatch.delenv("HNAS_DEVICE", raising=False)


def given(**changes):
    return NOTEBOOKS["06_imagenet"].checked(QUICK | TINY | changes, "here")


P = given()
TEAM = Team(device=runs.device_of(P))
BUDGET = imagenet.window(P.low, P.high)
POOL = imagenet.draw_pool(BUDGET, P.pool, np.random.default_rng(0))
TREE = trees.random(POOL, seed=0)


def inside(arch):
    return 277_200_000 <= cost.macs(MOBILE, arch) <= 280_000_000


def same(a, b):
    """Whether two results are the same to the bit, their times left out."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(
            same(a[key], b[key]) for key in a if key not in ("seconds", "took")
        )
    if isinstance(a, list) and len(a) == len(b):
        return all(map(same, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


class Stopped(Exception):
    pass


class StopAfter(Checkpoints):
    """A run that is killed when it has saved a state."""

    def save(self, step, parts):
        super().save(step, parts)
        raise Stopped


def test_a_window_is_in_millions_of_macs_and_counted_once():
    assert (BUDGET.low, BUDGET.high) == (277_200_000, 280_000_000)
    assert imagenet.window(277.2, 280.0) is BUDGET
    assert all(map(inside, BUDGET.sample(np.random.default_rng(1), 100)))
    with pytest.raises(HnasError, match=r"nearest: 59,986,496 and 60,710,336$"):
        imagenet.window(60.0, 60.1)


def test_a_pool_is_of_different_architectures_inside():
    assert len(set(POOL)) == P.pool
    assert all(map(inside, POOL))
    assert all(MOBILE.canonical(arch) == arch for arch in POOL)
    assert imagenet.draw_pool(BUDGET, P.pool, np.random.default_rng(0)) == POOL
    assert imagenet.draw_pool(BUDGET, P.pool, np.random.default_rng(1)) != POOL


def test_all_pools_of_a_size_are_equally_likely():
    small, rng = imagenet.window(60, 62), np.random.default_rng(0)
    assert small.count() == 7
    everything = sorted(imagenet.draw_pool(small, 7, rng))
    assert len(set(everything)) == 7
    counts = np.zeros(7)
    for _ in range(700):
        pool = imagenet.draw_pool(small, 3, rng)
        assert len(set(pool)) == 3
        counts += [arch in pool for arch in everything]
    assert stats.chisquare(counts).pvalue > 0.01
    with pytest.raises(HnasError, match=r"^pool is 8; the window has only 7 architectures$"):
        imagenet.draw_pool(small, 8, rng)


@pytest.mark.parametrize("name", ["pooling", "macro"])
def test_shares_are_those_among_all_architectures(name):
    space = make_space(name)
    archs = space.enumerate()
    expected = [
        [sum(arch[layer] == op for arch in archs) / len(archs) for op in range(len(names))]
        for layer, names in enumerate(space.ops)
    ]
    assert imagenet.shares(space) == pytest.approx(np.array(expected))
    assert imagenet.drawn_shares(archs, space) == pytest.approx(np.array(expected))


def test_shares_of_the_imagenet_space_are_exact():
    """A stage: 13 choices, then blocks of 12 with the identities behind them."""
    rest = [sum(12**blocks for blocks in range(4 - k)) for k in range(4)]  # of k blocks or more, over 12^k
    found = imagenet.shares(MOBILE)
    for layer in range(21):
        place = layer % 4
        identity = 1 / 13 if place == 0 else 1 - 12**place * rest[place] / rest[0]
        assert found[layer, 12] == pytest.approx(identity)
        assert found[layer, :12] == pytest.approx((1 - identity) / 12)


def test_the_halves_are_those_of_the_seed():
    problem = imagenet.load(given(image_size=24))
    assert problem.dataset.image_size == 24
    assert (len(problem.train), len(problem.valid)) == (450, 450)
    assert torch.equal(imagenet.load(P).train.images, problem.train.images)
    assert not torch.equal(imagenet.load(given(seed=1)).train.images, problem.train.images)


@pytest.mark.parametrize(("name", "there"), [("images", 450), ("scored", 450), ("tested", 897)])
def test_more_images_than_there_are_are_refused_before_anything_is_trained(tmp_path, name, there):
    assert imagenet.load(given(**{name: there}))
    checkpoints = Checkpoints(tmp_path, 1)
    with pytest.raises(HnasError, match=f"^{name} is {there + 1}; data set digits has {there} such images$"):
        imagenet.pretrain(TEAM, given(**{name: there + 1}), checkpoints)
    assert not [*tmp_path.iterdir()]


def test_pre_training_draws_from_the_window_uniformly(tmp_path, monkeypatch):
    drawn = []

    def train(net, batches, choose, steps, **options):
        drawn.extend(choose(step) for step in range(steps))
        assert options["lr"] == P.lr
        return np.zeros(steps, np.float32)

    monkeypatch.setattr(pretraining, "train", train)
    imagenet.pretrain(TEAM, P, Checkpoints(tmp_path, 3))
    assert len(drawn) == 8  # 450 images in batches of 64
    assert len(set(drawn)) == 8
    assert all(map(inside, drawn))


def test_a_killed_pre_training_goes_on_to_the_same_bits(tmp_path):
    whole = Checkpoints(tmp_path / "whole", P.checkpoint_every)
    imagenet.pretrain(TEAM, P, whole)
    kept = imagenet.result(whole)
    assert kept["losses"].shape == (8,)
    assert kept["losses"].isfinite().all()
    with pytest.raises(Stopped):
        imagenet.pretrain(TEAM, P, StopAfter(tmp_path / "killed", P.checkpoint_every))
    killed = Checkpoints(tmp_path / "killed", P.checkpoint_every)
    assert imagenet.result(killed) is None
    imagenet.pretrain(TEAM, P, killed)
    assert same(imagenet.result(killed), kept)


def test_what_is_finished_is_not_run_again_unless_it_is_damaged(tmp_path, monkeypatch, capsys):
    checkpoints = Checkpoints(tmp_path, 100)
    imagenet.pretrain(TEAM, P, checkpoints)
    kept = imagenet.result(checkpoints)
    monkeypatch.setattr(pretraining, "train", lambda *args, **options: pytest.fail("it was run again"))
    imagenet.pretrain(TEAM, P, checkpoints)
    assert same(imagenet.result(checkpoints), kept)
    (path,) = tmp_path.glob("result-*.pt")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert imagenet.result(checkpoints) is None
    assert capsys.readouterr().out == f"{path} is corrupt; it is made again\n"
    monkeypatch.undo()
    monkeypatch.setenv("HNAS_QUIET", "1")
    imagenet.pretrain(TEAM, P, checkpoints)
    assert same(imagenet.result(checkpoints), kept)


@pytest.mark.parametrize("method", ["", "learned"])
def test_what_is_launched_is_given_as_json_and_comes_out_the_same(tmp_path, monkeypatch, method):
    called, checkpoints = [], Checkpoints(tmp_path, P.checkpoint_every)
    monkeypatch.setattr(imagenet, "pretrain", lambda *args: called.append(("", *args[1:])))
    monkeypatch.setattr(imagenet, "run", lambda team, p, method, *more: called.append((method, p, *more)))
    sent = []
    monkeypatch.setattr(distributed, "launch", lambda *args: sent.append(args))
    imagenet.launch(P, TEAM.device, checkpoints, method, TREE if method else None)
    ((function, args, processes, device),) = sent
    assert (function, processes, device) == (imagenet.job, P.processes, TEAM.device)
    imagenet.job(TEAM, *json.loads(json.dumps(args)))
    ((name, p, *tree, made),) = called
    assert (name, p, made.folder, made.every) == (method, P, tmp_path.resolve(), P.checkpoint_every)
    assert [(t.archs, t.to_newick()) for t in tree] == ([(TREE.archs, TREE.to_newick())] if method else [])
    if method:  # one that was learned again differs by rounding
        imagenet.launch(P, TEAM.device, checkpoints, method, trees.random(TREE.archs, seed=1))
        assert trees.load(tmp_path / "tree.npz").to_newick() == TREE.to_newick()


@pytest.mark.parametrize(
    ("method", "cls", "settings"),
    [
        ("learned", MCTS, {"beta": 0.75, "exploration": 0.25}),
        ("boltzmann", Boltzmann, {"beta": 0.75}),
        ("relearned", MCTS, {"beta": 0.75, "exploration": 0.25}),
        ("uniform", UniformInBudget, {}),
        ("independent", IndependentInBudget, {"beta": 0.75}),
        ("default", MCTSInBudget, {"beta": 0.75, "exploration": 0.25, "communication": NONE}),
        ("regularised", MCTSInBudget, {"communication": SHARED_TABLE, "coefficient": 0.125, "beta": 0.75}),
    ],
)
def test_a_method_is_its_sampler_over_the_pool_or_the_window(method, cls, settings):
    sampler = imagenet.make_sampler(P, method, TREE)
    assert type(sampler) is cls
    kept = getattr(sampler, "rule", sampler)
    assert {name: getattr(kept, name) for name in settings} == settings
    if method in imagenet.ON_POOL:
        assert set(sampler.archs) == set(POOL)
    else:
        assert sampler.budget is BUDGET


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """Every method's checkpoints, after its search."""
    folder = tmp_path_factory.mktemp("searches")
    made = {method: Checkpoints(folder / method, 3) for method in IN_WINDOW}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HNAS_QUIET", "1")
        for method, checkpoints in made.items():
            imagenet.run(TEAM, P, method, TREE, checkpoints)
    return made


@pytest.mark.parametrize("method", IN_WINDOW)
def test_a_search_stays_inside_and_what_it_found_is_read_back(searched, method):
    problem = imagenet.load(P)
    done = imagenet.found(P, method, problem, searched[method])
    drawn = [MOBILE.parse(text) for text in done.history["architecture"]]
    assert list(done.history["phase"]) == ["uniform"] * 2 + ["warm-up"] * 2 + ["search"] * 4
    candidates = list(done.scores.index)
    assert all(map(inside, [*drawn, *candidates]))
    if method in imagenet.ON_POOL:
        assert {*drawn, *candidates} <= set(POOL)
    else:
        assert not {*drawn} <= set(POOL)
    assert done.arch == candidates[0]
    assert len(candidates) <= P.final_samples
    # the weights and the images are those that the scores came from
    x, y = problem.dataset.fixed(problem.valid, P.scored)
    assert len(y) == 300  # each digit three times
    assert done.scores.to_numpy() == pytest.approx(evaluation.accuracy(done.net, candidates, x, y), abs=1e-9)
    assert (np.diff(done.scores) <= 0).all()
    # the sampler is what the rewards made of a new one, those of warm-up and search if it has phases
    expected = imagenet.make_sampler(P, method, TREE)
    first = P.schedule(len(problem.train), comparable()[method]).learns_from
    assert first == (2 if expected.phased else 0)
    anew = {one.step: one.tree for one in done.planted}
    assert list(anew) == ([0, 5, 7] if method == "relearned" else [])
    for step, (arch, reward) in enumerate(zip(drawn, done.history["reward"], strict=True)):
        if step and step in anew:
            expected.replant(anew[step])
        if step >= first:
            expected.update(arch, reward)
    if hasattr(expected, "temperature"):
        expected.anneal(done.sampler.temperature)
    assert same(done.sampler.state_dict(), expected.state_dict()) or method in ("default", "regularised")
    if hasattr(done.sampler, "tree") and method not in imagenet.ON_POOL:
        for arch in drawn[2:]:
            ours, theirs = done.sampler.tree, expected.tree
            assert ours.nodes[ours.leaf(arch)]["value"] == theirs.nodes[theirs.leaf(arch)]["value"]


def test_methods_start_alike_and_see_the_same_batches(searched):
    """The uniform phase of two methods over the window is the same to the bit."""
    histories = {method: imagenet.result(made)["history"] for method, made in searched.items()}
    for one, other in (("uniform", "regularised"), ("uniform", "default")):
        for column in ("architecture", "loss", "reward"):
            assert histories[one][column][:4] == histories[other][column][:4]
    assert histories["uniform"]["architecture"] != histories["learned"]["architecture"]


@pytest.mark.parametrize("method", ["learned", "regularised", "relearned"])
def test_a_killed_search_goes_on_to_the_same_bits(searched, tmp_path, monkeypatch, method):
    with pytest.raises(Stopped):
        imagenet.run(TEAM, P, method, TREE, StopAfter(tmp_path, 3))
    killed = Checkpoints(tmp_path, 3)
    with pytest.raises(HnasError, match="holds no finished search; run it again"):
        imagenet.found(P, method, imagenet.load(P), killed)
    imagenet.run(TEAM, P, method, TREE, killed)
    assert same(imagenet.result(killed), imagenet.result(searched[method]))
    kept = imagenet.result(killed)
    assert 0 < killed.seconds < min(kept["seconds"], kept["took"])
    monkeypatch.setattr(search, "trial", lambda *args, **options: pytest.fail("it was run again"))
    imagenet.run(TEAM, P, method, TREE, killed)


def test_images_that_are_read_as_they_are_needed_go_all_the_way(tmp_path, pets):
    p = given(dataset=f"imagefolder:{pets}", image_size=24, batch_size=4, images=8, scored=10, tested=3)
    trained, searched = (Checkpoints(tmp_path / name, 100) for name in ("pretrain", "search"))
    imagenet.pretrain(TEAM, p, trained)
    problem = imagenet.load(p)
    dataset = problem.dataset
    assert len(imagenet.result(trained)["losses"]) == problem.steps(1, 4)
    x, _ = dataset.fixed(problem.valid, p.images)
    assert x.shape == (8, 3, 24, 24)
    imagenet.run(TEAM, p, "learned", TREE, searched)
    done = imagenet.found(p, "learned", problem, searched)
    row = imagenet.table({"learned": done}, dataset, p.tested).loc["learned"]
    right = done.net.eval()(dataset.fixed(dataset.test, 3)[0], done.arch).argmax(1)
    expected = (right == dataset.fixed(dataset.test, 3)[1]).float().mean()
    assert row["top-1"] == pytest.approx(100 * float(expected))
    assert row["top-5"] == 100  # of three classes


@pytest.mark.slow
def test_two_processes_train_and_search_as_one(tmp_path):
    """Each with half of every batch, against one process that takes the halves one after the other."""
    kept = {}
    for processes in (1, 2):
        made = [Checkpoints(tmp_path / str(processes) / name, 1000) for name in ("pretrain", "search")]
        p = given(parts=2, processes=processes, checkpoint_every=1000)
        imagenet.launch(p, TEAM.device, made[0])
        imagenet.launch(p, TEAM.device, made[1], "learned", TREE)
        assert [len([*checkpoints.folder.glob("*.pt")]) for checkpoints in made] == [1, 1]
        kept[processes] = [imagenet.result(checkpoints) for checkpoints in made]
    (trained, searched), (trained_by_2, searched_by_2) = kept[1], kept[2]
    assert trained_by_2["losses"] == pytest.approx(trained["losses"], abs=1e-5)
    assert searched_by_2["history"]["architecture"] == searched["history"]["architecture"]
    assert searched_by_2["history"]["reward"] == pytest.approx(searched["history"]["reward"], abs=1e-5)
    assert searched_by_2["candidates"] == searched["candidates"]
    for name, weight in searched["net"].items():
        assert searched_by_2["net"][name] == pytest.approx(weight, abs=1e-4)


def test_top_accuracies_are_those_of_a_loop(searched, monkeypatch):
    problem = imagenet.load(P)
    dataset, done = problem.dataset, imagenet.found(P, "uniform", problem, searched["uniform"])
    monkeypatch.setattr(imagenet, "PART", 20)
    right = np.zeros(2)
    everything = dataset.fixed(dataset.test, 50)  # each image three times
    for x, y in zip(*(tensor.tensor_split(8) for tensor in everything), strict=True):
        with torch.no_grad():
            order = done.net.eval()(x, done.arch).argsort(dim=1, descending=True)
        for row, label in zip(order.tolist(), y.tolist(), strict=True):
            right += [label in row[:1], label in row[:5]]
    assert imagenet.top_accuracies(done.net, done.arch, dataset, 50) == pytest.approx(
        tuple(100 * right / 150)
    )
    assert right[0] < right[1] < 150


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["folder", "imagefolder"])
def test_top_accuracies_of_a_folder_are_those_of_a_random_order(
    empty_folders, by_class, shared_weights, layout
):
    dataset, arch = data.load(f"{layout}:{by_class}", image_size=16), make_space("pooling").enumerate()[14]
    order = torch.randperm(3000, generator=torch.Generator().manual_seed(5))
    shuffled = replace(dataset, test=dataset.test.take(order))
    found, expected = (imagenet.top_accuracies(shared_weights, arch, d) for d in (dataset, shuffled))
    assert found == pytest.approx(expected, abs=3)
    assert found[0] > 35


def test_table_5_has_the_papers_rows_and_ours_marked(searched):
    problem = imagenet.load(P)
    dataset = problem.dataset
    results = {m: imagenet.found(P, m, problem, searched[m]) for m in ("learned", "uniform")}
    ours = imagenet.table(results, dataset, 50)
    for method, done in results.items():
        row = ours.loc[method]
        assert row["architecture"] == MOBILE.format(done.arch)
        assert row["MACs (M)"] == cost.macs(MOBILE, done.arch) / 1e6
        assert row["parameters (M)"] == cost.params(MOBILE, done.arch) / 1e6
        assert (row["top-1"], row["top-5"]) == imagenet.top_accuracies(done.net, done.arch, dataset, 50)
        assert row["validation"] == 100 * done.scores.max()
        assert row["candidates"] == len(done.scores)
        assert row["different"] == len(set(done.history["architecture"][4:]))
        assert 0 < row["seconds"] < 100
    table = imagenet.beside_published(ours, "digits, tiny")
    assert list(table.index) == [*paper.TABLE_5.index, "MCTS + Learned, ours", "Uniform, ours"]
    assert list(table["measured on"]) == ["ImageNet, trained alone (paper)"] * 9 + ["digits, tiny"] * 2
    assert table.loc["MCTS + Learned", ["top-1", "top-5"]].tolist() == [76.3, 92.6]
    assert table.loc["MCTS + Learned", "search"] == "~ 7 GPU days"
    assert table.loc["MobileNetV2 1.0", "search"] == "-"
    assert table.loc["Uniform, ours", "top-1"] == round(ours.loc["uniform", "top-1"], 1)
    assert table.loc["Uniform, ours", "MACs (M)"] == round(ours.loc["uniform", "MACs (M)"], 1)
    assert table.loc["Uniform, ours", "search"] == f"{ours.loc['uniform', 'seconds']:.0f} s"


def test_images_of_the_right_size_are_left_as_they_are():
    assert imagenet.load(P).dataset.render is rendering.digits_render
    assert runs.device_of(P).type == "cpu"

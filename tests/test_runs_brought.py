"""What people bring goes through every command; what cannot work is said before anything starts."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from hnas_kit import (
    benchmarks,
    cli,
    cost,
    data,
    distances,
    plugins,
    samplers,
    search,
    spaces,
    supernets,
    trees,
)
from hnas_kit.errors import HnasError
from hnas_kit.reports import verification
from hnas_kit.rewards import make_reward
from hnas_kit.runs import Finished, Stage, brought, profiles
from hnas_kit.runs.params import NOTEBOOKS
from hnas_kit.studies import study
from hnas_kit.supernets.blocks import ConvBN
from hnas_kit.training import Checkpoints, Schedule
from hnas_kit.training.problem import Problem

pytestmark = pytest.mark.usefixtures("forget")

OWN = Path(__file__).with_name("own.py")
PROFILE = {
    "01_pretrain": "{plugins: [own.py], run: own, space: grouped, dataset: turned, width: 4, epochs: 1,"
    " batch_size: 50}",
    "02_distances": "{run: own, images: 50}",
    "03_tree": "{run: own}",
    "04_mcts": "{run: own, sampler: descent, tree: default, settings: {epsilon: 0.5}, epochs: 2,"
    " batch_size: 50, reward: training above average, simulated: 2,"
    " compare: [uniform, {label: eager, sampler: descent, tree: learned, settings: {epsilon: 0.1}}]}",
    "05_ablations": "{run: own, seeds: 1, simulated_seeds: 2, batch_size: 50, scored: 50}",
}


@pytest.fixture
def profile(tmp_path, outputs, monkeypatch) -> Path:
    """A profile of what ``own.py`` registers, in the working folder."""
    monkeypatch.setenv("HNAS_QUIET", "1")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "profile").mkdir()
    shutil.copy(OWN, tmp_path / "profile")
    for name, text in PROFILE.items():
        (tmp_path / "profile" / f"{name}.yaml").write_text(text)
    return tmp_path / "profile"


def run(*words: object) -> None:
    assert cli.main([str(word) for word in words]) == 0, words


def said(capsys, *words: object) -> str:
    """The one line of a command that refuses."""
    assert cli.main([str(word) for word in words]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    return line.removeprefix("hnas: ").strip()


@pytest.mark.slow
def test_all_four_go_through_every_command(profile, outputs, capsys):
    """hnas compare likewise in test_extend.py."""
    named = ("-p", "plugins", profile / "own.py")
    training = ("-p", "epochs", 4, "-p", "batch_size", 30, "-p", "width", 4)
    run("benchmark", "turned-grouped", "--seeds", 1, "--out", outputs.parent / "truth", *named, *training)
    assert len(benchmarks.for_dataset("grouped", "turned")) == 20  # 2^3 without dilation, 3 * 2^2 with one
    run("run", profile)
    found = Finished("own", "04_mcts").load("found.csv")
    assert list(found.index) == ["descent", "uniform", "eager"]
    assert found["rank"].between(1, 20).all()
    assert "Classes: upright, upside down." in (outputs / "own/report.html").read_text()
    assert Finished("own", "05_ablations").params["plugins"] == [str(profile / "own.py")]
    capsys.readouterr()
    run("run", profile)
    assert capsys.readouterr().out.count("up to date") == 5

    sweep = profile.parent / "sweep.yaml"
    sweep.write_text(
        "{run: grid, profile: profile, notebook: 01_pretrain, seeds: 1, plugins: [profile/own.py],"
        " grid: [{width: 2}]}"
    )
    run("sweep", sweep, "--workers", 1)
    run("report", "own")
    run("retrain", "own", "-p", "epochs", 1)
    (retrained,) = outputs.glob("own/retrain-*")
    run("export", "own", profile / "found.onnx")
    run("export", retrained, profile / "alone.pt2")
    session = onnxruntime.InferenceSession(profile / "found.onnx")
    (logits,) = session.run(None, {"images": np.zeros((3, 1, 8, 8), np.float32)})
    assert logits.shape == (3, 2)
    capsys.readouterr()
    where = ("-p", "space", "grouped", "-p", "dataset", "turned")
    run("simulate", "--seeds", 2, "--steps", 100, *named, *where)
    assert "\ndescent " in capsys.readouterr().out

    (profile / "own.py").write_text((profile / "own.py").read_text() + "\n# changed\n")
    run("run", profile, "--dry-run")
    assert capsys.readouterr().out.count(" runs, ") == 5
    (profile / "own.py").unlink()
    assert said(capsys, "report", "own") == (
        f"plugin {profile / 'own.py'} cannot be read: No such file or directory"
    )


def test_a_chain_has_all_that_a_space_has():
    plugins.load([str(OWN)])
    space = spaces.make_space("grouped")
    archs = space.enumerate()
    assert space.size == len(archs) == 20
    assert space.parse("012") == (0, 1, 2)
    with pytest.raises(HnasError, match="which stands at most once"):
        space.parse("022")
    # by hand: stem 3x3 of 1 to 4 channels, then 3x3 of 4 to 4, on 4x4 pixels; linear 4 to 2
    sizes = {"width": 4, "image_size": 8, "in_channels": 1, "num_classes": 2}
    assert cost.macs(space, (0, 0, 0), **sizes) == 16 * (9 * 4 + 3 * 9 * 16) + 8
    assert cost.macs(space, (1, 0, 0), **sizes) == 16 * (9 * 4 + 2 * 9 * 16 + 9 * 8) + 8
    window = cost.BudgetSampler(space, 0, 6000, **sizes)
    inside = [arch for arch in archs if cost.macs(space, arch, **sizes) <= 6000]
    assert window.count() == len(inside)
    assert set(window.sample(np.random.default_rng(0), 200)) <= set(inside)
    net = supernets.make_supernet(space, 1, 2, 4, generator=torch.Generator().manual_seed(0))
    again = supernets.make_supernet(space, 1, 2, 4, generator=torch.Generator().manual_seed(0))
    x = torch.randn(5, 1, 8, 8)
    assert torch.equal(net.eval()(x, (0, 1, 2)), again.eval()(x, (0, 1, 2)))
    assert torch.equal(supernets.extract(net, (0, 1, 2))(x), net(x, (0, 1, 2)))
    assert trees.default(space).num_leaves == 20
    assert distances.from_encodings(space.encode(archs, "onehot")).shape == (20, 20)


class Halving(spaces.SearchSpace):
    """Each layer may halve the resolution, which the automaton does not say."""

    name = "halving"
    ops = (("same", "half", "wide"),) * 4

    def block(self, layer, op, width, shared):
        return ConvBN(width, width, 5 if op == 2 else 3, shared, stride=2 if op == 1 else 1)

    def head(self, channels, num_classes):
        return nn.Sequential(nn.Conv2d(channels, num_classes, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_a_window_counts_where_operations_change_the_resolution():
    """What a layer costs depends on all before it; so does the head."""
    space, sizes = Halving(), {"width": 2, "image_size": 16, "in_channels": 1, "num_classes": 3}
    macs = {arch: cost.macs(space, arch, **sizes) for arch in space.enumerate()}
    assert len(set(macs.values())) > 40
    for low, high in ((0, 1e9), (20_000, 40_000), (min(macs.values()),) * 2):
        inside = {arch for arch, value in macs.items() if low <= value <= high}
        window = cost.BudgetSampler(space, low, high, **sizes)
        assert window.count() == len(inside)
        drawn = window.sample(np.random.default_rng(0), 40 * len(inside))
        assert set(drawn) == inside


def test_a_search_that_was_stopped_goes_on_with_the_same_bits(tmp_path):
    """The sampler has no state_dict of its own, the reward has one."""
    plugins.load([str(OWN)])
    values = {"space": "grouped", "dataset": "turned", "image_size": 0, "width": 2, "seed": 0}
    problem, space = Problem.of(values), spaces.make_space("grouped")

    def trial(folder: Path, progress=lambda steps: None) -> search.Result:
        sampler = samplers.make_sampler("descent", tree=trees.default(space))
        training = {"lr": 0.05, "weight_decay": 0.0, "progress": progress}
        reward, checkpoints = "training above average", Checkpoints(folder, 4)
        return search.trial(
            problem,
            sampler,
            Schedule(12, phased=False),
            seed=0,
            batch_size=20,
            reward=reward,
            checkpoints=checkpoints,
            **training,
        )

    steps = []

    def stop(done: int) -> None:
        steps.append(done)
        if sum(steps) == 6:
            raise KeyboardInterrupt

    whole = trial(tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        trial(tmp_path / "b", stop)
    resumed = trial(tmp_path / "b")
    assert whole.history["reward"].equals(resumed.history["reward"])
    assert whole.history["architecture"].equals(resumed.history["architecture"])
    assert np.array_equal(whole.sampler.mean, resumed.sampler.mean)


# mistakes

HEAD = """
import torch
from torch import nn
from hnas_kit import data, rewards, samplers, spaces
from hnas_kit.supernets.blocks import ConvBN
"""
SPACE = """
class Mine(spaces.SearchSpace):
    name = "mine"
    ops = (("a", "b"),) * 2
    def block(self, layer, op, width, shared):
        return {block}
spaces.register(Mine)
"""
NO_BLOCK = """
class A(spaces.SearchSpace):
    name, ops = "a", {ops}
spaces.register(A)
"""
SAMPLER = """
class Mine(samplers.Sampler):
    def sample(self, rng):
        return {sample}
    def probabilities(self):
        return {probabilities}
samplers.register("mine", Mine)
"""
NEIGHBOURS = """
class Near(samplers.Sampler):
    def __init__(self, space):
        super().__init__(space.enumerate())
    def sample(self, rng):
        near = [a for a in self.archs if sum(x != y for x, y in zip(a, self.archs[0])) == 1]
        return near[rng.integers(len(near))]
    def probabilities(self):
        return {self.archs[0]: 1.0}
samplers.register("near", Near)
"""
VIEWS = """
import numpy as np
class Mine(samplers.Sampler):
    def __init__(self, archs):
        super().__init__(archs)
        self.table = np.ones((len(archs), 2))
        self.total, self.count = self.table.T
    def sample(self, rng):
        return self.archs[rng.integers(len(self.archs))]
    def update(self, arch, reward):
        self.total[self.archs.index(arch)] += reward
        self.count[self.archs.index(arch)] += 1
    def probabilities(self):
        mean = self.table[:, 0] / self.table[:, 1]
        return dict(zip(self.archs, (mean / mean.sum()).tolist()))
samplers.register("mine", Mine)
"""
REWARD = "rewards.register('mine', {})"
DATA = "data.register('mine', {})"
FINE = "ConvBN(width, width, 3, shared)"
UNIFORM = "{a: 1 / len(self.archs) for a in self.archs}"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        # spaces
        ("spaces.register(int)", "None is no name for a search space"),
        ("class A: name = 'a'\nspaces.register(A)", "space a is no subclass of spaces.SearchSpace"),
        (NO_BLOCK.format(ops="{'edge': 'a'}"), "space a: ops must hold"),
        (NO_BLOCK.format(ops="(('x',),)"), "space a has no block("),
        (SPACE.format(block=FINE).replace('"mine"', '"macro"'), "there is a search space 'macro' already"),
        (SPACE.format(block="3"), "block of layer 0, operation a: it is of type int, not a torch.nn.Module"),
        (SPACE.format(block="exit(0)"), "block of layer 0, operation a: SystemExit: 0"),
        (SPACE.format(block="1 / 0"), "block of layer 0, operation a: ZeroDivisionError"),
        (SPACE.format(block="nn.Conv2d(3, 3, 1)"), "operation a on 2x16x32x32: RuntimeError"),
        (SPACE.format(block="nn.Flatten()"), "gives 2x16384 for 2 images"),
        (SPACE.format(block="ConvBN(width, width + op, 3, shared)"), "numbers of channels (a 16, b 17)"),
        (SPACE.format(block="nn.Bilinear(width, width, 3)"), "cells and graphs are not served"),
        (SPACE.format(block="nn.BatchNorm2d(width)"), "keeps running statistics"),
        (SPACE.format(block=f"nn.Sequential(nn.ReLU(True), {FINE})"), "operation a changes its input, which"),
        # samplers
        ("samplers.register('mine', int)", "sampler mine is no subclass of samplers.Sampler"),
        ("class A(samplers.Sampler): pass\nsamplers.register('a', A)", "sampler a has no probabilities, no"),
        (NEIGHBOURS.replace("space", "count"), "its first parameter is count"),
        (SAMPLER.format(sample="()", probabilities=UNIFORM), "sampler mine, sample gives (); it must be one"),
        (SAMPLER.format(sample="1 / 0", probabilities=UNIFORM), "sampler mine, sample: ZeroDivisionError"),
        (SAMPLER.format(sample="exit()", probabilities=UNIFORM), "sampler mine, sample: SystemExit"),
        (SAMPLER.format(sample="self.archs[0]", probabilities="{}"), "sampler mine, probabilities"),
        (SAMPLER.format(sample="self.archs[0]", probabilities="{self.archs[0]: 2}"), "add up to 2"),
        (SAMPLER.format(sample="self.archs[0]", probabilities=UNIFORM).replace("'mine'", "'mcts'").replace(
            '"mine", Mine', '"mcts", Mine'), "there is a sampler 'mcts' already"),
        (VIEWS, "sampler mine: restored from its state_dict it goes on otherwise"),
        # rewards
        (REWARD.format("3"), "reward mine cannot be called: it is of type int"),
        (REWARD.format("lambda logits, labels: 0"), "reward mine must take (arch, logits, labels)"),
        (REWARD.format("type('A', (), {'__call__': lambda *a: 0})"), "reward mine is a class"),
        ("rewards.register('relative training loss', max)", "there is a reward 'relative training loss' al"),
        # data
        (DATA.format("3"), "data set mine: its loader must be called as loader(device)"),
        (DATA.format("lambda: 0"), "data set mine: its loader must be called as loader(device)"),
        ("data.register('digits', print)", "there is a data set 'digits' already"),
        # the file itself
        ("\n\n1 / 0", "line 8: ZeroDivisionError: division by zero"),
        ("def", "line 6: SyntaxError: invalid syntax"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_plugin_is_one_line(tmp_path, text, line, capsys, outputs):
    path = tmp_path / "mine.py"
    path.write_text(HEAD + text)
    message = said(capsys, "run", "quick", "-p", "plugins", path)
    assert message.startswith(f"plugin {path}")
    assert line in message
    assert not outputs.exists()
    known = (*spaces.SPACES, *samplers.SAMPLERS)
    assert "mine" not in known  # nothing of it stays


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"04_mcts": {"sampler": "descent", "tree": ""}}, "sampler descent walks a tree"),
        ({"04_mcts": {"settings": {"epsilom": 1}}}, "sampler descent has no epsilom; it has epsilon, reward"),
        ({"04_mcts": {"settings": {"epsilon": "much"}}}, "sampler descent, sample: "),
        ({"04_mcts": {"sampler": "mcts"}}, "settings are of samplers that were registered"),
        ({"04_mcts": {"reward": "thrifty"}}, "reward is 'thrifty'"),
        ({"01_pretrain": {"space": "groupd"}}, "space is 'groupd'"),
        ({"01_pretrain": {"plugins": [3]}}, "plugins"),
    ],
)
def test_a_wrong_use_is_refused_before_anything_starts(profile, changes, line):
    values = profiles.load_profile(profile)
    for notebook, own in changes.items():
        values[notebook] = values[notebook] | own
    with pytest.raises(HnasError) as caught:
        profiles.checked(values)
    assert line in str(caught.value)


@pytest.mark.parametrize(
    ("text", "notebook", "own", "line"),
    [
        ("", "01_pretrain", {"dataset": "turn"}, "unknown data set 'turn' (did you mean 'turned'?)"),
        (REWARD.format("lambda a, x, y: x"), "04_mcts", {"reward": "mine"}, "gives a Tensor of shape (4, 2)"),
        (
            REWARD.format("lambda a, x, y: 10**400"),
            "04_mcts",
            {"reward": "mine"},
            "gives a int; it must be one",
        ),
        (REWARD.format("lambda a, x, y: None"), "04_mcts", {"reward": "mine"}, "gives nothing"),
        (REWARD.format("lambda a, x, y: 0 * float('inf')"), "04_mcts", {"reward": "mine"}, "gives nan"),
        (REWARD.format("lambda a, x, y: a[9]"), "04_mcts", {"reward": "mine"}, "IndexError"),
        (DATA.format("lambda device: 3"), "01_pretrain", {"dataset": "mine"}, "its loader gives a int"),
        (REWARD.format("lambda a, x, y: exit(0)"), "04_mcts", {"reward": "mine"}, "SystemExit: 0"),
        (DATA.format("lambda device: exit(0)"), "01_pretrain", {"dataset": "mine"}, "raised SystemExit: 0"),
        (
            SAMPLER.format(sample="self.archs[26]", probabilities=UNIFORM),
            "04_mcts",
            {"sampler": "mine", "tree": "", "settings": {}},  # of the 20 of this space
            "sampler mine, sample: IndexError",
        ),
        (DATA.format("lambda device: 1 / 0"), "01_pretrain", {"dataset": "mine"}, "raised ZeroDivisionError"),
        (
            DATA.format(
                "lambda d: data.from_arrays('x', {'train_x': torch.zeros(9, 1, 8, 8, dtype=torch.uint8), "
                "'train_y': torch.arange(9), 'test_x': torch.zeros(9, 1, 8, 8, dtype=torch.uint8), "
                "'test_y': torch.arange(9)}, 'ab')"
            ),
            "01_pretrain",
            {"dataset": "mine"},
            "train.labels go from 0 to 8; there are 2 classes",
        ),
    ],
)
def test_what_gives_the_wrong_thing_is_refused_before_anything_starts(profile, text, notebook, own, line):
    (profile / "mine.py").write_text(HEAD + text)
    values = profiles.load_profile(profile)
    files = [*values["01_pretrain"]["plugins"], str(profile / "mine.py")]
    values = {name: given | {"plugins": files} for name, given in values.items()}
    values[notebook] = values[notebook] | own
    params, _ = profiles.checked(values)
    with pytest.raises(HnasError) as caught:
        brought.check(params)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_sampler_may_go_from_one_architecture_to_the_next(tmp_path):
    """Which cannot be done in every space of the kit: two codes of pooling differ in two layers."""
    (path := tmp_path / "near.py").write_text(HEAD + NEIGHBOURS)
    plugins.load([str(path)])
    assert "near" in samplers.SAMPLERS


def test_verifying_a_run_imports_what_it_was_made_with(outputs):
    values = {"run": "a", "plugins": [str(OWN)], "space": "grouped", "dataset": "turned"}
    stage = Stage(NOTEBOOKS["01_pretrain"].checked(values, ""))
    stage.save("a.json", 1)
    stage.finish("made")
    plugins._forget(OWN)
    assert verification.verify("a")
    assert "grouped" in spaces.SPACES


def test_a_mixture_cannot_be_simulated_nor_ranks_without_ground_truth_be_had(profile, capsys):
    words = (
        "simulate",
        "-p",
        "plugins",
        profile / "own.py",
        "-p",
        "space",
        "grouped",
        "-p",
        "dataset",
        "turned",
    )
    line = said(capsys, *words)
    assert "there is no ground truth of grouped on turned; hnas benchmark turned-grouped makes it" in line
    how, subject = study.protocol(steps=100), study.setting()
    with pytest.raises(HnasError, match="Mixture cannot be simulated"):
        study.run(subject, how, {"mixture": samplers.METHODS["mixture"]})


def test_a_reward_begins_afresh_in_every_search():
    plugins.load([str(OWN)])
    first, second = make_reward("training above average"), make_reward("training above average")
    assert first.on_training
    logits, labels = torch.randn(8, 2), torch.zeros(8, dtype=torch.int64)
    assert first.measured(logits, labels, (0, 0, 0)) == 0
    assert first.state_dict()["average"] is not None
    assert second.state_dict() == {"average": None}


def test_a_data_set_keeps_halves_that_it_says(monkeypatch):
    plugins.load([str(OWN)])
    whole = data.load("turned")
    data.register("halved", lambda device: replace(whole, first_half=10))
    try:
        assert torch.equal(data.load("halved").train.images, whole.train.images)
        assert len(data.load("halved").halves(torch.Generator())[0]) == 10
    finally:
        data.loading.DATASETS.remove("halved")

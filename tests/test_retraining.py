"""One architecture alone: its network, warm-up, smoothed labels, averaged weights, and the command."""

from __future__ import annotations

import copy
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hnas_kit import benchmarks, cli, cost, data, retraining, runs, training
from hnas_kit.benchmarks import making
from hnas_kit.errors import HnasError
from hnas_kit.files import sha256, torch_value
from hnas_kit.runs.folders import manifest_checksum
from hnas_kit.spaces import make_space
from hnas_kit.supernets import extract, make_supernet, prune, skeleton

SPACES = {name: make_space(name) for name in ("pooling", "macro", "mobile")}
ARCHS = {
    "pooling": "[4,3,3]",
    "macro": "22212220",
    "mobile": "0,12,12,12,0,2,12,12,3,4,5,12,9,6,12,12,1,11,12,12,6",
}
DIGITS = {"space": "pooling", "architecture": "[7,1,2]", "dataset": "digits", "width": 2}
TINY = {"epochs": 3, "batch_size": 300, "device": "cpu", "threads": 1}  # 3 epochs of 3 steps


def new(name: str, width: int = 2) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    return make_supernet(SPACES[name], 3, 5, width, shared=False, generator=generator)


# the network


@pytest.mark.parametrize("name", SPACES)
def test_a_pruned_network_is_the_supernet_on_its_architecture(name):
    space, arch = SPACES[name], SPACES[name].parse(ARCHS[name])
    net, x = new(name), torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    pruned = prune(net, arch)
    for mode in (True, False):
        assert torch.equal(pruned.train(mode)(x, arch), copy.deepcopy(net).train(mode)(x, arch))
    weights = sum(p.numel() for p in pruned.parameters())
    assert weights == cost.params(space, arch, width=2, in_channels=3, num_classes=5)
    if name != "pooling":  # there all architectures have all weights
        assert weights < sum(p.numel() for p in net.parameters())
    plain = extract(pruned.eval(), arch)
    assert torch.equal(plain(x), pruned(x, arch))
    assert list(plain.state_dict()) == list(extract(net, arch).state_dict())


# the loss and the learning rate


class Linear(nn.Linear):
    """One layer, whatever the architecture."""

    def forward(self, x: torch.Tensor, arch: tuple[int, ...]) -> torch.Tensor:
        return super().forward(x.flatten(1))


def toy() -> tuple[Linear, data.Batches]:
    source = torch.Generator().manual_seed(1)
    images = torch.randint(256, (20, 1, 2, 2), generator=source, dtype=torch.uint8)
    split = data.Split(images, torch.randint(3, (20,), generator=source))
    net = Linear(4, 3)
    for parameter in net.parameters():
        nn.init.normal_(parameter, generator=source)
    render = lambda images, *_: images / 255  # noqa: E731 - no augmentation
    return net, data.Batches(split, render, 8, torch.Generator().manual_seed(2), None)


@pytest.mark.parametrize("warmup", [0, 1, 3])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_labels_are_smoothed_and_the_rate_rises_first_by_hand(smoothing, warmup):
    """Plain gradient descent by hand: softmax regression's gradient is x (p - target)."""
    steps, lr = 8, 0.5
    net, batches = toy()
    expected, again = toy()
    weight, bias = (p.detach().double() for p in expected.parameters())
    losses = training.train(
        net,
        batches,
        lambda step: (0,),
        steps,
        lr=lr,
        weight_decay=0.0,
        momentum=0.0,
        label_smoothing=smoothing,
        warmup_steps=warmup,
    )
    for step in range(steps):
        images, y = next(again)
        x = images.flatten(1).double()
        target = torch.full((8, 3), smoothing / 3, dtype=torch.float64)
        target[range(8), y] += 1 - smoothing
        log_p = torch.log_softmax(x @ weight.T + bias, 1)
        assert losses[step] == pytest.approx(-(target * log_p).sum(1).mean().item(), rel=1e-4)
        gap = (log_p.exp() - target) / 8
        if step < warmup:
            rate = lr * (step + 1) / (warmup + 1)
        else:
            rate = lr * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2
        weight, bias = weight - rate * gap.T @ x, bias - rate * gap.sum(0)
    torch.testing.assert_close(net.weight.double(), weight, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(net.bias.double(), bias, rtol=1e-4, atol=1e-5)


# averaged weights


def test_the_average_follows_weights_and_statistics_by_hand(recorder):
    arch = SPACES["pooling"].parse("[7,1,2]")
    trained = making.train(
        SPACES["pooling"],
        data.load("digits"),
        arch,
        0,
        width=2,
        epochs=2,
        batch_size=200,
        lr=0.05,
        weight_decay=1e-3,
        ema_decay=0.8,
        checkpoints=recorder,
    )
    assert len(trained.losses) == 10
    after = [state["net"] for state in recorder.states] + [trained.net.state_dict()]
    followed = [name for name, value in after[0].items() if value.is_floating_point()]
    assert any(name.endswith("running_var") for name in followed)
    for name in followed:
        average = after[0][name].double()
        for state in after[1:]:
            average = 0.8 * average + 0.2 * state[name].double()
        found = trained.average.state_dict()[name].double()
        torch.testing.assert_close(found, average, rtol=1e-4, atol=1e-6)
        assert torch.equal(recorder.states[0]["average"][f"module.{name}"], after[0][name])
    moved = sum(not torch.equal(trained.average.state_dict()[n], after[-1][n]) for n in followed)
    assert moved > len(followed) / 2


def test_without_a_decay_there_is_no_average_and_nothing_changes():
    settings = {"width": 1, "epochs": 1, "batch_size": 450, "lr": 0.05, "weight_decay": 1e-3}
    arch = SPACES["pooling"].parse("[7,1,2]")
    plain, averaged = (
        making.train(SPACES["pooling"], data.load("digits"), arch, 0, ema_decay=decay, **settings)
        for decay in (0.0, 0.9)
    )
    assert plain.average is None
    np.testing.assert_array_equal(plain.losses, averaged.losses)
    for name, value in plain.net.state_dict().items():
        assert torch.equal(value, averaged.net.state_dict()[name])


def test_accuracy_over_pieces_is_that_over_all(pets):
    """Pieces of unlike sizes count by their images."""
    dataset = data.load(f"imagefolder:{pets}", image_size=16)
    arch = SPACES["pooling"].parse("[7,1,2]")
    net = prune(make_supernet(SPACES["pooling"], 3, 3, 2, shared=False), arch).eval()
    x, y = dataset.fixed(dataset.test)
    with torch.no_grad():
        expected = (net(x, arch).argmax(1) == y).double().mean().item()
    pieces = [(x[:1], y[:1]), (x[1:], y[1:])]
    in_pieces = type("Pieces", (), {"test": None, "pieces": lambda self, split: iter(pieces)})()
    assert making.accuracy(net, arch, in_pieces) == pytest.approx(expected)
    assert making.accuracy(net, arch, dataset) == pytest.approx(expected)


# the command


@pytest.fixture
def quiet(outputs, monkeypatch) -> Path:
    monkeypatch.setenv("HNAS_QUIET", "1")
    return outputs


def arguments(**changes: object) -> list[str]:
    """``hnas retrain`` of an architecture on the digits, with tiny values."""
    values = DIGITS | TINY | changes
    named = {"space": "--space", "architecture": "--arch", "dataset": "--dataset", "width": "--width"}
    command = ["retrain"]
    for name, value in values.items():
        command += [named[name], str(value)] if name in named else ["-p", name, str(value)]
    return command


def results(root: Path) -> list[Path]:
    return sorted(path.parent for path in root.glob("*/retrain-*/result.json"))


def test_a_result_says_what_its_weights_are_worth(quiet, capsys):
    settings = {"ema_decay": 0.5, "batch_size": 30, "lr": 0.1, "width": 4, "architecture": "[4,3,3]"}
    assert cli.main(arguments(**settings)) == 0
    (folder,) = results(quiet)
    assert folder.parent.name == "retrained"
    assert sorted(path.name for path in folder.iterdir()) == ["result.json", "weights.pt"]
    record = json.loads((folder / "result.json").read_text())
    assert record["weights_sha256"] == sha256(folder / "weights.pt")

    space, arch = SPACES["pooling"], SPACES["pooling"].parse("[4,3,3]")
    plain = extract(make_supernet(space, 1, 10, 4, shared=False), arch).eval()
    dataset = data.load("digits")
    x, y = dataset.fixed(dataset.test)
    weights = torch_value((folder / "weights.pt").read_bytes())
    assert weights.keys() == record["accuracy"].keys() == {"net", "average"}
    for name, state in weights.items():
        plain.load_state_dict(state)
        with torch.no_grad():
            accuracy = 100 * (plain(x).argmax(1) == y).double().mean().item()
        assert record["accuracy"][name] == pytest.approx(accuracy)
    truth = benchmarks.load("digits-pooling").loc["[4,3,3]"]
    assert record["ground_truth"] == {
        "accuracy": pytest.approx(truth["accuracy"]),
        "rank": truth["rank"],
        "of": 36,
    }
    assert int(record["network"]["macs"]) == cost.macs(space, arch, width=4, in_channels=1, image_size=16)
    assert int(record["network"]["params"]) == sum(p.numel() for p in plain.parameters())
    assert record["steps"] == 90
    assert record["params"]["weight_decay"] == benchmarks.PROTOCOLS["digits-pooling"].weight_decay
    assert min(record["accuracy"].values()) > 20  # it has learned: another one's would differ
    assert any(not torch.equal(value, weights["average"][name]) for name, value in weights["net"].items())
    assert torch.__version__.startswith(record["provenance"]["versions"]["torch"])
    out, err = capsys.readouterr()
    assert err == ""
    assert out == (
        f"[4,3,3] alone on digits: {record['accuracy']['net']:.2f} %, with averaged weights "
        f"{record['accuracy']['average']:.2f} %; ground truth {truth['accuracy']:.2f} %, "
        f"rank {truth['rank']:.0f} of 36; {folder}\n"
    )

    before = (folder / "result.json").stat().st_mtime_ns
    assert cli.main(arguments(**settings, checkpoint_every=7)) == 0  # the same result: not made again
    assert capsys.readouterr().out == out
    assert (folder / "result.json").stat().st_mtime_ns == before
    (folder / "weights.pt").write_bytes(b"")
    assert cli.main(arguments(**settings)) == 0  # damaged: made again, to the same
    assert capsys.readouterr().out == out
    assert sha256(folder / "weights.pt") == record["weights_sha256"]


def test_every_setting_makes_another_result(quiet):
    several = [
        {},
        {"seed": 1},
        {"lr": 0.01},
        {"label_smoothing": 0.1},
        {"warmup_epochs": 1},
        {"weight_decay": 0.1},
        {"momentum": 0.5},
        {"epochs": 3},
        {"batch_size": 400},
        {"precision": "bfloat16"},
        {"architecture": "[1,1,8]"},
        {"width": 2},
    ]
    for changes in several:
        assert cli.main(arguments(**{"ema_decay": 0.0, "epochs": 2, "width": 1} | changes)) == 0
    folders = results(quiet)
    assert len(folders) == len(several)
    weights = [torch_value((folder / "weights.pt").read_bytes()) for folder in folders]
    assert {tuple(saved) for saved in weights} == {("net",)}
    sums = {float(sum(value.double().sum() for value in saved["net"].values())) for saved in weights}
    assert len(sums) == len(several)


class Killed(BaseException):
    pass


@pytest.mark.parametrize(("kill_after", "streamed"), [(1, False), (5, False), (7, True)])
def test_a_killed_training_that_is_started_again_gives_the_same_bits(
    quiet, tmp_path, monkeypatch, capsys, pets, kill_after, streamed
):
    changes = {"ema_decay": 0.9, "label_smoothing": 0.1, "warmup_epochs": 1, "checkpoint_every": 2}
    if streamed:
        changes |= {"dataset": f"imagefolder:{pets}", "image_size": 16, "batch_size": 8, "workers": 1}
    command = arguments(**changes)
    assert cli.main(command) == 0
    whole = (results(quiet)[0] / "weights.pt").read_bytes()
    line = capsys.readouterr().out

    monkeypatch.setenv("HNAS_OUTPUTS", str(tmp_path / "killed"))
    done, progress = [], runs.progress

    def counted(total: int, what: str) -> object:
        bar = progress(total, what)
        update = bar.update

        def until_killed(steps: int) -> None:
            done.append(steps)
            if len(done) == 1 + kill_after:  # the first tells where it starts
                raise Killed
            update(steps)

        bar.update = until_killed
        return bar

    with monkeypatch.context() as patch:
        patch.setattr(runs, "progress", counted)
        with pytest.raises(Killed):
            cli.main(command)
        assert not results(tmp_path / "killed")
        done[:] = [0] * 100  # never again
        begun = len(done)
        assert cli.main(command) == 0
    assert done[begun] == kill_after // 2 * 2  # from the last checkpoint
    (folder,) = results(tmp_path / "killed")
    assert (folder / "weights.pt").read_bytes() == whole
    assert capsys.readouterr().out == line.replace(str(quiet), str(tmp_path / "killed"))
    assert sorted(path.name for path in folder.iterdir()) == ["result.json", "weights.pt"]


@pytest.mark.parametrize("name", SPACES)
def test_all_spaces_can_be_trained_alone(quiet, pets, name):
    given = {"space": name, "architecture": ARCHS[name], "dataset": f"imagefolder:{pets}", "width": 2}
    settings = {"epochs": 1, "warmup_epochs": 0, "batch_size": 10, "image_size": 32, "workers": 0}
    assert cli.main(arguments(**given | settings)) == 0
    record = json.loads((results(quiet)[0] / "result.json").read_text())
    assert record["network"]["architecture"] == ARCHS[name]
    assert record["network"]["image_size"] == "32"
    assert record["ground_truth"] is None
    assert 0 <= record["accuracy"]["net"] <= 100


# whose architecture


@pytest.fixture
def searched(quiet) -> Path:
    """The outputs folder with two finished searches in it, as far as they are read."""
    pooling = {"space": "pooling", "dataset": "textures", "width": 3, "image_size": 12}
    window = {"dataset": "textures", "width": 4, "image_size": 36, "workers": 2}
    for notebook, lineage, params, found in (
        ("04_mcts", {"01_pretrain": pooling}, {}, {"learned": "[4,3,3]", "default": "[6,2,2]"}),
        ("06_imagenet", {"06_imagenet": window}, window, {"learned": ARCHS["mobile"]}),
    ):
        folder = quiet / "mine" / notebook
        folder.mkdir(parents=True)
        table = "method,architecture\n" + "".join(f'{name},"{arch}"\n' for name, arch in found.items())
        (folder / "found.csv").write_text(table)
        manifest = {key: {} for key in ("runs", "fingerprint", "headline", "provenance")} | {
            "format": runs.FORMAT,
            "notebook": notebook,
            "lineage": lineage,
            "params": params,
            "outputs": {"found.csv": sha256(table.encode())},
        }
        manifest["checksum"] = manifest_checksum(manifest)
        (folder / "manifest.json").write_text(json.dumps(manifest))
    return quiet


@pytest.mark.parametrize(
    ("run", "method", "values", "expected", "label"),
    [
        ("mine", "", {}, ("pooling", "textures", "[4,3,3]", 3), "learned"),
        ("mine", "default", {"seed": 2}, ("pooling", "textures", "[6,2,2]", 3), "default"),
        ("mine", "", {"dataset": "cifar10", "width": 8}, ("pooling", "cifar10", "[4,3,3]", 8), "learned"),
        ("mine", "", {"architecture": "[1,1,8]"}, ("pooling", "textures", "[1,1,8]", 3), "given"),
        ("", "", DIGITS, ("pooling", "digits", "[7,1,2]", 2), "given"),
        (
            "",
            "",
            {"space": "macro", "architecture": "20212220", "dataset": "cifar10"},
            ("macro", "cifar10", "20212220", 32),
            "given",
        ),
    ],
)
def test_an_architecture_is_a_runs_or_given(searched, run, method, values, expected, label):
    p, by = retraining.parameters(run, method, values)
    assert (p.space, p.dataset, p.architecture, p.width) == expected
    assert p.image_size == (12 if run else 0)
    assert by == label
    assert p.run == (run or "retrained")
    assert retraining.folder_of(p, by).parent == searched / p.run
    assert retraining.folder_of(p, by).name.startswith(f"retrain-{label}-")


def test_what_a_window_holds_is_trained_on_images_of_its_size(searched):
    p, by = retraining.parameters("mine", "", {"epochs": 7}, "06_imagenet")
    assert (p.space, p.architecture, by) == ("mobile", ARCHS["mobile"], "learned")
    assert (p.dataset, p.width, p.image_size, p.workers) == ("textures", 4, 36, 2)
    shutil.rmtree(searched / "mine" / "04_mcts")  # then it is the first that is there
    assert retraining.parameters("mine", "", {"epochs": 7}) == (p, by)


def test_another_code_of_the_same_network_is_the_same_training(quiet):
    values = {"space": "macro", "architecture": "02000000", "dataset": "digits"}
    twins = [retraining.parameters("", "", values | {"architecture": a})[0] for a in ("02020000", "02002000")]
    assert twins[0] == twins[1]
    assert skeleton(SPACES["macro"]).width == twins[0].width


def test_training_is_that_of_the_ground_truth_made_here():
    protocol = benchmarks.PROTOCOLS["textures-pooling"]
    settings = retraining.recipe("pooling", "textures")
    for name in ("epochs", "batch_size", "lr", "weight_decay", "momentum"):
        assert settings[name] == getattr(protocol, name)
    assert settings["label_smoothing"] == settings["warmup_epochs"] == 0
    published = retraining.recipe("pooling", "cifar10")
    assert (published["epochs"], published["lr"]) == (100, 0.05)
    mobile = retraining.recipe("mobile", "imagefolder:x")
    assert (mobile["epochs"], mobile["batch_size"], mobile["lr"]) == (100, 1024, 0.12)  # facts of the paper
    assert mobile["weight_decay"] == 4e-5


def test_the_command_trains_what_a_run_found(searched, capsys):
    changes = {"dataset": "digits", "epochs": 1, "batch_size": 450, "device": "cpu"}
    command = [
        "retrain",
        "mine",
        "--method",
        "default",
        *(a for k, v in changes.items() for a in ("-p", k, str(v))),
    ]
    assert cli.main(command) == 0
    assert capsys.readouterr().out.startswith("[6,2,2] alone on digits: ")
    (folder,) = results(searched)
    assert folder.parent == searched / "mine"
    assert json.loads((folder / "result.json").read_text())["found_by"] == "default"


def test_what_was_trained_alone_is_exported(quiet, capsys, tmp_path):
    assert cli.main(arguments(ema_decay=0.5)) == 0
    (folder,) = results(quiet)
    assert cli.main(["export", str(folder), str(tmp_path / "net.pt2")]) == 0
    assert "space pooling, architecture [7,1,2], image_size 16, width 2, in" in capsys.readouterr().out
    arch = SPACES["pooling"].parse("[7,1,2]")
    plain = extract(make_supernet(SPACES["pooling"], 1, 10, 2, shared=False), arch).eval()
    plain.load_state_dict(torch_value((folder / "weights.pt").read_bytes())["average"])
    x, _ = data.load("digits").fixed(data.load("digits").test, limit=9)
    program = torch.export.load(tmp_path / "net.pt2").module()
    with torch.no_grad():
        torch.testing.assert_close(program(x), plain(x))
    (folder / "weights.pt").write_bytes(b"")
    said = {"": "holds no finished training, or a damaged one", "--method default": "--method and --notebook"}
    for option, line in said.items():
        assert cli.main(["export", str(folder), str(tmp_path / "other.pt2"), *option.split()]) == 2
        assert line in capsys.readouterr().err
    assert not (tmp_path / "other.pt2").exists()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("retrain", "without a run, space, architecture, dataset must be given"),
        ("retrain --space pooling --dataset digits", "without a run, architecture must be given"),
        ("retrain other", "{outputs}/other/04_mcts holds no finished 04_mcts; run notebooks/04_mcts"),
        ("retrain mine --method lerned", "unknown method of mine 'lerned' (did you mean 'learned'?)"),
        ("retrain --method learned", "learned is of a run, and no run is named"),
        ("retrain --notebook 06_imagenet", "06_imagenet is of a run, and no run is named"),
        ("retrain mine --notebook 06_imagenet --method default", "unknown method of mine 'default'"),
        (
            "export mine/retrain-learned-1 net.pt2",
            "run is 'mine/retrain-learned-1': should not have the part retrain-learned-1",
        ),
        ("retrain mine --space pool", "unknown search space 'pool'"),
        ("retrain mine --arch [9,9,9]", "'[9,9,9]'"),
        ("retrain mine --space mobile", "'[4,3,3]'"),
        ("retrain mine --width 0", "hnas retrain: width is 0: Input should be greater than or equal to 1"),
        ("retrain mine -p epoch 3", "hnas retrain: unknown parameter epoch (did you mean epochs?)"),
        ("retrain mine -p epochs 0", "hnas retrain: epochs is 0: Input should be greater than or equal to 1"),
        ("retrain mine -p ema_decay 1.0", "hnas retrain: ema_decay is 1.0: Input should be less than 1"),
        ("retrain mine -p label_smoothing -0.1", "hnas retrain: label_smoothing is -0.1: Input should be"),
        ("retrain mine -p warmup_epochs 5", "hnas retrain: warmup_epochs is 5: it must be below epochs, 5"),
        ("retrain mine -p plugins 3", "hnas retrain: plugins is 3: Input should be a valid list"),
        ("retrain mine -p lr fast", "hnas retrain: lr is 'fast': Input should be a valid number"),
        ("retrain mine --dataset none", "dataset is 'none': unknown data set 'none'; allowed: digits"),
        ("retrain mine --dataset imagefolder:/none", "data set 'imagefolder:/none': there is no /none"),
        (
            "retrain mine --dataset digits -p batch_size 901",
            "retrain: batch_size is 901; data set digits has 900 images to train on",
        ),
        ("retrain mine -p device cuda", "device is cuda, but PyTorch finds no CUDA device here"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(searched, capsys, command, said):
    before = sorted(searched.rglob("*"))
    assert cli.main(command.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("hnas: ")
    assert said.format(outputs=searched) in err
    assert sorted(searched.rglob("*")) == before


def test_a_picture_that_cannot_be_read_ends_the_training_in_one_line(quiet, tmp_path, pets, capsys):
    own = shutil.copytree(pets, tmp_path / "own")
    next((own / "train" / "eel").glob("*.png")).write_bytes(b"x")
    settings = {"dataset": f"imagefolder:{own}", "image_size": 16, "batch_size": 7, "workers": 1}
    assert cli.main(arguments(**settings)) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert f"{own}/train/eel/" in err
    assert not results(quiet)


def test_a_result_of_another_kind_is_not_taken_for_one(tmp_path):
    path = tmp_path / "result.json"
    for text in ("", "[]", "{}", json.dumps({"format": retraining.FORMAT})):
        path.write_text(text)
        assert retraining._finished(tmp_path) is None
    with pytest.raises(HnasError, match=r"\Aunknown search space"):
        retraining.recipe("mobil", "digits")

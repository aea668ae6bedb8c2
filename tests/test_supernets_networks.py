"""The Pooling supernet: resolutions, shared weights, initial weights, refused sizes; several as a mixture."""

from __future__ import annotations

import copy

import pytest
import torch
from common import ARCHS, SPACE, generator
from torch import nn

from hnas_kit import evaluation
from hnas_kit.data import Batches, Split
from hnas_kit.errors import HnasError
from hnas_kit.spaces import make_space
from hnas_kit.supernets import make_supernet, mixture, networks, skeleton
from hnas_kit.training import train


def images(n: int = 4, size: int = 16, channels: int = 1) -> torch.Tensor:
    return torch.randn(n, channels, size, size, generator=torch.Generator().manual_seed(0))


def test_every_architecture_has_the_layers_of_its_text_at_each_resolution(new_net):
    net, sizes = new_net(), []
    for layer in (net.stem, *net.layers):
        layer.register_forward_hook(lambda module, args, out: sizes.append(out.shape[-1]))
    for arch in ARCHS:
        sizes.clear()
        assert net(images(), arch).shape == (4, 10)
        assert "[{},{},{}]".format(*(sizes.count(size) for size in (16, 8, 4))) == SPACE.format(arch)


def test_widths_double_after_the_fourth_and_seventh_layer(new_net):
    net, widths = new_net(width=3), []
    for layer in (net.stem, *net.layers):
        layer.register_forward_hook(lambda module, args, out: widths.append(out.shape[1]))
    net(images(), ARCHS[0])
    assert widths == [3] * 4 + [6] * 3 + [12] * 3


def test_the_default_width_is_the_papers():
    assert skeleton(SPACE).width == 16
    with torch.device("meta"):
        assert make_supernet(SPACE).stem[0][0].weight.shape == (16, 3, 3, 3)


def test_architectures_share_all_weights(new_net):
    net = new_net()
    for arch in (ARCHS[0], ARCHS[-1]):
        net.zero_grad()
        net(images(), arch).square().sum().backward()
        assert all(p.grad is not None for p in net.parameters())


def test_architectures_differ(new_net):
    net, x = new_net(), images()
    logits = torch.stack([net(x, arch) for arch in ARCHS])
    assert len(torch.unique(logits, dim=0)) == 36


def test_shared_batch_norm_keeps_nothing(new_net):
    net = new_net()
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 21  # stem, two a block, two on shortcuts
    assert all(m.weight is None and m.running_mean is None for m in norms)
    net(images(), ARCHS[0])
    assert not list(net.buffers())


def test_evaluation_depends_on_the_batch_only_where_weights_are_shared(new_net):
    x = images(6)
    for shared in (True, False):
        net = new_net(shared=shared).eval()
        alone, among_others = net(x[:3], ARCHS[5]), net(x, ARCHS[5])[:3]
        assert torch.allclose(alone, among_others, atol=1e-5) is not shared


def test_initial_weights_come_from_the_generator_alone(new_net):
    torch.manual_seed(1)
    first = new_net(seed=7).state_dict()
    torch.manual_seed(2)
    second, third = new_net(seed=7).state_dict(), new_net(seed=8).state_dict()
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert not any(torch.equal(value, third[name]) for name, value in first.items())


@pytest.mark.parametrize("shared", [True, False])
def test_initial_weights_are_pytorchs_own(new_net, shared):
    net = new_net(seed=5, shared=shared)
    expected = copy.deepcopy(net)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        for module in expected.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
    for name, value in net.state_dict().items():
        assert torch.equal(value, expected.state_dict()[name]), name


@pytest.mark.parametrize("size", ["in_channels", "num_classes", "width"])
def test_a_size_below_one_is_refused_in_one_line(size):
    with pytest.raises(HnasError, match=rf"^{size} is 0; it must be at least 1$"):
        make_supernet(SPACE, **{"in_channels": 1, "num_classes": 2, "width": 2} | {size: 0})


# a mixture


@pytest.mark.parametrize("models", [1, 3])
def test_a_mixture_answers_as_the_supernet_that_was_chosen(new_net, models):
    nets = [new_net(seed=seed) for seed in range(models)]
    both, x = mixture(nets), images()
    for arch in (ARCHS[0], ARCHS[20], ARCHS[35]):
        answers = [both(x, (model, *arch)) for model in range(models)]
        for net, answer in zip(nets, answers, strict=True):
            assert torch.equal(answer, net(x, arch))
        assert len(torch.unique(torch.stack(answers), dim=0)) == models
    assert sum(p.numel() for p in both.parameters()) == models * sum(p.numel() for p in nets[0].parameters())


def test_a_mixture_is_evaluated_like_its_supernets(new_net):
    nets = [new_net(seed=seed) for seed in range(2)]
    x, y = images(30), torch.arange(30) % 10
    paths = [(model, *arch) for arch in ARCHS[::5] for model in (1, 0)]
    outputs = evaluation.outputs(mixture(nets), paths, x)
    for model, net in enumerate(nets):
        alone = evaluation.outputs(net, ARCHS[::5], x)
        assert torch.equal(outputs[[i for i, path in enumerate(paths) if path[0] == model]], alone)
    accuracy = evaluation.accuracy(mixture(nets), paths, x, y)
    assert accuracy[::2].tolist() == evaluation.accuracy(nets[1], ARCHS[::5], x, y).tolist()


def test_every_supernet_of_a_mixture_has_initial_weights_of_its_own(monkeypatch):
    """Also of blocks of one's own, which PyTorch draws while they are built."""

    def build(in_channels, num_classes, width, shared):
        return nn.ModuleList([nn.Conv2d(1, 2, 3), nn.ConvTranspose2d(1, 2, 3), nn.Embedding(3, 2)])

    outline = networks.skeleton(SPACE)._replace(build=build)
    monkeypatch.setattr(networks, "skeleton", lambda space: outline)
    draw = generator(3)
    nets = [make_supernet(SPACE, generator=draw) for _ in range(2)]
    for one, other in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert not torch.equal(one, other)
    again, plain = generator(3), generator(3)
    assert torch.equal(make_supernet(SPACE, generator=again)[2].weight, nets[0][2].weight)
    nn.init.kaiming_uniform_(weight := torch.empty(2, 1, 3, 3), a=5**0.5, generator=plain)
    assert torch.equal(weight, nets[0][0].weight)  # what is a convolution is drawn as without the others


def test_supernets_that_are_not_chosen_stay_untouched(new_net):
    nets = [new_net(seed=seed) for seed in range(3)]
    before = [copy.deepcopy(net.state_dict()) for net in nets]
    pixels = torch.randint(
        256, (40, 1, 16, 16), generator=torch.Generator().manual_seed(1), dtype=torch.uint8
    )
    split = Split(pixels, torch.arange(40) % 10)
    batches = Batches(split, lambda x, *_: x / 255, 20, torch.Generator().manual_seed(2), None)
    chosen, states = [0, 2, 2, 0], []

    def choose(step: int) -> tuple[int, ...]:
        states.append([copy.deepcopy(net.state_dict()) for net in nets])
        return (chosen[step], *ARCHS[step])

    train(mixture(nets), batches, choose, 4, lr=0.1, weight_decay=0.1)
    states.append([net.state_dict() for net in nets])
    for step, model in enumerate(chosen):
        for other in range(3):
            same = [
                torch.equal(value, states[step + 1][other][name])
                for name, value in states[step][other].items()
            ]
            assert not any(same) if other == model else all(same)  # neither momentum nor decay moves them
    assert all(torch.equal(value, nets[1].state_dict()[name]) for name, value in before[1].items())


# NAS-Bench-Macro

MACRO = make_space("macro")
SOME = [MACRO.parse(code) for code in ("00000000", "22222222", "12021210", "20110021")]


def new_macro(seed: int = 0, width: int = 2, **options: object) -> nn.Module:
    return make_supernet(MACRO, 3, width=width, generator=torch.Generator().manual_seed(seed), **options)


@pytest.mark.parametrize("arch", SOME)
@pytest.mark.parametrize("shared", [True, False])
def test_stages_halve_the_resolution_and_double_the_width(arch, shared):
    net, shapes = new_macro(shared=shared), []
    for layer in net.layers:
        layer.register_forward_hook(lambda module, args, out: shapes.append(tuple(out.shape[1:])))
    assert net(images(4, 32, 3), arch).shape == (4, 10)
    assert shapes == [(4, 16, 16)] * 2 + [(8, 8, 8)] * 3 + [(16, 4, 4)] * 3
    assert net.head[0][0].weight.shape == (80, 16, 1, 1)  # 1280 at the paper's width of 32


def test_the_papers_macro_network_has_its_widths():
    assert skeleton(MACRO).width == 32
    with torch.device("meta"):
        net = make_supernet(MACRO)
    assert net.stem[0].weight.shape == (32, 3, 3, 3)
    assert net.head[0][0].weight.shape == (1280, 256, 1, 1)


def test_an_identity_behind_the_first_layer_of_a_stage_changes_nothing():
    net, x = new_macro(), images(4, 32, 3)
    for layer, module in enumerate(net.layers):
        here = net.stem(x)
        for before in net.layers[:layer]:
            here = before(here, 1)
        assert torch.equal(module(here, 0), here) == (layer not in (0, 2, 5))


def test_operations_share_no_weights_and_those_not_chosen_stay_untouched():
    net = new_macro()
    pixels = torch.randint(
        256, (40, 3, 32, 32), generator=torch.Generator().manual_seed(1), dtype=torch.uint8
    )
    split = Split(pixels, torch.arange(40) % 10)
    batches = Batches(split, lambda x, *_: x / 255, 20, torch.Generator().manual_seed(2), None)
    states = []

    def choose(step: int) -> tuple[int, ...]:
        states.append(copy.deepcopy(net.state_dict()))
        return SOME[step]

    train(net, batches, choose, len(SOME), lr=0.1, weight_decay=0.1)
    states.append(net.state_dict())
    for step, arch in enumerate(SOME):
        used = {f"layers.{i}.choices.{op}." for i, op in enumerate(arch)}
        for name, before in states[step].items():
            on_path = not name.startswith("layers.") or any(name.startswith(prefix) for prefix in used)
            assert torch.equal(before, states[step + 1][name]) != on_path, (name, arch)


# the ImageNet network

MOBILE = make_space("mobile")


@pytest.mark.parametrize(("width", "size"), [(32, 224), (4, 32)])
def test_stages_of_the_mobile_network_have_the_papers_widths_and_strides(width, size):
    with torch.device("meta"):
        net, x, shapes = make_supernet(MOBILE, width=width), torch.zeros(2, 3, size, size), []
    for layer in (net.stem, *net.layers):
        layer.register_forward_hook(lambda module, args, out: shapes.append(tuple(out.shape[1:3])))
    expected = [(16, 2)] + [(32, 4)] * 4 + [(40, 8)] * 4 + [(80, 16)] * 4
    expected += [(96, 16)] * 4 + [(192, 32)] * 4 + [(320, 32)]
    for op in range(13):
        shapes.clear()
        assert net(x, [op] * 21).shape == (2, 10)
        assert shapes == [(channels * width // 32, size // stride) for channels, stride in expected]
    assert net.head[0][0].weight.shape == (1280 * width // 32, 320 * width // 32, 1, 1)


def test_a_mobile_layer_has_the_blocks_of_its_names():
    with torch.device("meta"):
        net = make_supernet(MOBILE, width=4)
    for layer, names in zip(net.layers, MOBILE.ops, strict=True):
        for op, name in enumerate(names[:-1]):
            block, (kernel, expansion, *squeeze) = layer.alone(op), name.split()
            hidden, a = block.project[0].in_channels, block.expand[0].in_channels
            assert block.filter[0].kernel_size == (int(kernel[1:]),) * 2
            assert hidden == int(expansion[1:]) * a
            assert bool(list(block.squeeze.parameters())) == (squeeze == ["se"])
        assert names[-1] == "identity"


def test_the_narrowest_mobile_network_runs():
    net = make_supernet(MOBILE, 1, width=1, generator=torch.Generator().manual_seed(0))
    assert all(net(images(2, 32), [op] * 21).isfinite().all() for op in range(13))

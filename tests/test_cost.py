"""MACs and parameters against counts taken from the built network while it runs on an image."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from common import ARCHS, SPACE
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from hnas_kit import cost
from hnas_kit.errors import HnasError
from hnas_kit.spaces import MobileSpace, make_space
from hnas_kit.supernets import Supernet, make_supernet


def counted_macs(net: Supernet, arch: tuple[int, ...], image: torch.Tensor) -> int:
    """One multiply-accumulate for each weight that meets each output value."""
    counts = []

    def count(module: nn.Module, args: tuple, out: torch.Tensor) -> None:
        places = out[0, 0].numel() if isinstance(module, nn.Conv2d) else 1
        counts.append(module.weight.numel() * places)

    counted = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    handles = [module.register_forward_hook(count) for module in counted]
    assert handles
    with torch.inference_mode():
        net(image, arch)
    for handle in handles:
        handle.remove()
    return sum(counts)


@pytest.mark.parametrize(
    ("width", "image_size", "in_channels", "num_classes"), [(16, 32, 3, 10), (3, 20, 1, 7)]
)
def test_costs_of_all_architectures_are_those_of_the_built_network(
    width, image_size, in_channels, num_classes
):
    net = make_supernet(SPACE, in_channels, num_classes, width, shared=False).eval()
    image = torch.zeros(1, in_channels, image_size, image_size)
    sizes = {"width": width, "in_channels": in_channels, "num_classes": num_classes}
    weights = sum(p.numel() for p in net.parameters())
    for arch in ARCHS:
        assert cost.macs(SPACE, arch, image_size=image_size, **sizes) == counted_macs(net, arch, image)
        assert cost.params(SPACE, arch, **sizes) == weights


def test_resnet20_has_its_published_number_of_parameters():
    assert {cost.params(SPACE, arch) for arch in ARCHS} == {272_474}


def test_the_defaults_are_cifar10_and_the_papers_width():
    sizes = {"width": 16, "in_channels": 3, "num_classes": 10}
    assert cost.macs(SPACE, ARCHS[0]) == cost.macs(SPACE, ARCHS[0], image_size=32, **sizes)
    assert cost.params(SPACE, ARCHS[0]) == cost.params(SPACE, ARCHS[0], **sizes)


def test_a_later_pool_costs_more():
    early, middle, late = (cost.macs(SPACE, SPACE.parse(text)) for text in ("[1,1,8]", "[4,3,3]", "[8,1,1]"))
    assert early < middle < late


@pytest.mark.parametrize("count", [cost.macs, cost.params])
def test_any_integers_are_taken_and_any_other_code_is_refused(count):
    assert count(SPACE, np.array(ARCHS[3])) == count(SPACE, ARCHS[3])
    with pytest.raises(HnasError, match="exactly two pools"):
        count(SPACE, (1,) * 9)


# the ImageNet space: figures published for named architectures, squeeze-excitation included

MOBILE = make_space("mobile")
PUBLISHED = {
    "3,12,3,3,4,4,3,3,4,5,12,4,5,5,12,3,4,4,4,5,11": (280_307_072, 4_952_528),  # MCT-NAS-C
    "5,12,12,3,4,4,9,3,3,12,10,10,10,3,3,3,10,4,11,3,11": (327_228_416, 6_408_250),  # MCT-NAS-B
    ",".join(["12"] * 21): (50_878_976, 1_789_048),
    ",".join(["0"] * 21): (291_084_032, 3_203_992),
    ",".join(["11"] * 21): (697_455_104, 9_120_496),
}


@pytest.fixture(scope="module")
def mobile_net() -> Supernet:
    with torch.device("meta"):
        return make_supernet(MOBILE, num_classes=1000, shared=False).eval()


@pytest.mark.parametrize("text", PUBLISHED)
def test_published_counts_are_those_of_the_table_and_of_the_built_network(mobile_net, text):
    macs, params = PUBLISHED[text]
    arch = MOBILE.parse(text)
    assert (cost.macs(MOBILE, arch), cost.params(MOBILE, arch)) == (macs, params)
    assert counted_macs(mobile_net, arch, torch.zeros(1, 3, 224, 224, device="meta")) == macs
    active = [layer.alone(op) for layer, op in zip(mobile_net.layers, arch, strict=True)]
    used = [mobile_net.stem, *active, mobile_net.head]
    assert sum(p.numel() for module in used for p in module.parameters()) == params


@pytest.mark.parametrize("space", [SPACE, make_space("macro"), MOBILE], ids=lambda space: space.name)
def test_the_cost_of_an_architecture_is_the_sum_over_its_layers(space):
    """What a layer costs may depend on those before it, but by the automaton's state alone."""
    fixed, chain, tables = cost.table(space.name).chain(space)
    assert all(np.array_equal(a, b) for a, b in zip(chain, space.transitions, strict=True))
    rng = np.random.default_rng(0)
    for _ in range(30):
        state, total, arch = 0, fixed, []
        for costs, transitions in zip(tables, space.transitions, strict=True):
            op = int(rng.choice(np.flatnonzero(transitions[state] >= 0)))
            total += costs[state, op]
            state = transitions[state, op]
            arch.append(op)
        assert cost.macs(space, tuple(arch)) == total


# counting and drawing inside a window

LISTED = {space.name: space for space in (SPACE, make_space("macro"))}
MACS = {name: np.array([cost.macs(s, a) for a in s.enumerate()]) for name, s in LISTED.items()}
edges = st.floats(-0.05, 1.05)


class Without(MobileSpace):
    """The ImageNet space with one operation in all of some layers but the last ones, few enough to list."""

    searched = (0, 7, 14, 20)

    def advance(self, state: int, layer: int, op: int) -> int | None:
        if layer not in self.searched and op != 3:
            return None
        return super().advance(state, layer, op)


LISTED["some of mobile"] = Without()
MACS["some of mobile"] = np.array([cost.macs(Without(), arch) for arch in Without().enumerate()])


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(LISTED)), edges, edges)
def test_a_window_has_as_many_as_counting_finds(name, one, other):
    macs = MACS[name]
    low, high = sorted(macs.min() + share * (macs.max() - macs.min()) for share in (one, other))
    expected = int(((macs >= low) & (macs <= high)).sum())
    if expected:
        assert cost.BudgetSampler(LISTED[name], low, high).count() == expected
        return
    below, above = macs[macs < low], macs[macs > high]
    nearest = [f"{m:,}" for m in (*np.sort(below)[-1:], *np.sort(above)[:1])]
    with pytest.raises(HnasError) as caught:
        cost.BudgetSampler(LISTED[name], low, high)
    assert str(caught.value).endswith(f" MACs; nearest: {' and '.join(nearest)}")


@pytest.mark.parametrize("name", LISTED)
def test_the_ends_of_a_window_are_inside(name):
    macs = np.sort(MACS[name])
    low, high = int(macs[len(macs) // 4]), int(macs[len(macs) // 2])
    whole = cost.BudgetSampler(LISTED[name], low, high).count()
    assert whole == ((macs >= low) & (macs <= high)).sum()
    less = cost.BudgetSampler(LISTED[name], low + 1, high - 1).count()
    assert less == whole - (macs == low).sum() - (macs == high).sum()


@pytest.mark.parametrize("name", LISTED)
@pytest.mark.parametrize("grid", [2, 400])
def test_all_in_a_window_are_drawn_alike(monkeypatch, name, grid):
    """However coarse the grid: what is coarse is drawn again."""
    monkeypatch.setattr(cost.BudgetSampler, "GRID", grid)
    space, macs = LISTED[name], MACS[name]
    low, high = np.quantile(macs, [0.3, 0.4])
    inside = [arch for arch, m in zip(space.enumerate(), macs, strict=True) if low <= m <= high]
    draws = 30 * len(inside)
    counts = Counter(cost.BudgetSampler(space, low, high).sample(np.random.default_rng(1), draws))
    assert counts.keys() <= set(inside)
    assert stats.chisquare([counts[arch] for arch in inside]).pvalue > 1e-3


def test_draws_are_those_of_the_generator():
    sampler = cost.BudgetSampler(MOBILE, 99e6, 100e6)
    one, again = (sampler.sample(np.random.default_rng(3), 50) for _ in range(2))
    assert one == again
    assert len(set(one)) == 50


class Fixed(MobileSpace):
    """The ImageNet space with one layer's operation given."""

    def __init__(self, layer: int, op: int) -> None:
        self.given = layer, op

    def advance(self, state: int, layer: int, op: int) -> int | None:
        return None if layer == self.given[0] and op != self.given[1] else super().advance(state, layer, op)


@pytest.mark.slow
@pytest.mark.parametrize("layer", [0, 6, 19])
def test_draws_of_the_whole_space_have_its_exact_marginals(layer):
    low, high = 99e6, 100e6
    sampler = cost.BudgetSampler(MOBILE, low, high)
    drawn = np.array(sampler.sample(np.random.default_rng(layer), 100_000))
    exact = []
    for op in range(13):
        try:
            exact.append(cost.BudgetSampler(Fixed(layer, op), low, high).count())
        except HnasError:
            exact.append(0)
    assert sum(exact) == sampler.count()
    expected = np.array([100_000 * (n / sampler.count()) for n in exact])
    observed = np.bincount(drawn[:, layer], minlength=13)
    assert not observed[expected == 0].any()
    often = expected > 5
    assert (
        stats.chisquare(
            observed[often], expected[often] * observed[often].sum() / expected[often].sum()
        ).pvalue
        > 1e-3
    )


def test_the_papers_window_is_counted_and_drawn_from():
    sampler = cost.BudgetSampler(MOBILE, 277.2e6, 280e6)
    assert sampler.count() == 1_065_404_689_623_831_075
    drawn = sampler.sample(np.random.default_rng(0), 200)
    assert all(277.2e6 <= cost.macs(MOBILE, arch) <= 280e6 for arch in drawn)
    assert all(MOBILE.canonical(arch) == arch for arch in drawn)

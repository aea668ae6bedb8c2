"""Extracted networks against the supernet, and exported files against the extracted network."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from hnas_kit import cost, data, export
from hnas_kit.data.rendering import photo_render
from hnas_kit.errors import HnasError
from hnas_kit.spaces import make_space
from hnas_kit.supernets import Supernet, extract, make_supernet

SPACES = {name: make_space(name) for name in ("pooling", "macro", "mobile")}
WIDTH, SIZE, CHANNELS, CLASSES = 4, 32, 3, 5


def some(name: str, n: int) -> list[tuple[int, ...]]:
    space, rng = SPACES[name], np.random.default_rng(0)
    if name == "mobile":
        return [space.canonical(rng.integers(13, size=21)) for _ in range(n)]
    return [space.enumerate()[i] for i in rng.permutation(space.size)[:n]]


def new(name: str, shared: bool) -> Supernet:
    """With statistics of its own, if it has any."""
    generator = torch.Generator().manual_seed(0)
    net = make_supernet(SPACES[name], CHANNELS, CLASSES, WIDTH, shared, generator)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d) and not shared:
            nn.init.uniform_(module.running_mean, -0.5, 0.5, generator=generator)
            nn.init.uniform_(module.running_var, 0.5, 2, generator=generator)
            nn.init.uniform_(module.weight, 0.5, 2, generator=generator)
    return net.eval()


def images(n: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(n, CHANNELS, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("shared", [True, False])
@torch.no_grad()
def test_an_extracted_network_gives_the_supernets_outputs(name, shared):
    net, x = new(name, shared), images(6)
    for arch in some(name, 10):
        alone = extract(net, arch)
        assert torch.equal(alone(x), net(x, arch))
        assert not any(module.training for module in alone.modules())
        weights = sum(p.numel() for p in alone.parameters())
        assert shared or weights == cost.params(
            SPACES[name], arch, width=WIDTH, in_channels=CHANNELS, num_classes=CLASSES
        )


def test_an_extracted_network_has_weights_of_its_own():
    net = new("pooling", True)
    alone = extract(net, some("pooling", 1)[0])
    before = [p.clone() for p in net.parameters()]
    with torch.no_grad():
        for p in alone.parameters():
            p.zero_()
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", SPACES)
@torch.no_grad()
def test_exported_files_give_the_same_and_say_what_is_in_them(tmp_path, name):
    """Two architectures, one of them with weights that were shared. Batches are of any size."""
    onnxruntime = pytest.importorskip("onnxruntime")
    sizes = {"width": WIDTH, "in_channels": CHANNELS, "num_classes": CLASSES}
    nets, archs = [new(name, shared) for shared in (True, False)], some(name, 2)
    assert len(set(archs)) == 2
    for net, arch in zip(nets, archs, strict=True):
        alone = extract(net, arch)
        metadata = export.facts(SPACES[name], arch, WIDTH, SIZE, CHANNELS, CLASSES)
        assert SPACES[name].parse(metadata["architecture"]) == arch
        assert int(metadata["macs"]) == cost.macs(SPACES[name], arch, image_size=SIZE, **sizes)
        assert int(metadata["params"]) == cost.params(SPACES[name], arch, **sizes)
        traced = export.program(alone, images(2))
        for suffix in (".pt2", ".onnx"):
            export.save(traced, tmp_path / f"net{suffix}", metadata)
        facts = {export.FACTS: ""}
        program = torch.export.load(tmp_path / "net.pt2", extra_files=facts).module()
        assert json.loads(facts[export.FACTS]) == metadata
        session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
        assert session.get_modelmeta().custom_metadata_map.items() >= metadata.items()
        for x in (images(2), images(7, seed=2)):
            expected = alone(x)
            torch.testing.assert_close(program(x), expected, atol=1e-4, rtol=0)
            (logits,) = session.run(["logits"], {"images": x.numpy()})
            np.testing.assert_allclose(logits, expected.numpy(), atol=1e-4, rtol=0)
        assert expected.std() > 1e-2


@pytest.fixture(scope="module")
def wavy() -> data.Dataset:
    """Color images of 32x32 and five classes to see; enough of them that the limit of 2,048 counts."""
    rng = torch.Generator().manual_seed(0)
    coarse = torch.randint(256, (2300, CHANNELS, 4, 4), generator=rng, dtype=torch.uint8)
    x = torch.nn.functional.interpolate(coarse.float(), SIZE, mode="bilinear").byte()
    split = data.Split(x, torch.arange(2300) % CLASSES)
    render = photo_render(torch.full((CHANNELS,), 0.5), torch.full((CHANNELS,), 0.2))
    return data.Dataset("wavy", tuple("abcde"), split, split.take(torch.arange(300)), render, SIZE)


@pytest.mark.slow
@pytest.mark.parametrize("name", SPACES)
@torch.no_grad()
def test_an_exported_network_answers_the_same_at_any_batch_size(tmp_path, wavy, name):
    """With shared weights: in PyTorch, in ONNX Runtime, as an exported program; the file says how."""
    onnxruntime = pytest.importorskip("onnxruntime")
    (arch,), sizes = some(name, 1), (WIDTH, SIZE, CHANNELS, CLASSES)
    shared = new(name, True)
    alone, example, facts = export.network(
        name, SPACES[name].format(arch), sizes, shared.state_dict(), shared=True
    )
    facts |= {"statistics": export.fix_statistics(alone, wavy)}
    assert facts["statistics"] == "BatchNorm's mean and variance are fixed, from 2048 training images"
    traced = export.program(alone, example)
    export.save(traced, tmp_path / "net.onnx", facts)
    export.save(traced, tmp_path / "net.pt2", facts)
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    assert session.get_modelmeta().custom_metadata_map["statistics"] == facts["statistics"]
    program = torch.export.load(tmp_path / "net.pt2").module()
    x, _ = wavy.fixed(wavy.train, 256)
    expected = alone(x)
    assert expected.std(0).min() > 1e-3  # images differ, also one by one
    runs = {
        "PyTorch": alone,
        "program": program,
        "ONNX Runtime": lambda x: torch.from_numpy(session.run(["logits"], {"images": x.numpy()})[0]),
    }
    for run in runs.values():
        for size in (1, 2, 32, 256):
            images = 256 if size > 2 else 8
            answers = torch.cat([run(part) for part in x[:images].split(size)])
            torch.testing.assert_close(answers, expected[:images], atol=2e-4, rtol=1e-4)
    # the fixed statistics are those of the images: on all of them at once both networks nearly agree
    x, _ = wavy.fixed(wavy.train, 2048)
    by_batch, by_file = shared(x, arch), alone(x)
    assert (by_batch - by_file).std() < 0.2 * by_batch.std()


def test_fewer_training_images_than_2048_are_all_used(wavy):
    few = replace(wavy, train=wavy.train.take(torch.arange(7)))
    alone = extract(new("pooling", False), some("pooling", 1)[0])
    assert export.fix_statistics(alone, few).endswith("from 7 training images")
    x, _ = few.fixed(few.train)
    first = alone[0][0][0](x)
    torch.testing.assert_close(alone[0][0][1].running_mean, first.mean((0, 2, 3)))
    torch.testing.assert_close(alone[0][0][1].running_var, first.var((0, 2, 3)))


@pytest.mark.parametrize("shared", [True, False])
def test_one_value_a_channel_is_one_line(shared):
    """A mobile network at 32 pixels ends in features of 1x1: one image has no variance."""
    net = new("mobile", shared).train()
    with pytest.raises(HnasError, match=r"\ABatchNorm would see one value a channel: .*batch_size"):
        net(images(1), some("mobile", 1)[0])


def test_exporting_leaves_the_network_as_it_was():
    alone = extract(new("mobile", False), some("mobile", 1)[0]).train()
    modes = [(m.training, getattr(m, "inplace", None)) for m in alone.modules()]
    export.program(alone, images(2))
    assert [(m.training, getattr(m, "inplace", None)) for m in alone.modules()] == modes


def test_another_ending_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(HnasError, match=r"\A.*net\.pth ends in '\.pth'; allowed: \.pt2, \.onnx\Z"):
        export.save(export.program(nn.Identity(), images(2)), tmp_path / "net.pth", {})
    assert not list(tmp_path.iterdir())


def test_without_onnx_one_line_says_what_to_install(tmp_path, monkeypatch):
    traced = export.program(nn.Identity(), images(2))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(HnasError, match=r"\A.*net\.onnx: ONNX needs more packages; .* onnx onnxscript\Z"):
        export.save(traced, tmp_path / "net.onnx", {})
    assert not list(tmp_path.iterdir())

"""Images read as they are needed: the same batches whoever reads them, splits, and what cannot be read."""

from __future__ import annotations

import errno
import gc
import importlib.util
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from hnas_kit import cli, data, search, trees
from hnas_kit.data import sources, streaming
from hnas_kit.data.streaming import MEAN, STD, Stream, StreamedDataset
from hnas_kit.errors import HnasError
from hnas_kit.files import torch_bytes, torch_value
from hnas_kit.processes.distributed import Team
from hnas_kit.randomness import Generators
from hnas_kit.samplers import MCTS
from hnas_kit.spaces import make_space
from hnas_kit.training import Schedule
from hnas_kit.training.problem import Problem

ROOT = Path(__file__).resolve().parents[1]
SIZE = 12


def load(folder: Path, workers: int = 0, image_size: int = SIZE) -> StreamedDataset:
    return data.load(f"imagefolder:{folder}", image_size=image_size, workers=workers)


def stream(folder: Path, workers: int = 0, batch_size: int = 8, seed: int = 3, **options: object) -> Stream:
    dataset = load(folder, workers)
    return dataset.batches(dataset.train, batch_size, Generators(seed), **options)


def take(batches: Stream, steps: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [next(batches) for _ in range(steps)]


def assert_equal(a: list, b: list) -> None:
    assert len(a) == len(b) > 0
    for (x, y), (other_x, other_y) in zip(a, b, strict=True):
        assert torch.equal(x, other_x)
        assert torch.equal(y, other_y)


def in_order(files: Iterable[Path]) -> list[Path]:
    """The files of a folder in the order in which they are used."""
    files = sorted(files)
    return [files[i] for i in data.fixed_order(len(files))]


# batches


def test_a_training_batch_is_torchvisions_augmentation_by_hand(pets):
    """Whole batches over three epochs, decoded and augmented again from the files."""
    dataset, generators = load(pets), Generators(3)
    batches = take(dataset.batches(dataset.train, 8, generators), 8)  # 64 images of 21
    files = in_order(p for p in (pets / "train").rglob("*.*") if p.suffix != ".txt")
    order, augment = (generators.torch(name).initial_seed() for name in ("order", "augment"))
    augmentation = v2.Compose([v2.RandomResizedCrop(SIZE), v2.RandomHorizontalFlip()])
    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    for k in range(64):
        epoch, place = divmod(k, 21)
        i = np.random.default_rng((order, epoch)).permutation(21)[place]
        draw = np.random.SeedSequence((augment, epoch, i)).generate_state(1, np.uint64)[0]
        torch.manual_seed(int(draw) // 2)
        image = v2.functional.pil_to_tensor(Image.open(files[i]).convert("RGB"))
        expected = (augmentation(image) / 255 - mean) / std
        x, y = batches[k // 8]
        torch.testing.assert_close(x[k % 8], expected, atol=1e-5, rtol=0)
        assert ["cat", "dog", "eel"][y[k % 8]] == files[i].parent.name
    assert x.shape == (8, 3, SIZE, SIZE)
    assert x.dtype == torch.float32
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert y.dtype == torch.int64


def test_evaluation_cuts_the_middle_of_the_resized_picture(pets):
    dataset = load(pets, image_size=14)
    x, y = dataset.fixed(dataset.test)
    files = in_order((pets / "val").rglob("*.*"))
    middle = v2.Compose([v2.Resize(16), v2.CenterCrop(14)])  # 14 * 256 / 224
    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    for image, file in zip(x, files, strict=True):
        pixels = v2.functional.pil_to_tensor(Image.open(file).convert("RGB"))
        torch.testing.assert_close(image, (middle(pixels) / 255 - mean) / std, atol=1e-5, rtol=0)
    assert [["cat", "dog", "eel"][label] for label in y] == [file.parent.name for file in files]


def test_every_epoch_has_every_image_in_another_order(pets):
    batches = stream(pets, batch_size=7)
    epochs = [torch.cat([y for _, y in take(batches, 3)]).tolist() for _ in range(4)]
    assert all(Counter(epoch) == {0: 9, 1: 6, 2: 6} for epoch in epochs)
    assert len(set(map(tuple, epochs))) == 4


def test_an_image_looks_different_in_every_epoch_and_in_validation_always_alike(pets):
    for train in (True, False):
        batches = stream(pets, batch_size=21, train=train)
        first, second = (x[y.argsort(stable=True)] for x, y in take(batches, 2))
        same = {i for i in range(21) for j in range(21) if torch.equal(first[i], second[j])}
        assert len(same) == (0 if train else 21)


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_do_not_depend_on_who_reads(pets, workers):
    """Processes start with other states of PyTorch's generator, which draws the augmentation."""
    expected = take(stream(pets), 6)
    torch.manual_seed(99)
    assert_equal(take(stream(pets, workers), 6), expected)


def test_reading_leaves_the_process_generators_alone(pets):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    for workers in (0, 1):
        take(stream(pets, workers), 2)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_seed_and_the_name_make_the_stream(pets):
    first = take(stream(pets), 1)
    assert_equal(take(stream(pets), 1), first)
    for other in (stream(pets, seed=4), stream(pets, name="validation")):
        assert not torch.equal(next(other)[0], first[0][0])


# shares


@pytest.mark.parametrize(("size", "parts"), [(1, 1), (1, 4), (2, 2), (2, 4), (4, 4)])
def test_shares_together_are_the_batch(pets, size, parts):
    expected = take(stream(pets), 4)
    shares = [stream(pets, workers=rank % 2) for rank in range(size)]
    for x, y in expected:
        pieces = [None] * parts
        for rank, batches in enumerate(shares):
            mine = batches.share(Team(rank, size), parts)
            assert len(mine) == len(range(rank, parts, size))
            pieces[rank::size] = mine
        assert {len(piece_y) for _, piece_y in pieces} == {8 // parts}
        assert torch.equal(torch.cat([piece for piece, _ in pieces]), x)
        assert torch.equal(torch.cat([piece_y for _, piece_y in pieces]), y)


def test_only_ones_share_is_read(pets, monkeypatch):
    seen = []
    read = sources.ClassFolders.read
    monkeypatch.setattr(sources.ClassFolders, "read", lambda self, i: seen.append(i) or read(self, i))
    stream(pets).share(Team(1, 2), 4)
    assert len(seen) == 4


def test_a_share_must_be_whole(pets):
    with pytest.raises(HnasError, match=r"\Aparts is 3; it must divide batch_size, 8, "):
        stream(pets).share(Team(0, 1), 3)


# resuming


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("before", [0, 1, 4])
def test_a_stream_is_taken_up_in_the_middle_of_an_epoch(pets, before, workers):
    whole = take(stream(pets), before + 3)
    killed = stream(pets, workers)
    take(killed, before)
    state = torch_value(torch_bytes(killed.state_dict()))
    take(killed, 1)  # after the checkpoint: lost
    for resumed in (stream(pets, 2 - workers), killed):
        resumed.load_state_dict(state)
        assert_equal(take(resumed, 3), whole[before:])


def test_a_state_of_two_processes_is_taken_up_by_one_and_the_other_way_round(pets):
    whole = take(stream(pets), 5)
    pair = [stream(pets) for _ in range(2)]
    for _ in range(2):
        for rank, batches in enumerate(pair):
            batches.share(Team(rank, 2), 4)
    assert pair[0].state_dict() == pair[1].state_dict()
    one = stream(pets)
    one.load_state_dict(pair[1].state_dict())
    assert_equal([next(one)], [whole[2]])
    for rank, batches in enumerate(pair):
        batches.load_state_dict(one.state_dict())
        half = slice(4 * rank, 4 * rank + 4)
        assert_equal(batches.share(Team(rank, 2), 2), [(whole[3][0][half], whole[3][1][half])])
    assert_equal([next(pair[0])], [whole[4]])  # even without a restart


# splits


@pytest.mark.parametrize("held_out", [1, 7, 10, 50_000])
def test_held_out_images_are_apart_and_at_most_half(pets, monkeypatch, held_out):
    dataset = load(pets)
    monkeypatch.setattr(streaming, "HELD_OUT", held_out)
    train, valid = dataset.halves(torch.Generator().manual_seed(0))
    assert len(valid) == min(held_out, 10)
    assert sorted(train.index.tolist() + valid.index.tolist()) == list(range(21))
    for split in (train, valid):
        assert torch.equal(split.labels, dataset.train.source.labels[split.index])


def test_the_split_is_the_generators(pets):
    dataset = load(pets)
    splits = [dataset.halves(Generators(seed).torch("split"))[1].index.tolist() for seed in (0, 0, 1)]
    assert splits[0] == splits[1]
    assert sorted(splits[0]) != sorted(splits[2])


@pytest.mark.parametrize("held_out", [1, 250, 999, 1000])
def test_a_large_split_is_stratified(monkeypatch, held_out):
    """Every class gives its share of the held-out images, to within one."""
    labels = torch.arange(2000) ** 2 % 7
    part = sources.Part(None, torch.arange(2000), labels)
    dataset = StreamedDataset("large", tuple("abcdefg"), part, part, SIZE, torch.device("cpu"), 0)
    monkeypatch.setattr(streaming, "HELD_OUT", held_out)
    train, valid = dataset.halves(torch.Generator().manual_seed(1))
    assert (len(train), len(valid)) == (2000 - held_out, held_out)
    share = torch.bincount(labels, minlength=7) * held_out / 2000
    assert (torch.bincount(valid.labels, minlength=7) - share).abs().max() <= 1
    assert len(set(train.index.tolist()) | set(valid.index.tolist())) == 2000
    for half in (train, valid):  # not class by class
        assert half.index.tolist() == sorted(half.index.tolist())


def test_a_fixed_set_comes_in_the_fixed_order_and_is_always_the_same(pets, monkeypatch):
    dataset = load(pets)
    all_x, all_y = dataset.fixed(dataset.train)
    assert torch.equal(all_y, torch.tensor([0] * 9 + [1] * 6 + [2] * 6)[data.fixed_order(21)])
    x, y = dataset.fixed(dataset.train, limit=7)
    assert torch.equal(x, all_x[:7])
    assert torch.equal(y, all_y[:7])
    monkeypatch.setattr(streaming, "PIECE", 4)
    pieces = list(load(pets, workers=2).pieces(dataset.train))
    assert [len(piece_y) for _, piece_y in pieces] == [4, 4, 4, 3, 3, 3]
    assert torch.equal(torch.cat([piece for piece, _ in pieces]), all_x)


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (250, [250]), (251, [126, 125]), (501, [167] * 3)])
def test_pieces_are_of_equal_size(monkeypatch, count, sizes):
    monkeypatch.setattr(streaming, "read", lambda decoder, asked, device, workers: asked)
    part = sources.Part(None, torch.arange(600), torch.zeros(600, dtype=torch.int64))
    dataset = StreamedDataset("large", ("a",), part, part, SIZE, torch.device("cpu"), 0)
    cut = dataset.pieces(part, count)
    assert [len(places) for places in cut] == sizes
    assert [place for places in cut for place in places] == [(0, k) for k in range(count)]


def test_what_a_network_is_told_of_the_data(pets):
    dataset = load(pets)
    assert (dataset.name, dataset.classes) == ("pets", ("cat", "dog", "eel"))
    assert (dataset.in_channels, dataset.num_classes, dataset.image_size) == (3, 3, SIZE)
    assert (len(dataset.train), len(dataset.test)) == (21, 5)
    assert data.load(f"imagefolder:{pets}").image_size == 224
    assert stream(pets).device == torch.device("cpu")


# what cannot be read


@pytest.fixture
def damaged(pets, tmp_path) -> Path:
    """A copy that may be damaged."""
    return shutil.copytree(pets, tmp_path / "pets")


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("suffix", ["JPEG", "png"])
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]), "[Tt]runcated"),
        (lambda path: path.write_bytes(b"\0" * 200), "cannot identify image file"),
        (lambda path: path.write_bytes(b""), "cannot identify image file"),
    ],
    ids=["half", "zeros", "empty"],
)
def test_a_picture_that_cannot_be_read_is_named_in_one_line(damaged, spoil, reason, suffix, workers):
    path = next((damaged / "train" / "dog").glob(f"*.{suffix}"))
    spoil(path)
    batches = stream(damaged, workers, batch_size=7)
    line = rf"\A{path} is not an image that can be read \(.*({reason}).*\)\Z"
    with pytest.raises(HnasError, match=line):
        take(batches, 3)


def test_a_picture_that_is_gone_is_named(damaged):
    dataset, path = load(damaged), next((damaged / "val" / "eel").iterdir())
    path.unlink()
    with pytest.raises(HnasError, match=rf"\A{path} is not an image .*No such file.*\Z"):
        dataset.fixed(dataset.test)


def test_an_error_ends_the_processes_even_while_it_is_looked_at(damaged):
    next((damaged / "train" / "cat").glob("*.png")).write_bytes(b"")
    batches = stream(damaged, workers=2, batch_size=21)
    with pytest.raises(HnasError) as caught:
        next(batches)
    assert caught.tb is not None
    loader = [child for child in multiprocessing.active_children() if "Loky" not in child.name]
    assert loader == []


def test_a_stream_that_is_dropped_ends_its_processes(pets):
    before = set(multiprocessing.active_children())
    batches = stream(pets, workers=1)
    next(batches)
    assert set(multiprocessing.active_children()) > before
    del batches
    assert set(multiprocessing.active_children()) == before


def test_a_process_that_dies_is_said_to_be_one_that_reads(pets, monkeypatch):
    monkeypatch.setattr(sources.ClassFolders, "read", lambda self, i: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(HnasError, match=r"\Aa process that reads images died.*fewer workers .*\Z"):
        next(stream(pets, workers=1))


def remove(folder: Path, part: str) -> None:
    shutil.rmtree(folder / part)
    (folder / part).mkdir()


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda f: shutil.rmtree(f / "train"), "must hold images as train/<class>/*"),
        (lambda f: remove(f, "train"), "must hold images as train/<class>/*"),
        (lambda f: (remove(f, "train/cat"), remove(f, "train/dog"), remove(f, "train/eel")), "no image"),
        (lambda f: remove(f, "val"), "there is no image of a class in"),
        (lambda f: (f / "val").rename(f / "other"), "has neither val nor test"),
        (lambda f: (f / "test").mkdir(), "has both val and test"),
        (lambda f: (f / "val/cat").rename(f / "val/cow"), "class cow is not one of train/"),
    ],
    ids=["no train", "no classes", "no images", "empty val", "no val", "both", "stranger"],
)
def test_a_folder_that_is_no_data_set_is_refused_in_one_line(damaged, spoil, complaint):
    spoil(damaged)
    with pytest.raises(HnasError, match=rf"\A{damaged}.*{complaint.replace('*', '[*]')}.*\Z"):
        load(damaged)


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda f: stream(f, batch_size=22), "batch_size is 22; it must be from 1 to the 21 images"),
        (lambda f: stream(f, batch_size=0), "batch_size is 0"),
        (lambda f: load(f, image_size=-1), "image_size is -1; it must be at least 0"),
        (lambda f: load(f, workers=-1), "workers is -1; it must be at least 0"),
        (lambda f: load(f).fixed(load(f).test, 6), "6 images are asked for, and there are 5"),
        (lambda f: load(f).fixed(load(f).test, 0), "0 images are asked for"),
        (lambda f: load(f / "none"), "there is no .*none"),
        (lambda f: data.load("folders:x"), "allowed: .*folder:PATH, imagefolder:PATH, ffcv:PATH"),
    ],
)
def test_what_there_is_not_is_refused_in_one_line(pets, call, complaint):
    with pytest.raises(HnasError, match=rf"\A.*{complaint}.*\Z"):
        call(pets)


def test_a_set_in_memory_comes_in_one_piece():
    dataset = data.load("digits", image_size=16)
    ((x, y),) = dataset.pieces(dataset.test)
    expected = dataset.fixed(dataset.test)
    assert torch.equal(x, expected[0])
    assert torch.equal(y, expected[1])


def test_a_search_runs_on_it_and_does_not_depend_on_who_reads(pets):
    space, results = make_space("pooling"), []
    for workers in (0, 1):
        problem = Problem.of(
            {"space": "pooling", "dataset": f"imagefolder:{pets}", "image_size": 16, "width": 1}
            | {"seed": 0, "workers": workers}
        )
        sampler = MCTS(trees.random(space.enumerate(), 0), beta=0.9, exploration=0.1, temperature=0.1)
        settings = {"seed": 0, "batch_size": 5, "lr": 0.05, "weight_decay": 1e-3}
        schedule = Schedule(10, 0.4, 0.25, 0.1, 0.01)
        results.append(search.trial(problem, sampler, schedule, **settings))
    pd.testing.assert_frame_equal(results[0].history, results[1].history)
    assert results[0].arch == results[1].arch
    assert set(results[0].history["reward"]) <= {k / 5 for k in range(6)}


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_on_the_gpu_are_those_on_the_cpu(pets, workers):
    dataset = data.load(f"imagefolder:{pets}", "cuda", SIZE, workers)
    batches = dataset.batches(dataset.train, 8, Generators(3))
    for (x, y), (expected_x, expected_y) in zip(take(batches, 4), take(stream(pets), 4), strict=True):
        assert x.is_cuda
        assert y.is_cuda
        assert x.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(x.cpu(), expected_x, rtol=1e-5, atol=1e-5)
        assert torch.equal(y.cpu(), expected_y)


# FFCV's files

needs_ffcv = pytest.mark.skipif(
    importlib.util.find_spec("ffcv") is None, reason="the package ffcv is not installed"
)


@pytest.fixture
def betons(pets: Path, tmp_path: Path) -> Path:
    """The pets, as ``hnas ffcv`` writes them."""
    assert cli.main(["ffcv", str(pets), "--out", str(tmp_path / "betons")]) == 0
    return tmp_path / "betons"


@needs_ffcv
def test_ffcv_files_give_the_batches_of_the_folder_they_were_written_from(pets, betons, capfd):
    """To within what JPEG costs, and with the same labels."""
    assert sorted(path.name for path in betons.iterdir()) == ["train.beton", "val.beton"]
    plain, dataset = load(pets), data.load(f"ffcv:{betons}", image_size=SIZE, workers=1)
    assert dataset.classes == ("0", "1", "2")
    batches = dataset.batches(dataset.train, 8, Generators(3))
    found = [*take(batches, 4), dataset.fixed(dataset.test)]
    expected = [*take(stream(pets), 4), plain.fixed(plain.test)]
    for (x, y), (expected_x, expected_y) in zip(found, expected, strict=True):
        assert (x - expected_x).abs().mean() < 0.1 * expected_x.std()
        assert torch.equal(y, expected_y)


@needs_ffcv
def test_an_ffcv_file_of_pixels_gives_the_same_bits(pets, tmp_path):
    """As FFCV itself writes it."""
    from ffcv.fields import IntField, RGBImageField
    from ffcv.writer import DatasetWriter

    class Pictures(list):
        def __getitem__(self, i: int) -> tuple[Image.Image, int]:
            return super().__getitem__(int(i))

    plain, fields = load(pets), {"image": RGBImageField(write_mode="raw"), "label": IntField()}
    for name, part in (("train", plain.train), ("val", plain.test)):
        labels = part.source.labels.tolist()
        pictures = Pictures((part.source.read(i), label) for i, label in enumerate(labels))
        writer = DatasetWriter(str(tmp_path / f"{name}.beton"), fields, num_workers=1)
        writer.from_indexed_dataset(pictures)
    dataset = data.load(f"ffcv:{tmp_path}", image_size=SIZE)
    batches = dataset.batches(dataset.train, 8, Generators(3))
    found = [*take(batches, 4), dataset.fixed(dataset.test)]
    assert_equal(found, [*take(stream(pets), 4), plain.fixed(plain.test)])


@needs_ffcv
def test_a_damaged_ffcv_file_is_named(betons):
    dataset, path = data.load(f"ffcv:{betons}", image_size=SIZE), betons / "val.beton"
    content = bytearray(path.read_bytes())
    start = int(dataset.test.source._pictures["data_ptr"][3])
    content[start : start + 40] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(HnasError, match=rf"\A{path}, image 3 is not an image that can be read \(.*\)\Z"):
        dataset.fixed(dataset.test)
    path.write_bytes(content[:100])
    with pytest.raises(HnasError, match=rf"\A{path} is no FFCV file with fields image and label \(.*\)\Z"):
        data.load(f"ffcv:{betons}")
    path.unlink()
    with pytest.raises(HnasError, match=rf"\A{betons} has neither val.beton nor test.beton.*\Z"):
        data.load(f"ffcv:{betons}")


@needs_ffcv
def test_of_a_folder_that_cannot_be_kept_nothing_is_written_and_what_was_there_stays(
    damaged, betons, capsys, monkeypatch
):
    def refused(line: str) -> None:
        before = {path: path.read_bytes() for path in betons.iterdir()}
        with warnings.catch_warnings(record=True) as left_open:
            warnings.simplefilter("always", ResourceWarning)
            assert cli.main(["ffcv", str(damaged), "--out", str(betons)]) == 2
            gc.collect()
        assert not left_open
        assert re.fullmatch(f"hnas: {line}", capsys.readouterr().err.splitlines()[-1])
        assert {path: path.read_bytes() for path in betons.iterdir()} == before

    path = damaged / "val" / "dog" / sorted(os.listdir(damaged / "val" / "dog"))[0]
    content = path.read_bytes()
    path.write_bytes(content[:100])
    refused(rf"{path} is not an image that can be kept \(.*\)")
    path.write_bytes(content)
    with monkeypatch.context() as patch:
        patch.setattr(sources, "PAGE", 2**21)  # FFCV's smallest
        noise = np.random.default_rng(0).integers(256, size=(2400, 2400, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
        refused(rf"{path} is not an image that can be kept \(.*page size is 2097152\)")
    path.write_bytes(content)
    with monkeypatch.context() as patch:
        import ffcv.memory_allocator

        def full(allocator: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(ffcv.memory_allocator.MemoryAllocator, "flush_page", full)
        refused(f"cannot write to {betons}: No space left on device; choose another folder")
    for name in ("val", "train"):
        shutil.rmtree(damaged / name)
        refused(f"{damaged} has neither val nor test; .*" if name == "val" else f"{damaged} must hold .*")


@needs_ffcv
@pytest.mark.slow
def test_notebook_06_runs_on_ffcv_files(betons, tmp_path):
    (tmp_path / "six").mkdir()
    shutil.copy(ROOT / "params" / "quick" / "06_imagenet.yaml", tmp_path / "six")
    tiny = {
        "run": "a",
        "dataset": f"ffcv:{betons}",
        "image_size": 24,
        "width": 2,
        "batch_size": 4,
        "device": "cpu",
    }
    tiny |= {"pretrain_epochs": 1, "epochs": 1, "pool": 4, "images": 8, "methods": "[learned]", "workers": 1}
    changes = [part for name, value in tiny.items() for part in ("-p", name, str(value))]
    command = [sys.executable, "-m", "hnas_kit.cli", "run", "six", *changes]
    command += ["-p", "scored", "0", "-p", "tested", "0", "--from", "06"]
    environment = {"HNAS_OUTPUTS": str(tmp_path / "outputs"), "HNAS_QUIET": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"(?m)^06_imagenet .* learned found 27\d\.\d M MACs", done.stdout)
    (found,) = pd.read_csv(tmp_path / "outputs/a/06_imagenet/found.csv").to_dict("records")
    assert found["top-5"] == 100  # of three classes


def test_without_ffcv_one_line_says_what_to_install(tmp_path, pets, monkeypatch, capsys):
    for name in ("reader", "writer"):
        monkeypatch.setitem(sys.modules, f"ffcv.{name}", None)
    line = r"the package ffcv is needed.* the extra ffcv, .*: pip install --no-build-isolation ffcv"
    with pytest.raises(HnasError, match=rf"\A{line}\Z"):
        data.load(f"ffcv:{tmp_path}")
    assert cli.main(["ffcv", str(pets), "--out", str(tmp_path / "new")]) == 2
    assert re.fullmatch(f"hnas: {line}\n", capsys.readouterr().err)
    assert not (tmp_path / "new").exists()

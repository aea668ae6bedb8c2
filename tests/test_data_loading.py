"""Data sets by name: what they hold, how they are drawn and normalised, where they are found."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from common import generator, random_images
from PIL import Image
from scipy.stats import kendalltau
from sklearn.datasets import load_digits
from torch import Tensor

from hnas_kit import data, evaluation, training
from hnas_kit.data import Dataset, loading
from hnas_kit.data.rendering import shrunk
from hnas_kit.data.textures import patches
from hnas_kit.errors import HnasError
from hnas_kit.randomness import Generators
from hnas_kit.spaces import make_space
from hnas_kit.supernets import make_supernet

# digits


def test_digits_are_all_of_scikit_learns_once(digits):
    assert (len(digits.train), len(digits.test)) == (900, 897)
    assert (digits.in_channels, digits.num_classes, digits.image_size) == (1, 10, 16)
    assert digits.train.images.dtype == torch.uint8
    ours = torch.cat([digits.train.images, digits.test.images]).double().flatten(1) * 16 / 255
    labels = torch.cat([digits.train.labels, digits.test.labels])
    ours = np.column_stack([ours.round(), labels])
    theirs = np.column_stack(load_digits(return_X_y=True))
    np.testing.assert_array_equal(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)])


def test_digits_split_is_fixed_and_has_all_classes(digits):
    again = data.load("digits")
    assert torch.equal(again.train.images, digits.train.images)
    for split in (digits.train, digits.test):
        assert torch.bincount(split.labels).min() >= 75


def test_digits_are_drawn_anew_each_time_for_testing_too(digits):
    images, source = digits.train.images[:5], generator()
    draws = [digits.render(images, source, train) for train in (True, False)]
    assert not torch.equal(*draws)
    assert torch.equal(draws[0], digits.render(images, generator(), False))


# textures


@pytest.fixture(scope="module")
def textures_set() -> Dataset:
    return data.load("textures")


def test_textures_are_patches_of_four_pictures_at_three_zooms(textures_set):
    assert (len(textures_set.train), len(textures_set.test)) == (16_008, 8_004)
    assert (textures_set.in_channels, textures_set.num_classes, textures_set.image_size) == (1, 12, 16)
    assert textures_set.views == 1
    search, validation = textures_set.halves(generator())
    made = patches(667)
    for split, part in ((search, "train"), (validation, "validation"), (textures_set.test, "test")):
        np.testing.assert_array_equal(split.images, made[part][0])
        np.testing.assert_array_equal(split.labels, made[part][1])
        assert split.images.dtype == torch.uint8
        assert split.labels.dtype == torch.int64
    assert data.version("textures") == ""


def test_the_noise_of_patches_is_a_tenth_and_fresh_for_testing_too(textures_set):
    images = textures_set.test.images[:400]
    first, second = (textures_set.render(images, g, False) for g in (generator(1), generator(2)))
    noise = (first - second) / 2**0.5
    assert noise.std() == pytest.approx(0.1, rel=0.01)
    assert abs(noise.mean()) < 0.001
    source = generator(1)
    assert torch.equal(textures_set.render(images, source, False), first)
    assert not torch.equal(textures_set.render(images, source, False), first)


# crops and photos


def test_photos_are_normalised_by_the_moments_of_the_training_images():
    images = random_images(20, 3, 8, 8) // torch.tensor([1, 2, 5], dtype=torch.uint8).view(3, 1, 1)
    arrays = {"train_x": images, "test_x": images[:4] // 2, "train_y": torch.arange(20) % 2}
    arrays["test_y"] = torch.arange(4) % 2
    dataset = loading.from_arrays("photos", arrays, ("a", "b"), torch.device("cpu"))
    x = images.double() / 255
    mean, std = (x.mean((0, 2, 3)).view(3, 1, 1), x.std((0, 2, 3), correction=0).view(3, 1, 1))
    for split in (dataset.train, dataset.test):
        out = dataset.render(split.images, generator(), False)
        torch.testing.assert_close(out, ((split.images / 255.0 - mean) / std).float(), atol=1e-5, rtol=1e-5)
        assert out.is_contiguous(memory_format=torch.channels_last)


def test_a_channel_of_one_colour_is_normalised_to_finite_values():
    images = torch.full((4, 3, 8, 8), 7, dtype=torch.uint8)
    labels = torch.zeros(4, dtype=torch.int64)
    arrays = {"train_x": images, "train_y": labels, "test_x": images, "test_y": labels}
    dataset = loading.from_arrays("flat", arrays, ("a",), torch.device("cpu"))
    assert dataset.fixed(dataset.test)[0].abs().max() < 1


# the order of images


def test_the_order_follows_from_the_number_of_images_alone():
    torch.manual_seed(1)
    np.random.seed(1)
    assert data.fixed_order(8).tolist() == [2, 4, 3, 6, 5, 0, 1, 7]
    assert sorted(data.fixed_order(1000).tolist()) == list(range(1000)) != data.fixed_order(1000).tolist()


@pytest.mark.parametrize("layout", ["folder", "imagefolder"])
def test_every_part_of_a_folder_has_images_of_all_classes(empty_folders, by_class, layout):
    dataset = data.load(f"{layout}:{by_class}", image_size=16)
    assert torch.equal(dataset.test.labels, torch.arange(12).repeat_interleave(250)[data.fixed_order(3000)])
    for split in (dataset.train, dataset.test, *dataset.halves(generator())):
        for part in split.labels.split(250):
            # 21 of each class are expected; so far off, one class alone, in fewer than one case of 10,000
            assert torch.bincount(part, minlength=12).sub(len(part) / 12).abs().max() < 19


@pytest.mark.slow
def test_a_folder_ranks_architectures_as_random_orders_do(by_class, shared_weights):
    """Its images lie class by class, and BatchNorm has the statistics of each part."""
    dataset, archs = data.load(f"imagefolder:{by_class}", image_size=16), make_space("pooling").enumerate()
    x, y = dataset.fixed(dataset.halves(generator())[1])
    found = evaluation.accuracy(shared_weights, archs, x, y)
    for seed in (1, 2):
        order = torch.randperm(len(y), generator=generator(seed))
        shuffled = evaluation.accuracy(shared_weights, archs, x[order], y[order])
        assert kendalltau(found, shuffled).statistic > 0.75


# data sets by name


def test_an_unknown_data_set_is_refused_with_the_known_ones():
    with pytest.raises(HnasError, match=r"^unknown data set 'mnist'; allowed: digits, .*, folder:PATH, .*$"):
        data.load("mnist")


def test_folders_are_looked_up_in_the_environment_first(empty_folders, monkeypatch):
    cache = empty_folders / "cache" / "hnas_kit"
    assert data.data_folders() == [empty_folders / "data", cache]
    monkeypatch.delenv("HNAS_DATA_DIR")
    assert data.data_folders() == [cache]


def save_images(folder: Path) -> Tensor:
    """Two test and four training images in two classes; returns the training images."""
    images = random_images(6, 8, 8, 3)
    names = [f"train/{cls}/{i}.png" for cls in ("cat", "dog") for i in (0, 1)]
    for name, image in zip([*names, "test/cat/0.png", "test/dog/0.png"], images, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.numpy()).save(folder / name)
    return images[:4].permute(0, 3, 1, 2)


def test_a_folder_of_images_is_a_data_set(empty_folders, monkeypatch):
    monkeypatch.setenv("HOME", str(empty_folders))
    images = save_images(empty_folders / "pets")
    for name in (f"folder:{empty_folders}/pets", "folder:~/pets"):
        dataset = data.load(name)
        assert (dataset.name, dataset.classes) == ("pets", ("cat", "dog"))
        assert (dataset.in_channels, dataset.image_size, dataset.views) == (3, 8, 1)
        assert torch.equal(dataset.train.images, images[data.fixed_order(4)])
        assert torch.equal(dataset.train.labels, torch.tensor([0, 0, 1, 1])[data.fixed_order(4)])
        assert torch.equal(dataset.test.labels, torch.tensor([0, 1])[data.fixed_order(2)])


def test_a_folder_goes_through_pre_training_at_half_its_size(empty_folders, by_class):
    """As in 01_pretrain. Images in memory are shrunk once: what is drawn and trained on is small."""
    name = f"folder:{by_class}"
    dataset, whole = data.load(name, image_size=8), data.load(name)
    assert (dataset.image_size, whole.image_size) == (8, 16)
    assert data.load(name, image_size=16).train.images.shape == whole.train.images.shape
    for small, large in ((dataset.train, whole.train), (dataset.test, whole.test)):
        assert torch.equal(small.images, shrunk(large.images, 8))
        assert torch.equal(small.labels, large.labels)
    x, y = dataset.fixed(dataset.train)
    assert x.mean((0, 2, 3)).abs().max() < 1e-4  # its own moments
    assert (x.std((0, 2, 3)) - 1).abs().max() < 1e-4
    train_half, valid_half = dataset.halves(generator())
    batches = dataset.batches(train_half, 16, Generators(0))
    assert next(batches)[0].shape == (16, 1, 8, 8)
    archs, net = make_space("pooling").enumerate(), make_supernet(make_space("pooling"), 1, 12, width=2)
    losses = training.train(net, batches, archs.__getitem__, 3, lr=0.05, weight_decay=0.0)
    assert np.isfinite(losses).all()
    x, y = dataset.fixed(valid_half, 100)
    assert x.shape == (100, 1, 8, 8)
    assert evaluation.accuracy(net, archs, x, y).shape == (36,)


@pytest.mark.parametrize("name", ["digits", "textures", "folder"])
def test_other_sizes_than_that_of_the_images(empty_folders, by_class, name):
    name = f"folder:{by_class}" if name == "folder" else name
    whole = data.load(name, image_size=0)
    for size in (8, 24):
        dataset = data.load(name, image_size=size)
        for train in (True, False):
            x, _ = next(dataset.batches(dataset.train, 4, Generators(0), train=train))
            assert x.shape == (4, whole.in_channels, size, size)
        # what is enlarged, or drawn, is kept as it was
        kept = whole.train.images.shape[-1] if "folder" not in name else min(size, 16)
        assert dataset.train.images.shape[-1] == kept
    with pytest.raises(HnasError, match=r"\Aimage_size is -8; it must be at least 0\Z"):
        data.load(name, image_size=-8)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(HnasError, match=f"there is no {tmp_path}/pets$"):
        data.load(f"folder:{tmp_path}/pets")


class FakeCIFAR10:
    """Stands in for torchvision's class, with the same attributes."""

    classes = ("plane", "car")
    calls: tuple = ()

    def __init__(self, root: Path, train: bool, download: bool) -> None:
        type(self).calls += ((root, train, download),)
        self.data = random_images(6 if train else 2, 8, 8, 3).numpy()
        self.targets = [0, 1] * (3 if train else 1)


@pytest.mark.parametrize("there", [True, False])
def test_cifar10_is_downloaded_only_where_it_is_missing(empty_folders, monkeypatch, there):
    monkeypatch.setattr(FakeCIFAR10, "calls", ())
    monkeypatch.setattr("torchvision.datasets.CIFAR10", FakeCIFAR10)
    root = empty_folders / ("data" if there else "cache/hnas_kit")
    if there:
        (root / "cifar-10-batches-py").mkdir(parents=True)
    dataset = data.load("cifar10")
    assert FakeCIFAR10.calls == ((root, True, not there), (root, False, not there))
    assert dataset.classes == ("plane", "car")
    assert dataset.train.labels.tolist() == [0, 1] * 3
    assert torch.equal(dataset.train.images, random_images(6, 8, 8, 3).permute(0, 3, 1, 2))
    assert len(dataset.test) == 2


def test_cifar10_that_cannot_be_had_gives_one_line(empty_folders, monkeypatch):
    def offline(*args: object, **options: object) -> None:
        raise OSError("no\n  network")

    monkeypatch.setattr("torchvision.datasets.CIFAR10", offline)
    with pytest.raises(HnasError) as caught:
        data.load("cifar10")
    assert str(caught.value) == (
        f"data set cifar10 is not in {empty_folders}/data or {empty_folders}/cache/hnas_kit and cannot be "
        "downloaded (no network); put the folder cifar-10-batches-py there, or set HNAS_DATA_DIR to the "
        "folder that holds it"
    )


def test_cifar10_jpeg_that_is_missing_gives_one_line(empty_folders):
    with pytest.raises(
        HnasError, match=r"^data set cifar10_jpeg is not in .*set HNAS_DATA_DIR to where it is$"
    ):
        data.load("cifar10_jpeg")


def test_a_known_data_set_with_other_images_is_refused(empty_folders):
    folder = empty_folders / "data" / "cifar10_jpeg"
    save_images(folder)
    line = (
        rf"\A{folder} is not data set cifar10_jpeg: it has 6 images, sha256 \w+, and there should be 60000 "
    )
    with pytest.raises(HnasError, match=line):
        data.load("cifar10_jpeg")


def test_cifar10_jpeg_is_found_as_a_folder(empty_folders, monkeypatch):
    images = save_images(empty_folders / "data" / "cifar10_jpeg")
    monkeypatch.setattr(loading, "PUBLISHED", data.version("cifar10_jpeg"))
    assert torch.equal(data.load("cifar10_jpeg").train.images, images[data.fixed_order(4)])


DATA = Path(os.environ.get("HNAS_DATA_DIR") or "/nonexistent")


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.skipif(
    not any((DATA / name).exists() for name in ("cifar10_jpeg", "cifar10_jpeg.tar.xz")),
    reason="cifar10_jpeg is not in HNAS_DATA_DIR",
)
def test_the_real_cifar10_jpeg(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    dataset = data.load("cifar10_jpeg")
    assert dataset.train.images.shape == (50_000, 3, 32, 32)
    assert dataset.test.images.shape == (10_000, 3, 32, 32)
    assert len(dataset.classes) == 10
    assert torch.bincount(dataset.train.labels).tolist() == [5000] * 10
    assert torch.bincount(dataset.test.labels).tolist() == [1000] * 10
    for split in (dataset.train, dataset.test, *dataset.halves(generator())):
        first = torch.bincount(dataset.fixed(split, 800)[1], minlength=10)
        assert (first - 80).abs().max() < 30  # more than three standard deviations
    # the published moments of CIFAR-10's training images, which JPEG hardly moves
    x = dataset.train.images[::7].float() / 255
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.tensor([0.4914, 0.4822, 0.4465]), atol=0.01, rtol=0)
    torch.testing.assert_close(x.std((0, 2, 3)), torch.tensor([0.2470, 0.2435, 0.2616]), atol=0.01, rtol=0)


def test_the_version_of_own_images_changes_with_them_and_that_of_a_named_set_does_not(tmp_path):
    (tmp_path / "train").mkdir()
    image = tmp_path / "train" / "a.png"
    image.write_bytes(b"1")
    versions = [data.version(f"{layout}:{tmp_path}") for layout in ("folder", "imagefolder")]
    assert versions[0] == versions[1] != ""
    image.write_bytes(b"22")
    versions.append(data.version(f"folder:{tmp_path}"))
    image.rename(image.with_name("b.png"))
    versions.append(data.version(f"folder:{tmp_path}"))
    assert len(set(versions)) == 3
    assert data.version("digits") == ""
    with pytest.raises(HnasError, match="there is no"):
        data.version(f"folder:{tmp_path / 'absent'}")

"""Named generators: reproducible, independent of each other, saved and restored as one."""

from __future__ import annotations

import numpy as np
import torch

from hnas_kit.files import torch_bytes, torch_value
from hnas_kit.randomness import Generators


def draws(generators: Generators, name: str, n: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    return (
        generators.numpy(name).random(n),
        torch.rand(n, generator=generators.torch(name), dtype=torch.float64).numpy(),
    )


def test_the_seed_and_the_name_fix_the_stream():
    np.testing.assert_array_equal(draws(Generators(3), "order"), draws(Generators(3), "order"))


def test_streams_of_other_names_seeds_and_kinds_are_uncorrelated():
    streams = [
        stream
        for seed in (3, 4)
        for name in ("order", "draws", "architectures")
        for stream in draws(Generators(seed), name)
    ]
    correlation = np.corrcoef(streams) - np.eye(len(streams))
    assert np.abs(correlation).max() < 0.15  # 66 pairs; one is beyond 4.7 standard errors


def test_one_name_is_one_generator_that_goes_on():
    generators = Generators(0)
    assert generators.numpy("a") is generators.numpy("a")
    assert generators.torch("a") is generators.torch("a")
    whole = draws(Generators(0), "a", 20)
    parts = [draws(generators, "a", 10) for _ in range(2)]
    np.testing.assert_array_equal(whole, np.concatenate(parts, axis=1))


def test_another_name_changes_nothing():
    alone, among_others = Generators(5), Generators(5)
    expected = draws(alone, "order")
    draws(among_others, "augment")
    np.testing.assert_array_equal(expected, draws(among_others, "order"))


def test_global_generators_are_neither_used_nor_moved():
    np.random.seed(0)
    torch.manual_seed(0)
    state = np.random.get_state()[1].copy(), torch.get_rng_state()
    draws(Generators(1), "a")
    assert np.array_equal(state[0], np.random.get_state()[1])
    assert torch.equal(state[1], torch.get_rng_state())


def test_the_state_goes_through_a_file():
    generators = Generators(7)
    for name in ("a", "b"):
        draws(generators, name, 5)
    generators.numpy("a").integers(99, dtype=np.int32)  # leaves half a word behind, for the next such draw
    data = torch_bytes(generators.state_dict())
    half = generators.numpy("a").integers(2**30, dtype=np.int32)
    expected = [draws(generators, name, 5) for name in ("a", "b")]

    resumed = Generators(7)
    for name in ("a", "b"):
        resumed.torch(name)
    resumed.load_state_dict(torch_value(data))
    assert resumed.numpy("a").integers(2**30, dtype=np.int32) == half
    np.testing.assert_array_equal(expected, [draws(resumed, name, 5) for name in ("a", "b")])

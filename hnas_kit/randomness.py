"""Every random draw of a run comes from a named generator made from the run's seed."""

import zlib

import numpy as np
import torch


class Generators:
    """Named, independent random generators, all derived from one seed.

    Two names never share a stream, and adding a name changes none of the others: the draws of, say,
    ``"architectures"`` are the same whatever the data augmentation does. The state of all generators
    that were asked for is saved and restored as one.

    Args:
        seed: the run's seed, a non-negative integer.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._numpy: dict[str, np.random.Generator] = {}
        self._torch: dict[str, torch.Generator] = {}

    def _sequence(self, name: str) -> np.random.SeedSequence:
        return np.random.SeedSequence(self.seed, spawn_key=(zlib.crc32(name.encode()),))

    def numpy(self, name: str) -> np.random.Generator:
        """The NumPy generator of that name (CPU): samplers draw from these."""
        if name not in self._numpy:
            self._numpy[name] = np.random.default_rng(self._sequence(name))
        return self._numpy[name]

    def torch(self, name: str, device: str | torch.device = "cpu") -> torch.Generator:
        """The PyTorch generator of that name: data order, augmentation, weight initialisation."""
        if name not in self._torch:
            generator = torch.Generator(device)
            generator.manual_seed(int(self._sequence(name).generate_state(1, np.uint64)[0]) >> 1)
            self._torch[name] = generator
        return self._torch[name]

    def at_step(self, step: int) -> None:
        """Seed what a network draws by itself, such as dropout: a step's draws follow from seed and step."""
        torch.manual_seed(hash((self.seed, step)) % 2**63)

    def state_dict(self) -> dict:
        return {
            "numpy": {name: g.bit_generator.state for name, g in self._numpy.items()},
            "torch": {name: g.get_state() for name, g in self._torch.items()},
        }

    def load_state_dict(self, state: dict) -> None:
        for name, value in state["numpy"].items():
            self.numpy(name).bit_generator.state = value
        for name, value in state["torch"].items():
            self._torch[name].set_state(value)

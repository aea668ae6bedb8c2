"""Checkpoints that a run resumes from exactly, and beginnings that trainings have alike."""

import time
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any

from hnas_kit.files import sha256, torch_bytes, torch_value, write_atomic
from hnas_kit.provenance import code_digest


class Checkpoints:
    """The last two states of a run in one folder; a file's name carries its step and checksum.

    Args:
        folder: where the files lie.
        every: a state is saved each time this many steps are done.

    Attributes:
        seconds: that earlier processes took for the state that was restored.
        codes: digests of the package's code that made it, and of the present code.
    """

    def __init__(self, folder: Path, every: int) -> None:
        self.folder, self.every = folder, every
        self.seconds, self.codes, self._start = 0.0, {code_digest()}, time.perf_counter()

    @property
    def took(self) -> float:
        """Seconds in all, of earlier processes and of this one since it restored their state."""
        return self.seconds + time.perf_counter() - self._start

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("step-*.pt"), reverse=True)

    def save(self, step: int, parts: Mapping[str, Any]) -> None:
        """Save ``step`` and the state of every part, then drop all but the last two files."""
        states = {name: part.state_dict() for name, part in parts.items()}
        data = torch_bytes({"step": step, "parts": states, "seconds": self.took, "codes": sorted(self.codes)})
        write_atomic(self.folder / f"step-{step:09d}-{sha256(data)[:16]}.pt", data)
        for old in self._files()[2:]:
            old.unlink()

    def restore(self, parts: Mapping[str, Any]) -> int:
        """Restore the newest sound state and return its step, 0 if there is none; damaged files are named."""
        self._start = time.perf_counter()
        for path in self._files():
            data = path.read_bytes()
            if sha256(data)[:16] != path.stem.split("-")[2]:
                print(f"checkpoint {path} is corrupt; falling back to the one before it")
                path.unlink()  # or it would count as one of the last two
                continue
            state = torch_value(data)
            for name, part in parts.items():
                part.load_state_dict(state["parts"][name])
            self.seconds, self.codes = state["seconds"], self.codes.union(state["codes"])
            return state["step"]
        return 0


Kept = dict[Hashable, tuple[bytes, float]]  # states, and the seconds that they took


class Beginning:
    """First steps that trainings have alike: the first keeps its state, in memory, for the others.

    Args:
        kept: what is kept for all of them, by key; empty at first.
        key: of those that begin alike.
        step: how many these steps are.
        catch_up: called with the parts once they are restored, all but ``sampler``: it learns again from
            what the others recorded.

    Attributes:
        seconds: that another training took for these steps, 0 if this one goes through them itself.
    """

    def __init__(
        self,
        kept: Kept,
        key: Hashable,
        step: int,
        catch_up: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self._kept, self._key, self.step, self._catch_up = kept, key, step, catch_up
        self.seconds, self._start = 0.0, time.perf_counter()

    def restore(self, parts: Mapping[str, Any]) -> int:
        """Restore the state after these steps and return their number, 0 if nobody has kept it."""
        if self._key not in self._kept:
            return 0
        content, self.seconds = self._kept[self._key]
        for name, state in torch_value(content).items():
            parts[name].load_state_dict(state)
        self._catch_up(parts)
        return self.step

    def keep(self, parts: Mapping[str, Any], before: float) -> None:
        """Keep the state after these steps; those in an earlier process took ``before`` seconds."""
        states = {name: part.state_dict() for name, part in parts.items() if name != "sampler"}
        self._kept[self._key] = torch_bytes(states), before + time.perf_counter() - self._start

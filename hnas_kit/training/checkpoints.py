"""Checkpoints that a run resumes from exactly."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hnas_kit.files import sha256, torch_bytes, torch_value, write_atomic


class Checkpoints:
    """The last two states of a run in one folder; a file's name carries its step and checksum.

    Args:
        folder: where the files lie.
        every: a state is saved each time this many steps are done.
    """

    def __init__(self, folder: Path, every: int) -> None:
        self.folder, self.every = folder, every

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("step-*.pt"), reverse=True)

    def save(self, step: int, parts: Mapping[str, Any]) -> None:
        """Save ``step`` and the state of every part, then drop all but the last two files."""
        data = torch_bytes({"step": step, "parts": {name: part.state_dict() for name, part in parts.items()}})
        write_atomic(self.folder / f"step-{step:09d}-{sha256(data)[:16]}.pt", data)
        for old in self._files()[2:]:
            old.unlink()

    def restore(self, parts: Mapping[str, Any]) -> int:
        """Restore the newest sound state and return its step, 0 if there is none; damaged files are named."""
        for path in self._files():
            data = path.read_bytes()
            if sha256(data)[:16] != path.stem.split("-")[2]:
                print(f"checkpoint {path} is corrupt; falling back to the one before it")
                path.unlink()  # or it would count as one of the last two
                continue
            state = torch_value(data)
            for name, part in parts.items():
                part.load_state_dict(state["parts"][name])
            return state["step"]
        return 0

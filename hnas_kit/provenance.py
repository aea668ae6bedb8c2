"""Where a result comes from: versions, source revision, hardware."""

import os
import platform
import subprocess
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from hnas_kit.files import sha256

PACKAGES = ("hnas_kit", "torch", "torchvision", "numpy", "scipy", "pandas", "scikit-learn", "papermill")


def code_digest() -> str:
    """SHA-256 over the package's source files: changes when any of them does."""
    sources = sorted(Path(__file__).parent.rglob("*.py"))
    return sha256("".join(f"{path.name} {sha256(path)}\n" for path in sources).encode())


@lru_cache
def git_revision() -> str | None:
    """The commit of the source tree, with ``+`` if it has uncommitted changes; None outside a checkout."""
    command = ["git", "describe", "--always", "--exclude=*", "--abbrev=40", "--dirty=+"]
    known = ["git", "ls-files", "--error-unmatch", Path(__file__).name]  # fails in another project's checkout
    how = {"cwd": Path(__file__).parent, "capture_output": True, "text": True, "check": True}
    try:
        subprocess.run(known, **how)
        done = subprocess.run(command, **how)
        return done.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def processor() -> str:
    """The CPU's name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def provenance() -> dict:
    """Versions, git revision, digest of the code, and hardware, as plain values."""
    return {
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "git_revision": git_revision(),
        "code_sha256": code_digest(),
        "processor": processor(),
        "cores": os.cpu_count(),
    }

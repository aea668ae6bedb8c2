"""What a run may be called: a folder of that name is made in ``outputs/``."""

from __future__ import annotations

import re

from hnas_kit.errors import HnasError

PLAIN_NAME = "should be a plain name: letters, digits and _ . - (parts may be joined by /)"
# what lies in a run's folder has these names, and a run may lie in another one's folder
RESERVED = re.compile(r"\d\d_[a-z]+(\..*)?|retrain-.*|.*\.(html|csv|ipynb|json|lock|tmp|old)")
LONGEST = 120  # letters of a part of a name; file systems take 255, and more is added to it


def run_name(value: str) -> str:
    """A run's name; raises :class:`ValueError`, with what is allowed, for another text."""
    parts = value.split("/")
    if not all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", part) for part in parts):
        raise ValueError(PLAIN_NAME)
    if len(value) > 4 * LONGEST or max(map(len, parts)) > LONGEST:
        raise ValueError(f"should have at most {LONGEST} letters (and {4 * LONGEST} with its folders)")
    if taken := [part for part in parts if RESERVED.fullmatch(part)]:
        raise ValueError(
            f"should not have the part {taken[0]}, which is a name of what lies in a run's folder"
        )
    return value


def check_run(value: str) -> None:
    """Raise :class:`HnasError` for what is not a run's name."""
    try:
        run_name(value)
    except ValueError as error:
        shown = value if len(value) <= LONGEST else f"{value[:20]}..."
        raise HnasError(f"run is {shown!r}: {error}") from None

"""What images a result was made of: their number and a checksum of their content, computed once."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from platformdirs import user_cache_path

from hnas_kit.data.images import members, source_key
from hnas_kit.errors import Failure, HnasError
from hnas_kit.files import json_value, sha256, write_atomic

# as published: images, and the checksum of their names and content (see :func:`fingerprint`)
KNOWN = {
    "cifar10_jpeg": "60000 images, sha256 bad7b27d2c9885695a27874c33988db0b4e4b6bc0814b04c1707f67ef0d974b8"
}


def fingerprint(source: Path) -> str:
    """Number and checksum of the files of a folder or tar archive, but hidden ones.

    The checksum is of a line ``part/class/name sha256`` for each image in the order of these names, so that a
    folder and an archive of it have the same one; other files stand with their own path. It is kept in the
    user's cache, under names, sizes and times of change of the files.

    Raises:
        HnasError: if a file cannot be read.
    """
    kept = user_cache_path("hnas_kit") / "fingerprints" / f"{source_key(source)}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        value = json_value(kept)
        return f"{value['count']} images, sha256 {value['sha256']}"
    lines = sorted(_lines(source))
    found = {"count": len(lines), "sha256": sha256("".join(lines).encode())}
    with contextlib.suppress(Failure):  # it is computed again where it cannot be kept
        write_atomic(kept, json.dumps(found).encode())
    return f"{found['count']} images, sha256 {found['sha256']}"


def _lines(source: Path) -> Iterator[str]:
    read: Callable[[], bytes]
    for name, read in members(source):
        parts = name.split("/")
        short = "/".join(parts[-3:]) if len(parts) > 2 and parts[-3] in ("train", "test", "val") else name
        try:
            yield f"{short} {hashlib.sha256(read()).hexdigest()}\n"
        except OSError as error:
            raise HnasError(f"{source}: {name} cannot be read ({error.strerror or error})") from None


def check_known(name: str, source: Path) -> None:
    """Raise :class:`HnasError` if a known data set has other images than were published."""
    found = fingerprint(source)
    if found != KNOWN[name]:
        raise HnasError(f"{source} is not data set {name}: it has {found}, and there should be {KNOWN[name]}")

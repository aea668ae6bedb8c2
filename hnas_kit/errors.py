"""The one kind of error that a user can mend."""

import contextlib
import difflib
from collections.abc import Iterable, Iterator


class HnasError(Exception):
    """One line: what was wrong, what is allowed, and where.

    Notebooks show only that line (IPython calls ``_render_traceback_``), and so does the command line, which
    ends with ``status``: here that of a user's mistake, found before anything starts.
    """

    status = 2

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class Failure(HnasError):
    """What went wrong while the work was done: a full disk, a process that died, a damaged file."""

    status = 1


class Interrupted(HnasError):
    """Ctrl-C; the same command goes on from where it was."""

    status = 130


def said(error: BaseException) -> str:
    """An error's kind, unless it is ours, and what it says, in one line, also if it cannot say it."""
    try:
        text = " ".join(str(error).split())
    except Exception:
        text = ""
    kind = () if isinstance(error, HnasError) else (type(error).__name__,)
    return ": ".join(filter(None, (*kind, text)))


@contextlib.contextmanager
def foreign(before: str, after: str = "") -> Iterator[None]:
    """Code of one's own is run: whatever it raises, an exit too, becomes one line; Ctrl-C stays that."""
    try:
        yield
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        raise HnasError(f"{before}{said(error)}{after}") from None


def require_one_of(what: str, value: object, allowed: Iterable[object]) -> None:
    """Raise :class:`HnasError` unless ``value`` is one of ``allowed``; a near miss is suggested."""
    allowed = list(allowed)
    if value in allowed:
        return
    close = difflib.get_close_matches(str(value), [str(a) for a in allowed], n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    names = ", ".join(str(a) for a in allowed)
    raise HnasError(f"unknown {what} {value!r}{hint}; allowed: {names}")

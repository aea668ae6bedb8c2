"""How a command ends: its exit status, and at most one line on standard error."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from hnas_kit.errors import HnasError


class Parser(argparse.ArgumentParser):
    """One line for a mistake, as everywhere."""

    def error(self, message: str) -> NoReturn:
        raise HnasError(f"{message} ({self.prog} --help says more)")


def status_of(command: Callable[[], object]) -> int:
    """Run a command.

    Returns:
        0; 2 for a mistake of the user, 1 for a failure, 130 after Ctrl-C, each with one line on standard
        error; 141, without a word, if nobody reads what is printed.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal may lack signs, a λ for instance
    try:
        command()
        sys.stdout.flush()
        return 0
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still to be written goes nowhere
        return 141
    except KeyboardInterrupt:
        return _ended("stopped; the same command starts anew", 130)
    except HnasError as error:
        return _ended(str(error), error.status)
    except MemoryError as error:
        return _ended(f"memory does not suffice ({error})", 1)
    except OSError as error:
        if _nowhere():
            return _ended("the working folder is not there any more; change to another", 2)
        where = f"{error.filename}: " if error.filename else ""
        return _ended(f"{where}{error.strerror or error}", 2 if error.errno == errno.ENAMETOOLONG else 1)


def _nowhere() -> bool:
    """Whether the working folder has been removed."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def _ended(line: str, status: int) -> int:
    print(f"hnas: {' '.join(line.split())}", file=sys.stderr)
    return status

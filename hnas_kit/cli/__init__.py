"""The command line: what commands there are, their arguments, and how one ends."""

import argparse
import errno
import os
import platform
import re
import sys
from pathlib import Path
from typing import Any, NoReturn

from hnas_kit import places
from hnas_kit.cli import commands as do
from hnas_kit.errors import HnasError
from hnas_kit.runs.params import NOTEBOOKS


class Parser(argparse.ArgumentParser):
    """One line for a mistake, as everywhere."""

    def error(self, message: str) -> NoReturn:
        raise HnasError(f"{message} ({self.prog} --help says more)")


def _text(value: str) -> str:
    if not value:
        raise argparse.ArgumentTypeError("it is empty")
    return value


def _path(value: str) -> Path:
    return Path(_text(value))


def _a(*names: str, **how: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    """An argument, as ``add_argument`` takes it."""
    return names, how


def _changes(what: str) -> tuple[tuple[str, ...], dict[str, Any]]:
    names = {"dest": "parameter", "metavar": ("NAME", "VALUE"), "help": what}
    return _a("-p", nargs=2, action="append", default=[], **names)


_METHOD = _a("--method", default="", help="of those that the run compared (default: its own)")
_SEARCHED = {"default": "", "choices": places.SEARCHES}
_WHICH = _a("--notebook", **_SEARCHED, help="that searched (default: the first that is there)")
_FIRST, *_, _LAST = NOTEBOOKS

# what each is called and does, in a line, and its arguments
COMMANDS = (
    (
        do.run,
        "run the notebooks of a profile, those that are up to date left out",
        _a("profile", help="a folder of params/, or a path to one"),
        _changes("override a parameter; NOTEBOOK.NAME in one notebook alone"),
        _a("--from", dest="start", metavar="NN", default=_FIRST, help="first, for instance 03"),
        _a("--to", dest="end", metavar="NN", default=_LAST, help="last notebook to run"),
        _a("--force", action="store_true", help="run even what is up to date"),
        _a("--seeds", type=int, metavar="N", help="run seeds 0 to N - 1 and print a table over them"),
        _a("--dry-run", action="store_true", help="say what would run, why and how long; no more"),
    ),
    (
        do.sweep,
        "run a grid of parameters and seeds, many at a time",
        _a("file", type=_path, help="for instance params/sweeps/table1.yaml"),
        _changes("override a fixed value, or run, seeds, profile"),
        _a("--scheduler", type=_text, metavar="ADDRESS", help="of dask, for instance tcp://host:8786"),
        _a("--workers", type=int, metavar="N", help="processes on this machine (default: cores)"),
    ),
    (
        do.parameters,
        "print every parameter: default, allowed, meaning",
        _a("notebook", nargs="?", help="for instance 04; or retrain, simulate (default: all)"),
    ),
    (do.report, "write outputs/<run>/report.html again", _a("run")),
    (do.verify, "check a run: files, manifests, what was read, printed numbers", _a("run")),
    (
        do.compare,
        "what differs between two runs, and what both found",
        _a("run", help="with a finished search"),
        _a("other", help="likewise"),
        _a("--notebook", **_SEARCHED, help="that searched"),
    ),
    (
        do.judge,
        "ask the supernets of finished searches about every architecture: outputs/judges.csv",
        _a("runs", nargs="+", metavar="RUN", help="with a finished 04_mcts"),
    ),
    (
        do.results,
        "write anew what docs/results.md says of the evidence, and the tables that sum up searches.csv",
        _a("folder", nargs="?", type=_path, help="docs of the project (default: this one's)"),
        _a("--runs", nargs="+", default=[], metavar="RUN", help="of finished sweeps, to take the rows of"),
    ),
    (do.notebooks, "copy the six notebooks into a folder, to edit them", _a("folder", type=_path)),
    (
        do.export,
        "write the architecture that a run found as a file",
        _a("run", help="with a finished search; or the folder of a finished hnas retrain, for its weights"),
        _a("file", type=_path, help="its ending says how: .onnx, or .pt2 for torch.export"),
        _METHOD,
        _WHICH,
    ),
    (
        do.retrain,
        "train the architecture that a run found, or any, alone from new weights",
        _a("run", nargs="?", default="", help="with a finished search"),
        _METHOD,
        _WHICH,
        _a("--space", help="pooling, macro or mobile; this and the next three instead of a run's"),
        _a("--arch", dest="architecture", metavar="TEXT", help="for instance [4,3,3]"),
        _a("--dataset", help="a name, or imagefolder:PATH and the like"),
        _a("--width", type=int, help="channels of the stem (default: the paper's)"),
        _changes("set a parameter"),
    ),
    (
        do.simulate,
        "compare all samplers and trees on NAS-Bench-Macro, in seconds, without a network",
        _a(
            "what",
            nargs="?",
            choices=("methods", "readings", "trees", "beyond"),
            default="methods",
            help="readings: those of the paper, with lambda, tree and length, into outputs/readings.csv; "
            "trees: what makes one good, into outputs/trees.csv; beyond: branches that count by their leaves "
            "and trees that are learned anew, both beyond the paper, into outputs/beyond.csv",
        ),
        _a("--runs", nargs="+", default=[], metavar="RUN", help="with outputs (02) to make trees of"),
        _a("--seeds", type=int, help="searches of each method (default 100)"),
        _a("--steps", type=int, help="of each search (default 11,760, the paper's)"),
        _a("--rewards", help="true, or supernet: the estimates of the packaged one (default true)"),
        _changes("set a parameter"),
    ),
    (
        do.benchmark,
        "train every architecture alone: the ground truth table",
        _a("name", help="DATASET-SPACE, for instance digits-pooling"),
        _a("--seeds", type=int, default=5, help="trainings of each architecture (default 5)"),
        _a("--out", type=_path, help="folder (default outputs/benchmarks/<name>)"),
        _changes("set a parameter: hnas parameters benchmark"),
    ),
    (
        do.ffcv,
        "write train.beton and val.beton from folders of images",
        _a("folder", type=_path, help="with train/<class>/* and val/<class>/*, as imagefolder:PATH"),
        _a("--out", type=_path, help="folder for the two files (default: the same)"),
    ),
    (
        do.course,
        "write the notebooks for students, with solutions, and a teacher's page",
        _a("folder", type=_path, help="a new folder, or an empty one"),
    ),
)
MORE = {
    do.retrain: "Train one architecture alone from new weights, on the whole training set, and score it "
    "on the test set. By default as the ground truth was made, if this kit made it, and for 100 epochs "
    "of SGD on a cosine (the paper's Appendix B.1) otherwise. Settings (-p): hnas parameters retrain.",
    do.simulate: "Search NAS-Bench-Macro with known accuracies as rewards, with every sampler and tree. "
    "Settings (-p): hnas parameters simulate.",
}


def parser() -> argparse.ArgumentParser:
    main = Parser(prog="hnas", description="Rebuild the paper step by step.")
    commands = main.add_subparsers(required=True, metavar="command")
    for call, what, *arguments in COMMANDS:
        command = commands.add_parser(call.__name__, help=what, description=MORE.get(call))
        for names, how in arguments:
            command.add_argument(*names, **how)
        command.set_defaults(call=call)
    return main


# which keep what is done so far; the others start anew
GO_ON = (do.run, do.sweep, do.retrain, do.benchmark)


def _call(args: argparse.Namespace) -> None:
    if platform.system() == "Windows":
        raise HnasError(
            "hnas runs on Linux and macOS; on Windows use the Windows Subsystem for Linux (WSL 2)"
        )
    size = os.environ.get("WORLD_SIZE") or "1"
    if not re.fullmatch("[1-9][0-9]{0,5}", size):
        raise HnasError(f"WORLD_SIZE is {size!r}; it must be the number of processes of a launcher, or unset")
    if size == "1":
        return args.call(args)
    from hnas_kit.processes import distributed
    from hnas_kit.studies import imagenet

    if not distributed.follow(imagenet.job):  # of several processes `torchrun` tells the first what to do
        with distributed.leading():
            args.call(args)


def main(argv: list[str] | None = None) -> int:
    """Run a command.

    Returns:
        0; 2 for a mistake of the user, 1 for a failure, 130 after Ctrl-C, each with one line on standard
        error; 141, without a word, if nobody reads what is printed.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal may lack signs, a λ for instance
    args = argparse.Namespace(call=None)
    try:
        parser().parse_args(argv, args)
        _call(args)
        sys.stdout.flush()
        return 0
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still to be written goes nowhere
        return 141
    except KeyboardInterrupt:
        way = "goes on from here" if args.call in GO_ON else "starts anew"
        return _ended(f"stopped; the same command {way}", 130)
    except HnasError as error:
        return _ended(str(error), error.status)
    except MemoryError as error:
        return _ended(f"memory does not suffice ({error})", 1)
    except OSError as error:
        try:
            os.getcwd()
        except FileNotFoundError:
            return _ended("the working folder is not there any more; change to another", 2)
        where = f"{error.filename}: " if error.filename else ""
        return _ended(f"{where}{error.strerror or error}", 2 if error.errno == errno.ENAMETOOLONG else 1)


def _ended(line: str, status: int) -> int:
    print(f"hnas: {' '.join(line.split())}", file=sys.stderr)
    return status

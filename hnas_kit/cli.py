"""The command line: what commands there are, and their arguments."""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
from pathlib import Path

from hnas_kit import commands as do
from hnas_kit.errors import HnasError
from hnas_kit.runs import places
from hnas_kit.runs.params import NOTEBOOKS
from hnas_kit.statuses import Parser, status_of


def _text(value: str) -> str:
    if not value:
        raise argparse.ArgumentTypeError("it is empty")
    return value


def _path(value: str) -> Path:
    return Path(_text(value))


def _add_changes(command: argparse.ArgumentParser, what: str) -> None:
    names = {"dest": "parameter", "metavar": ("NAME", "VALUE"), "help": what}
    command.add_argument("-p", nargs=2, action="append", default=[], **names)


def _add_whose(command: argparse.ArgumentParser) -> None:
    command.add_argument("--method", default="", help="of those that the run compared (default: its own)")
    command.add_argument(
        "--notebook",
        default="",
        choices=places.SEARCHES,
        help="that searched (default: the first that is there)",
    )


def _add_run(commands: argparse._SubParsersAction) -> None:
    run = commands.add_parser(
        "run", help="run the notebooks of a profile, those that are up to date left out"
    )
    run.add_argument("profile", help="a folder of params/, or a path to one")
    _add_changes(run, "override a parameter; NOTEBOOK.NAME in one notebook alone")
    first, *_, last = NOTEBOOKS
    run.add_argument("--from", dest="start", metavar="NN", default=first, help="first, for instance 03")
    run.add_argument("--to", dest="end", metavar="NN", default=last, help="last notebook to run")
    run.add_argument("--force", action="store_true", help="run even what is up to date")
    run.add_argument(
        "--seeds", type=int, metavar="N", help="run seeds 0 to N - 1 and print a table over them"
    )
    run.add_argument("--dry-run", action="store_true", help="say what would run, why and how long; no more")
    run.set_defaults(call=do.run)


def _add_sweep(commands: argparse._SubParsersAction) -> None:
    sweep = commands.add_parser("sweep", help="run a grid of parameters and seeds, many at a time")
    sweep.add_argument("file", type=_path, help="for instance params/sweeps/table1.yaml")
    _add_changes(sweep, "override a fixed value, or run, seeds, profile")
    sweep.add_argument(
        "--scheduler", type=_text, metavar="ADDRESS", help="of dask, for instance tcp://host:8786"
    )
    sweep.add_argument("--workers", type=int, metavar="N", help="processes on this machine (default: cores)")
    sweep.set_defaults(call=do.sweep)


def _add_parameters(commands: argparse._SubParsersAction) -> None:
    table = commands.add_parser("parameters", help="print every parameter: default, allowed, meaning")
    table.add_argument("notebook", nargs="?", help="for instance 04; or retrain, simulate (default: all)")
    table.set_defaults(call=do.parameters)


def _add_results(commands: argparse._SubParsersAction) -> None:
    report = commands.add_parser("report", help="write outputs/<run>/report.html again")
    report.add_argument("run")
    report.set_defaults(call=do.report)
    verify = commands.add_parser(
        "verify", help="check a run: files, manifests, what was read, printed numbers"
    )
    verify.add_argument("run")
    verify.set_defaults(call=do.verify)
    compare = commands.add_parser("compare", help="what differs between two runs, and what both found")
    compare.add_argument("run", help="with a finished search")
    compare.add_argument("other", help="likewise")
    compare.add_argument("--notebook", default="", choices=places.SEARCHES, help="that searched")
    compare.set_defaults(call=do.compare)
    judge = commands.add_parser(
        "judge", help="ask the supernets of finished searches about every architecture: outputs/judges.csv"
    )
    judge.add_argument("runs", nargs="+", metavar="RUN", help="with a finished 04_mcts")
    judge.set_defaults(call=do.judge)
    results = commands.add_parser(
        "results", help="write anew what docs/results.md says of the evidence, from the tables beside it"
    )
    results.add_argument("folder", nargs="?", type=_path, help="docs of the project (default: this one's)")
    results.set_defaults(call=do.results)
    notebooks = commands.add_parser("notebooks", help="copy the six notebooks into a folder, to edit them")
    notebooks.add_argument("folder", type=_path)
    notebooks.set_defaults(call=do.notebooks)
    export = commands.add_parser("export", help="write the architecture that a run found as a file")
    export.add_argument(
        "run", help="with a finished search; or the folder of a finished hnas retrain, for its weights"
    )
    export.add_argument("file", type=_path, help="its ending says how: .onnx, or .pt2 for torch.export")
    _add_whose(export)
    export.set_defaults(call=do.export)


def _add_retrain(commands: argparse._SubParsersAction) -> None:
    retrain = commands.add_parser(
        "retrain",
        help="train the architecture that a run found, or any, alone from new weights",
        description="Train one architecture alone from new weights, on the whole training set, and score it "
        "on the test set. By default as the ground truth was made, if this kit made it, and for 100 epochs "
        "of SGD on a cosine (the paper's Appendix B.1) otherwise. Settings (-p): hnas parameters retrain.",
    )
    retrain.add_argument("run", nargs="?", default="", help="with a finished search")
    _add_whose(retrain)
    retrain.add_argument(
        "--space", help="pooling, macro or mobile; this and the next three instead of a run's"
    )
    retrain.add_argument("--arch", dest="architecture", metavar="TEXT", help="for instance [4,3,3]")
    retrain.add_argument("--dataset", help="a name, or imagefolder:PATH and the like")
    retrain.add_argument("--width", type=int, help="channels of the stem (default: the paper's)")
    _add_changes(retrain, "set a parameter")
    retrain.set_defaults(call=do.retrain)


def _add_simulate(commands: argparse._SubParsersAction) -> None:
    simulate = commands.add_parser(
        "simulate",
        help="compare all samplers and trees on NAS-Bench-Macro, in seconds, without a network",
        description="Search NAS-Bench-Macro with known accuracies as rewards, with every sampler and tree. "
        "Settings (-p): hnas parameters simulate.",
    )
    simulate.add_argument(
        "what",
        nargs="?",
        choices=("methods", "readings", "trees"),
        default="methods",
        help="readings: those of the paper, with lambda, tree and length, into outputs/readings.csv; trees: "
        "what makes one good, into outputs/trees.csv",
    )
    simulate.add_argument(
        "--runs", nargs="+", default=[], metavar="RUN", help="with outputs (02) to make trees of"
    )
    simulate.add_argument("--seeds", type=int, help="searches of each method (default 100)")
    simulate.add_argument("--steps", type=int, help="of each search (default 11,760, the paper's)")
    simulate.add_argument(
        "--rewards", help="true, or supernet: the estimates of the packaged one (default true)"
    )
    _add_changes(simulate, "set a parameter")
    simulate.set_defaults(call=do.simulate)


def _add_benchmark(commands: argparse._SubParsersAction) -> None:
    benchmark = commands.add_parser(
        "benchmark", help="train every architecture alone: the ground truth table"
    )
    benchmark.add_argument("name", help="DATASET-SPACE, for instance digits-pooling")
    benchmark.add_argument("--seeds", type=int, default=5, help="trainings of each architecture (default 5)")
    benchmark.add_argument("--out", type=_path, help="folder (default outputs/benchmarks/<name>)")
    _add_changes(benchmark, "set a parameter: hnas parameters benchmark")
    benchmark.set_defaults(call=do.benchmark)


def _add_course(commands: argparse._SubParsersAction) -> None:
    course = commands.add_parser(
        "course", help="write the notebooks for students, with solutions, and a teacher's page"
    )
    course.add_argument("folder", type=_path, help="a new folder, or an empty one")
    course.set_defaults(call=do.course)


def _add_ffcv(commands: argparse._SubParsersAction) -> None:
    ffcv = commands.add_parser("ffcv", help="write train.beton and val.beton from folders of images")
    ffcv.add_argument(
        "folder", type=_path, help="with train/<class>/* and val/<class>/*, as imagefolder:PATH"
    )
    ffcv.add_argument("--out", type=_path, help="folder for the two files (default: the same)")
    ffcv.set_defaults(call=do.ffcv)


def parser() -> argparse.ArgumentParser:
    main = Parser(prog="hnas", description="Rebuild the paper step by step.")
    commands = main.add_subparsers(required=True, metavar="command")
    for add in (
        _add_run,
        _add_sweep,
        _add_parameters,
        _add_results,
        _add_retrain,
        _add_simulate,
        _add_benchmark,
        _add_ffcv,
        _add_course,
    ):
        add(commands)
    return main


def _call(args: argparse.Namespace) -> None:
    if platform.system() == "Windows":
        raise HnasError(
            "hnas runs on Linux and macOS; on Windows use the Windows Subsystem for Linux (WSL 2)"
        )
    size = os.environ.get("WORLD_SIZE") or "1"
    if not re.fullmatch("[1-9][0-9]{0,5}", size):
        raise HnasError(f"WORLD_SIZE is {size!r}; it must be the number of processes of a launcher, or unset")
    if size == "1":
        args.call(args)
        return
    from hnas_kit.processes import distributed
    from hnas_kit.studies import imagenet

    if not distributed.follow(
        imagenet.job
    ):  # of several processes of `torchrun` the first is told what to do
        with distributed.leading():
            args.call(args)


def main(argv: list[str] | None = None) -> int:
    """Run a command; its exit status, see :func:`hnas_kit.statuses.status_of`."""
    return status_of(lambda: _call(parser().parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())

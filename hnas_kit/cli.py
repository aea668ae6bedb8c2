"""The command line: thin over papermill and the modules.

A command imports what it needs when it runs: help, a table of parameters or a mistake in one take no second.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from pathlib import Path

from hnas_kit.errors import HnasError
from hnas_kit.files import write_atomic, yaml_value
from hnas_kit.runs import brought, params, places, profiles
from hnas_kit.runs.params import NOTEBOOKS


def _value(name: str, text: str) -> object:
    """What is given with ``-p``; a text stays what it is, also where it looks like a number."""
    value = yaml_value(text, f"-p {name}: {text!r}") if text else ""
    return text if profiles.is_text(name) and not isinstance(value, str) else value


def _notebook(option: str, text: str, others: tuple[str, ...] = ()) -> str:
    """The notebook that an option names: its number, or its name; or one of the others."""
    for name in (*NOTEBOOKS, *others):
        if text in (name, name.split("_")[0]):
            return name
    allowed = ", ".join((*NOTEBOOKS, *others))
    raise HnasError(f"{option} {text}: there is no such notebook; allowed: {allowed}")


def _changes(args: argparse.Namespace) -> dict[str, object]:
    return {name: _value(name, text) for name, text in args.parameter}


def _run(args: argparse.Namespace) -> None:
    profile, changes = profiles.load_profile(places.profile_folder(args.profile)), _changes(args)
    profile = profiles.override(profile, changes)
    first, last = _notebook("--from", args.start), _notebook("--to", args.end)
    profile = {name: values for name, values in profile.items() if name <= last}
    if not any(name >= first for name in profile):
        raise HnasError(f"no notebook of the profile is from {first} to {last}")
    if args.seeds is not None and args.seeds < 1:
        raise HnasError(f"--seeds is {args.seeds}; it must be at least 1")
    checked, run = profiles.checked(profile)
    searches = [p for p in checked.values() if isinstance(p, params.Phased)]
    mistakes = [p.unused(name.rpartition(".")[2] for name in changes) for p in searches]
    if searches and all(mistakes):  # what concerns one of them is given to it
        raise HnasError(f"{searches[0].notebook}: {mistakes[0]}")
    _check_devices(checked)
    brought.check(checked)
    for line in profiles.shared([name for name in profile if name >= first], changes):
        print(line)
    seeds = {} if args.seeds is None else {f"{run}-seed{seed}": seed for seed in range(args.seeds)}
    wanted = [profiles.override(profile, {"seed": seed, "run": name}) for name, seed in seeds.items()]
    (_plan if args.dry_run else _all if seeds else _one)(wanted or [profile], first, args.force)


def _check_devices(checked: dict[str, params.Parameters]) -> None:
    from hnas_kit.runs import folders

    for p in checked.values():
        folders.device_of(p)


def _plan(wanted: list[dict[str, dict]], first: str, force: bool) -> None:
    from hnas_kit.runs import planning

    for profile in wanted:
        print("\n".join(planning.plan(profile, first, force)))


def _one(wanted: list[dict[str, dict]], first: str, force: bool) -> None:
    from hnas_kit import report, runs
    from hnas_kit.runs import execution

    run = execution.run_profile(wanted[0], first, force)
    if any((runs.outputs_root() / run / name).exists() for name in runs.SEARCHES):
        print(f"{runs.search_of(run).manifest['headline']}; report: {report.write(run)}")


def _all(wanted: list[dict[str, dict]], first: str, force: bool) -> None:
    """One run for each seed, and a table over them."""
    from hnas_kit import report
    from hnas_kit.runs import execution

    searched, finished = wanted[0].keys() & set(places.SEARCHES), []
    for seed, profile in enumerate(wanted):
        print(f"seed {seed}")
        finished.append(execution.run_profile(profile, first, force))
        if searched:
            report.write(finished[-1])
    if searched:
        print(report.over_seeds(finished).to_string(float_format="{:.2f}".format))


def _parameters(args: argparse.Namespace) -> None:
    from hnas_kit.runs import meanings

    others = tuple(name for name in meanings.DESCRIBED if name not in NOTEBOOKS)
    chosen = [_notebook("parameters", args.notebook, others)] if args.notebook else meanings.DESCRIBED
    print("\n\n".join(map(meanings.table, chosen)))


def _sweep(args: argparse.Namespace) -> None:
    from hnas_kit.runs import sweeps

    sweeps.run(args.file, _changes(args), args.scheduler, args.workers)


def _report(args: argparse.Namespace) -> None:
    from hnas_kit import report

    print(report.write(args.run))


def _benchmark(args: argparse.Namespace) -> None:
    how = params.Benchmark.checked(changes := _changes(args), "hnas benchmark")
    from hnas_kit import benchmarks

    own = args.name not in benchmarks.PROTOCOLS
    if not own and (given := [name for name in changes if name != "plugins"]):
        raise HnasError(f"{args.name} is made as the package's table was: {given[0]} cannot be set")
    protocol = benchmarks.make_protocol(args.name, **how.model_dump(exclude={"plugins"})) if own else None
    folder, start = args.out or benchmarks.folder_of(args.name), time.perf_counter()

    def show(done: int, total: int) -> None:
        print(f"\r{done} of {total} trainings, {time.perf_counter() - start:.0f} s", end="", flush=True)

    benchmarks.make(args.name, folder, args.seeds, show, protocol)
    print(f"\n{folder / benchmarks.stem(args.name)}.csv")


def _export(args: argparse.Namespace) -> None:
    from hnas_kit import export, retraining

    export.check(args.file)
    if (Path(args.run) / "result.json").exists():
        if args.method or args.notebook:
            raise HnasError(f"--method and --notebook are of a search, and {args.run} is a training alone")
        network, example, facts = retraining.trained(Path(args.run))
    else:
        network, example, facts = export.found(args.run, args.method, args.notebook)
    export.save(export.program(network, example), args.file, facts)
    print(f"{args.file}: {', '.join(f'{name} {value}' for name, value in facts.items())}")


def _compare(args: argparse.Namespace) -> None:
    from hnas_kit import compare

    print(compare.compare(args.run, args.other, args.notebook))


def _notebooks(args: argparse.Namespace) -> None:
    places.copy_notebooks(args.folder)
    print(f"{len(NOTEBOOKS)} notebooks in {args.folder}; hnas run takes those of a folder called notebooks")


def _retrain(args: argparse.Namespace) -> None:
    from hnas_kit import retraining

    named = {name: getattr(args, name) for name in ("space", "architecture", "dataset", "width")}
    given = {name: value for name, value in named.items() if value is not None}
    given |= _changes(args)
    print(retraining.retrain(*retraining.parameters(args.run, args.method, given, args.notebook)))


def _ffcv(args: argparse.Namespace) -> None:
    from hnas_kit.data.sources import write_betons
    from hnas_kit.processes.parallel import cores

    target = args.out or args.folder
    write_betons(args.folder, target, cores())
    print(f"data set ffcv:{target}")


def _readings(seeds: int) -> None:
    from hnas_kit import runs
    from hnas_kit.studies import readings

    start = time.perf_counter()
    with runs.progress(len(list(readings.cells())), "cells") as bar:
        table = readings.run(bar.update, seeds)
    target = places.outputs_root() / "readings.csv"
    write_atomic(target, table.round(4).to_csv(index=False).encode())
    fitted = readings.rule(table)
    seconds = time.perf_counter() - start
    print(f"{len(table):,} cells of {table['seeds'].min()} seeds or more, {seconds:.0f} s")
    for bonus, (a, b) in fitted.items():
        print(f"bonus {bonus}: lambda up to {math.exp(a):.3g} (steps / leaves)^{b:.2f}")
    print(readings.tested(table, fitted).round(3).to_string())
    print(readings.same(table).round(3).to_string())
    print(target)


def _simulate(args: argparse.Namespace) -> None:
    if args.what == "readings":
        if args.steps or args.rewards or args.parameter:
            raise HnasError("simulate readings goes through all of them: it takes --seeds alone")
        seeds = {} if args.seeds is None else {"seeds": args.seeds}
        params.Simulate.checked(seeds, "simulate")
        return _readings(args.seeds or 0)
    given = {n: v for n in ("seeds", "steps", "rewards") if (v := getattr(args, n)) is not None}
    how = params.Simulate.checked(_changes(args) | given, "simulate")
    from hnas_kit.studies import study  # not before a mistake is told

    start = time.perf_counter()
    subject = study.setting(how.space, how.dataset)
    table = study.table(study.run(subject, how, study.compared(subject)))
    seconds = time.perf_counter() - start
    target = places.outputs_root() / "simulate.csv"
    write_atomic(target, table.to_csv().encode())
    what = "NAS-Bench-Macro" if how.space == "macro" else f"{how.space} on {how.dataset}"
    print(
        f"{what}, {how.steps:,} steps, {how.seeds} seeds each, {seconds:.0f} s; "
        f"rewards {how.rewards}; {how.readings}"
    )
    print(table.to_string(float_format="{:.1f}".format))
    print(target)


def _course(args: argparse.Namespace) -> None:
    from hnas_kit import course

    there = course.write(args.folder)
    print(f"{args.folder}: student/, solutions/, teacher.md")
    print(
        f"with the results of {', '.join(there)}"
        if there
        else "without results; first: hnas run quick --to 04"
    )


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
    run.set_defaults(call=_run)


def _add_sweep(commands: argparse._SubParsersAction) -> None:
    sweep = commands.add_parser("sweep", help="run a grid of parameters and seeds, many at a time")
    sweep.add_argument("file", type=Path, help="for instance params/sweeps/table1.yaml")
    _add_changes(sweep, "override a fixed value, or run, seeds, profile")
    sweep.add_argument("--scheduler", metavar="ADDRESS", help="of dask, for instance tcp://host:8786")
    sweep.add_argument("--workers", type=int, metavar="N", help="processes on this machine (default: cores)")
    sweep.set_defaults(call=_sweep)


def _add_parameters(commands: argparse._SubParsersAction) -> None:
    table = commands.add_parser("parameters", help="print every parameter: default, allowed, meaning")
    table.add_argument("notebook", nargs="?", help="for instance 04; or retrain, simulate (default: all)")
    table.set_defaults(call=_parameters)


def _add_results(commands: argparse._SubParsersAction) -> None:
    report = commands.add_parser("report", help="write outputs/<run>/report.html again")
    report.add_argument("run")
    report.set_defaults(call=_report)
    compare = commands.add_parser("compare", help="what differs between two runs, and what both found")
    compare.add_argument("run", help="with a finished search")
    compare.add_argument("other", help="likewise")
    compare.add_argument("--notebook", default="", choices=places.SEARCHES, help="that searched")
    compare.set_defaults(call=_compare)
    notebooks = commands.add_parser("notebooks", help="copy the six notebooks into a folder, to edit them")
    notebooks.add_argument("folder", type=Path)
    notebooks.set_defaults(call=_notebooks)
    export = commands.add_parser("export", help="write the architecture that a run found as a file")
    export.add_argument(
        "run", help="with a finished search; or the folder of a finished hnas retrain, for its weights"
    )
    export.add_argument("file", type=Path, help="its ending says how: .onnx, or .pt2 for torch.export")
    _add_whose(export)
    export.set_defaults(call=_export)


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
    retrain.set_defaults(call=_retrain)


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
        choices=("methods", "readings"),
        default="methods",
        help="readings: those of the paper, with lambda, tree and length, into outputs/readings.csv",
    )
    simulate.add_argument("--seeds", type=int, help="searches of each method (default 100)")
    simulate.add_argument("--steps", type=int, help="of each search (default 11,760, the paper's)")
    simulate.add_argument(
        "--rewards", help="true, or supernet: the estimates of the packaged one (default true)"
    )
    _add_changes(simulate, "set a parameter")
    simulate.set_defaults(call=_simulate)


def _add_benchmark(commands: argparse._SubParsersAction) -> None:
    benchmark = commands.add_parser(
        "benchmark", help="train every architecture alone: the ground truth table"
    )
    benchmark.add_argument("name", help="DATASET-SPACE, for instance digits-pooling")
    benchmark.add_argument("--seeds", type=int, default=5, help="trainings of each architecture (default 5)")
    benchmark.add_argument("--out", type=Path, help="folder (default outputs/benchmarks/<name>)")
    _add_changes(benchmark, "set a parameter: hnas parameters benchmark")
    benchmark.set_defaults(call=_benchmark)


def _add_ffcv(commands: argparse._SubParsersAction) -> None:
    ffcv = commands.add_parser("ffcv", help="write train.beton and val.beton from folders of images")
    ffcv.add_argument("folder", type=Path, help="with train/<class>/* and val/<class>/*, as imagefolder:PATH")
    ffcv.add_argument("--out", type=Path, help="folder for the two files (default: the same)")
    ffcv.set_defaults(call=_ffcv)


def _add_course(commands: argparse._SubParsersAction) -> None:
    course = commands.add_parser(
        "course", help="write the notebooks for students, with solutions, and a teacher's page"
    )
    course.add_argument("folder", type=Path, help="a new folder, or an empty one")
    course.set_defaults(call=_course)


def parser() -> argparse.ArgumentParser:
    main = argparse.ArgumentParser(prog="hnas", description="Rebuild the paper step by step.")
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
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
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
    """Run a command; exit status 0, or 1 with one line on standard error."""
    args = parser().parse_args(argv)
    try:
        _call(args)
    except HnasError as error:
        print(f"hnas: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

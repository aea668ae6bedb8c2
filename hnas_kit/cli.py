"""The command line: thin over papermill and the modules."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from hnas_kit import benchmarks, report, runs
from hnas_kit.errors import HnasError
from hnas_kit.files import write_atomic, yaml_value
from hnas_kit.processes import distributed
from hnas_kit.runs.execution import checked, run_profile
from hnas_kit.runs.params import NOTEBOOKS, Phased, is_text, load_profile, override
from hnas_kit.studies import study


def _value(name: str, text: str) -> object:
    """What is given with ``-p``; a text stays what it is, also where it looks like a number."""
    value = yaml_value(text, f"-p {name}: {text!r}") if text else ""
    return text if is_text(name) and not isinstance(value, str) else value


def _notebook(option: str, text: str) -> str:
    """The notebook that an option names: its number, or its name."""
    for name in NOTEBOOKS:
        if text in (name, name.split("_")[0]):
            return name
    raise HnasError(f"{option} {text}: there is no such notebook; allowed: {', '.join(NOTEBOOKS)}")


def _changes(args: argparse.Namespace) -> dict[str, object]:
    return {name: _value(name, text) for name, text in args.parameter}


def _run(args: argparse.Namespace) -> None:
    profile = override(load_profile(runs.profile_folder(args.profile)), _changes(args))
    first, last = _notebook("--from", args.start), _notebook("--to", args.end)
    profile = {name: values for name, values in profile.items() if name <= last}
    if not any(name >= first for name in profile):
        raise HnasError(f"no notebook of the profile is from {first} to {last}")
    params, name = checked(profile)
    searches = [p for p in params.values() if isinstance(p, Phased)]
    mistakes = [p.unused(given.rpartition(".")[2] for given, _ in args.parameter) for p in searches]
    if searches and all(mistakes):  # what concerns one of them is given to it
        raise HnasError(f"{searches[0].notebook}: {mistakes[0]}")
    if args.seeds is None:
        run = run_profile(profile, first, args.force)
        if any((runs.outputs_root() / run / name).exists() for name in runs.SEARCHES):
            print(f"{runs.search_of(run).manifest['headline']}; report: {report.write(run)}")
        return
    if args.seeds < 1:
        raise HnasError(f"--seeds is {args.seeds}; it must be at least 1")
    searched, finished = profile.keys() & set(runs.SEARCHES), []
    for seed in range(args.seeds):
        print(f"seed {seed}")
        finished.append(
            run_profile(override(profile, {"seed": seed, "run": f"{name}-seed{seed}"}), first, args.force)
        )
        if searched:
            report.write(finished[-1])
    if searched:
        print(report.over_seeds(finished).to_string(float_format="{:.2f}".format))


def _sweep(args: argparse.Namespace) -> None:
    from hnas_kit.runs import sweeps

    sweeps.run(args.file, _changes(args), args.scheduler, args.workers)


def _report(args: argparse.Namespace) -> None:
    print(report.write(args.run))


def _benchmark(args: argparse.Namespace) -> None:
    folder = args.out or runs.outputs_root() / "benchmarks" / args.name
    start = time.perf_counter()

    def show(done: int, total: int) -> None:
        print(f"\r{done} of {total} trainings, {time.perf_counter() - start:.0f} s", end="", flush=True)

    benchmarks.make(args.name, folder, args.seeds, show)
    print(f"\n{folder / args.name}.csv")


def _export(args: argparse.Namespace) -> None:
    from hnas_kit import export, retraining  # not before they are needed: every command would wait

    export.check(args.file)
    if (Path(args.run) / "result.json").exists():
        if args.method or args.notebook:
            raise HnasError(f"--method and --notebook are of a search, and {args.run} is a training alone")
        network, example, facts = retraining.trained(Path(args.run))
    else:
        network, example, facts = export.found(args.run, args.method, args.notebook)
    export.save(export.program(network, example), args.file, facts)
    print(f"{args.file}: {', '.join(f'{name} {value}' for name, value in facts.items())}")


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


def _simulate(args: argparse.Namespace) -> None:
    given = {name: getattr(args, name) for name in ("seeds", "steps", "rewards")}
    how = study.protocol(
        **_changes(args) | {name: value for name, value in given.items() if value is not None}
    )
    start = time.perf_counter()
    table = study.table(study.run(study.macro(), how))
    seconds = time.perf_counter() - start
    target = runs.outputs_root() / "simulate.csv"
    write_atomic(target, table.to_csv().encode())
    print(
        f"NAS-Bench-Macro, {how.steps:,} steps, {how.seeds} seeds each, {seconds:.0f} s; "
        f"rewards {how.rewards}; {how.readings}"
    )
    print(table.to_string(float_format="{:.1f}".format))
    print(target)


def _add_changes(command: argparse.ArgumentParser, what: str) -> None:
    names = {"dest": "parameter", "metavar": ("NAME", "VALUE"), "help": what}
    command.add_argument("-p", nargs=2, action="append", default=[], **names)


def _add_whose(command: argparse.ArgumentParser) -> None:
    command.add_argument("--method", default="", help="of those that the run compared (default: its own)")
    command.add_argument(
        "--notebook",
        default="",
        choices=runs.SEARCHES,
        help="that searched (default: the first that is there)",
    )


def parser() -> argparse.ArgumentParser:
    main = argparse.ArgumentParser(prog="hnas", description="Rebuild the paper step by step.")
    commands = main.add_subparsers(required=True, metavar="command")

    run = commands.add_parser(
        "run", help="run the notebooks of a profile, those that are up to date left out"
    )
    run.add_argument("profile", help="a folder of params/, or a path to one")
    _add_changes(run, "override a parameter")
    first, *_, last = NOTEBOOKS
    run.add_argument("--from", dest="start", metavar="NN", default=first, help="first, for instance 03")
    run.add_argument("--to", dest="end", metavar="NN", default=last, help="last notebook to run")
    run.add_argument("--force", action="store_true", help="run even what is up to date")
    run.add_argument(
        "--seeds", type=int, metavar="N", help="run seeds 0 to N - 1 and print a table over them"
    )
    run.set_defaults(call=_run)

    sweep = commands.add_parser("sweep", help="run a grid of parameters and seeds, many at a time")
    sweep.add_argument("file", type=Path, help="for instance params/sweeps/table1.yaml")
    _add_changes(sweep, "override a fixed value, or run, seeds, profile")
    sweep.add_argument("--scheduler", metavar="ADDRESS", help="of dask, for instance tcp://host:8786")
    sweep.add_argument("--workers", type=int, metavar="N", help="processes on this machine (default: cores)")
    sweep.set_defaults(call=_sweep)

    make_report = commands.add_parser("report", help="write outputs/<run>/report.html again")
    make_report.add_argument("run")
    make_report.set_defaults(call=_report)

    export = commands.add_parser("export", help="write the architecture that a run found as a file")
    export.add_argument(
        "run", help="with a finished search; or the folder of a finished hnas retrain, for its weights"
    )
    export.add_argument("file", type=Path, help="its ending says how: .onnx, or .pt2 for torch.export")
    _add_whose(export)
    export.set_defaults(call=_export)

    retrain = commands.add_parser(
        "retrain",
        help="train the architecture that a run found, or any, alone from new weights",
        description="Train one architecture alone from new weights, on the whole training set, and score it "
        "on the test set. Settings (-p): epochs, batch_size, lr, momentum, weight_decay, warmup_epochs, "
        "label_smoothing, ema_decay, precision, seed, image_size, workers, device, threads, "
        "checkpoint_every. By default as the ground truth was made, if this kit made it, and for 100 epochs "
        "of SGD on a cosine (the paper's Appendix B.1) otherwise.",
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

    simulate = commands.add_parser(
        "simulate",
        help="compare all samplers and trees on NAS-Bench-Macro, in seconds, without a network",
        description="Search NAS-Bench-Macro with known accuracies as rewards, with every sampler and tree. "
        f"Settings (-p) and their values: {', '.join(f'{n} {v}' for n, v in study.PROTOCOL.items())}.",
    )
    simulate.add_argument("--seeds", type=int, help="searches of each method (default 100)")
    simulate.add_argument("--steps", type=int, help="of each search (default 11,760, the paper's)")
    simulate.add_argument(
        "--rewards", help="true, or supernet: the estimates of the packaged one (default true)"
    )
    _add_changes(simulate, "set a parameter")
    simulate.set_defaults(call=_simulate)

    benchmark = commands.add_parser(
        "benchmark", help="train every architecture alone: the ground truth table"
    )
    benchmark.add_argument("name", help="for instance digits-pooling")
    benchmark.add_argument("--seeds", type=int, default=5, help="trainings of each architecture (default 5)")
    benchmark.add_argument("--out", type=Path, help="folder (default outputs/benchmarks/<name>)")
    benchmark.set_defaults(call=_benchmark)

    ffcv = commands.add_parser("ffcv", help="write train.beton and val.beton from folders of images")
    ffcv.add_argument("folder", type=Path, help="with train/<class>/* and val/<class>/*, as imagefolder:PATH")
    ffcv.add_argument("--out", type=Path, help="folder for the two files (default: the same)")
    ffcv.set_defaults(call=_ffcv)
    return main


def main(argv: list[str] | None = None) -> int:
    """Run a command; exit status 0, or 1 with one line on standard error."""
    args = parser().parse_args(argv)
    try:
        if distributed.placed():  # of several processes of `torchrun` the first does as it is told
            from hnas_kit.studies import imagenet

            if distributed.follow(imagenet.job):
                return 0
        with distributed.leading():
            args.call(args)
    except HnasError as error:
        print(f"hnas: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

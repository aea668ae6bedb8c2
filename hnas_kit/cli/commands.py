"""What each command does with its arguments; :mod:`hnas_kit.cli` says what they are.

A command imports what it needs when it runs: help, a table of parameters or a mistake in one take no second.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hnas_kit import places
from hnas_kit.errors import HnasError
from hnas_kit.files import require_place, write_atomic, yaml_value
from hnas_kit.runs import brought, command_params, params, profiles
from hnas_kit.runs.params import NOTEBOOKS

if TYPE_CHECKING:
    import pandas as pd


def _value(name: str, text: str) -> object:
    """What is given with ``-p``; a text stays what it is, also where it looks like a number."""
    kept = profiles.is_text(name)
    if not text or (kept and text[0] not in "\"'"):
        return text
    value = yaml_value(text, f"-p {name}: {text!r}")
    return text if kept and not isinstance(value, str) else value


def _notebook(option: str, text: str, others: tuple[str, ...] = ()) -> str:
    """The notebook that an option names: its number, or its name; or one of the others."""
    for name in (*NOTEBOOKS, *others):
        if text in (name, name.split("_")[0]):
            return name
    allowed = ", ".join((*NOTEBOOKS, *others))
    raise HnasError(f"{option} {text or repr(text)}: there is no such notebook; allowed: {allowed}")


def _changes(args: argparse.Namespace, **options: object) -> dict[str, object]:
    """What is given with ``-p``, the last of each name; HnasError if an option of that meaning is, too."""
    given = {name: value for name, value in options.items() if value is not None}
    changes = {name: _value(name, text) for name, text in args.parameter}
    if twice := given.keys() & changes.keys():
        raise HnasError(f"{min(twice)} is given twice, with -p and by an option of its own")
    return given | changes


def run(args: argparse.Namespace) -> None:
    profile, changes = profiles.load_profile(places.profile_folder(args.profile)), _changes(args)
    if args.seeds is not None and (own := [name for name in changes if name.rpartition(".")[2] == "seed"]):
        raise HnasError(f"{own[0]} is given twice: --seeds says the seed of each run")
    profile = profiles.override(profile, changes)
    first, last = _notebook("--from", args.start), _notebook("--to", args.end)
    profile = {name: values for name, values in profile.items() if name <= last}
    if not any(name >= first for name in profile):
        raise HnasError(f"no notebook of the profile is from {first} to {last}")
    if args.seeds is not None and not 1 <= args.seeds <= 1000:
        raise HnasError(f"--seeds is {args.seeds}; it must be at least 1 and at most 1000")
    checked, run = profiles.checked(profile)
    searches = [p for p in checked.values() if isinstance(p, params.Phased)]
    mistakes = [p.unused(name.rpartition(".")[2] for name in changes) for p in searches]
    if searches and all(mistakes):  # what concerns one of them is given to it
        raise HnasError(f"{searches[0].notebook}: {mistakes[0]}")
    from hnas_kit import runs
    from hnas_kit.reports import report
    from hnas_kit.runs import consistency, execution, folders

    for p in checked.values():
        folders.device_of(p)
    brought.check(checked)
    seeds = {} if args.seeds is None else {f"{run}-seed{seed}": seed for seed in range(args.seeds)}
    wanted = [profiles.override(profile, {"seed": seed, "run": name}) for name, seed in seeds.items()]
    wanted = wanted or [profile]
    lines = profiles.shared([name for name in profile if name >= first], changes)
    for each in wanted:
        checked, _ = profiles.checked(each)
        consistency.refuse_unread(checked, first, changes)
        consistency.check(checked, first)
        lines += consistency.made_otherwise(checked, first)
    for line in dict.fromkeys(lines):
        print(line)
    if args.dry_run:
        for each in wanted:
            print("\n".join(execution.plan(each, first, args.force)))
    elif seeds:
        _all(wanted, first, args.force)
    else:
        run = execution.run_profile(profile, first, args.force)
        if any(runs.place(run, name).exists() for name in runs.SEARCHES):
            print(f"{runs.search_of(run).manifest['headline']}; report: {report.write(run)}")
        else:
            print(f"results: {runs.outputs_root() / run}")


def _all(wanted: list[dict[str, dict]], first: str, force: bool) -> None:
    """One run for each seed, and a table over them."""
    from hnas_kit.reports import report
    from hnas_kit.runs import execution

    searched, finished = wanted[0].keys() & set(places.SEARCHES), []
    for seed, profile in enumerate(wanted):
        print(f"seed {seed}")
        finished.append(execution.run_profile(profile, first, force))
        if searched:
            report.write(finished[-1])
    if searched:
        print(report.over_seeds(finished).to_string(float_format="{:.2f}".format))


def parameters(args: argparse.Namespace) -> None:
    from hnas_kit.runs import meanings

    chosen = (
        [_notebook("parameters", args.notebook, tuple(meanings.COMMANDS))]
        if args.notebook
        else meanings.DESCRIBED
    )
    print("\n\n".join(map(meanings.table, chosen)))


def sweep(args: argparse.Namespace) -> None:
    from hnas_kit.runs import sweeps

    sweeps.run(args.file, _changes(args), args.scheduler, args.workers)


def report(args: argparse.Namespace) -> None:
    from hnas_kit.reports import report

    print(report.write(args.run))


def verify(args: argparse.Namespace) -> None:
    from hnas_kit.reports import verification

    print("\n".join(verification.verify(args.run)))


def benchmark(args: argparse.Namespace) -> None:
    how = command_params.Benchmark.checked(changes := _changes(args), "hnas benchmark")
    from hnas_kit import benchmarks
    from hnas_kit.runs import locks

    own = args.name not in benchmarks.PROTOCOLS
    benchmarks.check(args.name, args.seeds, own)
    if not own and (given := [name for name in changes if name != "plugins"]):
        raise HnasError(f"{args.name} is made as the package's table was: {given[0]} cannot be set")
    protocol = benchmarks.make_protocol(args.name, **how.model_dump(exclude={"plugins"})) if own else None
    folder, start = args.out or benchmarks.folder_of(args.name), time.perf_counter()
    benchmarks.keep_other(args.name, folder, protocol[0] if own else benchmarks.PROTOCOLS[args.name])

    def show(done: int, total: int) -> None:
        print(f"\r{done} of {total} trainings, {time.perf_counter() - start:.0f} s", end="", flush=True)

    with locks.alone(folder):
        benchmarks.make(args.name, folder, args.seeds, show, protocol)
    print(f"\n{folder / benchmarks.stem(args.name)}.csv")


def export(args: argparse.Namespace) -> None:
    from hnas_kit import export, retraining

    export.check(args.file)
    if os.path.isfile(Path(args.run) / "result.json"):  # False for names that no file can have
        if args.method or args.notebook:
            raise HnasError(f"--method and --notebook are of a search, and {args.run} is a training alone")
        network, example, facts = retraining.trained(Path(args.run))
    else:
        network, example, facts = export.found(args.run, args.method, args.notebook)
    export.save(export.program(network, example), args.file, facts)
    print(f"{args.file}: {', '.join(f'{name} {value}' for name, value in facts.items())}")


def compare(args: argparse.Namespace) -> None:
    from hnas_kit.reports import compare

    print(compare.compare(args.run, args.other, args.notebook))


def judge(args: argparse.Namespace) -> None:
    import pandas as pd

    from hnas_kit.studies import judges

    searches, target = [judges.search(run) for run in args.runs], _table("judges")

    def judged(done: Callable[[], object]) -> Iterator[dict]:
        for search in searches:
            yield judges.judge(search)
            done()

    table, _ = _studied("judges", "searches", len(searches), lambda done: pd.DataFrame(judged(done)))
    print(table.round(2).to_string(index=False))
    print(target)


def results(args: argparse.Namespace) -> None:
    from hnas_kit.reports import results

    print(results.write(args.folder or places.project_root() / "docs", args.runs))


def notebooks(args: argparse.Namespace) -> None:
    places.copy_notebooks(args.folder)
    print(f"{len(NOTEBOOKS)} notebooks in {args.folder}; hnas run takes those of a folder called notebooks")


def retrain(args: argparse.Namespace) -> None:
    from hnas_kit import retraining

    named = {name: getattr(args, name) for name in ("space", "architecture", "dataset", "width")}
    given = _changes(args, **named)
    print(retraining.retrain(*retraining.parameters(args.run, args.method, given, args.notebook)))


def course(args: argparse.Namespace) -> None:
    from hnas_kit import course

    there = course.write(args.folder)
    print(f"{args.folder}: student/, solutions/, teacher.md")
    print(f"with the results of {', '.join(there)}" if there else "without results: hnas run quick --to 04")


def ffcv(args: argparse.Namespace) -> None:
    from hnas_kit.data.sources import write_betons
    from hnas_kit.processes.parallel import cores

    target = args.out or args.folder
    write_betons(args.folder, target, cores())
    print(f"data set ffcv:{target}")


def _table(name: str) -> Path:
    """Where a study's table goes; HnasError if it cannot be written there."""
    require_place(path := places.outputs_root() / f"{name}.csv")
    return path


def _studied(name: str, what: str, total: int | None, study: Callable[..., pd.DataFrame]) -> tuple:
    """A study's table, which is kept, and what it took; it is told what to call after each of ``total``."""
    from hnas_kit import runs

    target, start = _table(name), time.perf_counter()
    with runs.progress(total, what) as bar:
        table = study(bar.update)
    write_atomic(target, table.round(4).to_csv(index=False).encode())
    return table, f"{time.perf_counter() - start:.0f} s"


def _readings(seeds: int, _: list[str]) -> None:
    from hnas_kit.studies import readings, study

    cells, trees = list(readings.cells()), {*readings.TREES, *readings.OTHERS}
    for cell in cells:
        length = readings.steps(cell["benchmark"], cell["share"])
        study.require_memory(len(trees), length, seeds or cell["seeds"])
    table, took = _studied("readings", "cells", len(cells), lambda done: readings.run(done, seeds))
    print(f"{len(table):,} cells of {table['seeds'].min()} seeds or more, {took}")
    for bonus, limit in readings.rule(table).items():
        print(f"bonus {bonus}: lambda up to {limit:.2g}")
    print(readings.exponent(table).round(2).to_string())
    print(readings.error(table).round(3).to_string())
    print(readings.same(table).round(3).to_string())
    print(readings.nearest(table).round(1).to_string())


def _trees(seeds: int, names: list[str]) -> None:
    from hnas_kit.studies import forests, study

    seeds = seeds or forests.SEEDS
    study.require_memory(1, max(map(max, forests.STEPS.values())), seeds)
    table, took = _studied("trees", "trees", None, lambda done: forests.run(names, done, seeds))
    count = len(table[forests.TREE].drop_duplicates())
    print(f"{count} trees, {seeds} seeds a cell, {took}")
    print(forests.summary(table).round(2).to_string())
    print(forests.correlations(table).round(2).to_string())


def _beyond(seeds: int, _: list[str]) -> None:
    from hnas_kit.studies import beyond, readings, study

    subjects, seeds = readings.settings(), seeds or beyond.SEEDS
    for name, subject in subjects.items():
        study.require_memory(len(subject.forest), readings.PAPER[name]["steps"], seeds)
    total = sum(len(list(beyond.cells(name))) for name in subjects)
    table, took = _studied("beyond", "cells", total, lambda done: beyond.run(subjects, done, seeds))
    print(f"{len(table):,} cells of {seeds} seeds, {took}")
    for name, value in {"0.5, the paper's": beyond.PAPERS, "by the rule": 0.0}.items():
        print(f"found rank, lambda {name}")
        print(beyond.summary(table, value).astype(int).to_string())
    print(beyond.gained(table).round(2).to_string())


def simulate(args: argparse.Namespace) -> None:
    if args.runs and args.what != "trees":
        raise HnasError("--runs is of simulate trees")
    if args.what != "methods":
        if args.parameter or not (args.steps is args.rewards is None):
            line = f"simulate {args.what} goes through all of them: it takes --seeds, no other setting"
            raise HnasError(line)
        command_params.Simulate.checked(_changes(args, seeds=args.seeds), "simulate")
        go_through, target = {"readings": _readings, "trees": _trees, "beyond": _beyond}, _table(args.what)
        go_through[args.what](args.seeds or 0, args.runs)
        return print(target)
    given = _changes(args, seeds=args.seeds, steps=args.steps, rewards=args.rewards)
    how = command_params.Simulate.checked(given, "simulate")
    target, start = _table("simulate"), time.perf_counter()
    from hnas_kit.studies import study  # not before a mistake is told

    subject = study.setting(how.space, how.dataset, how.supernet)
    table = study.table(study.run(subject, how, study.compared(subject)))
    seconds = time.perf_counter() - start
    write_atomic(target, table.to_csv().encode())
    what = "NAS-Bench-Macro" if how.space == "macro" else f"{how.space} on {how.dataset}"
    rewards = how.rewards if how.rewards == "true" else f"supernet {how.supernet}"
    print(
        f"{what}, {how.steps:,} steps, {how.seeds} seeds each, {seconds:.0f} s; "
        f"rewards {rewards}; {how.readings}"
    )
    print(table.to_string(float_format="{:.1f}".format))
    print(target)

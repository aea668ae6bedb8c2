"""What a run would do: which notebooks, why, with which parameters, and for about how long."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from hnas_kit import places
from hnas_kit.files import json_value
from hnas_kit.runs import folders
from hnas_kit.runs.execution import left_out
from hnas_kit.runs.meanings import value
from hnas_kit.runs.params import NOTEBOOKS, Parameters
from hnas_kit.runs.profiles import checked


def plan(profile: Mapping[str, Mapping[str, Any]], first: str, force: bool) -> Iterator[str]:
    """What :func:`hnas_kit.runs.execution.run_profile` would do, in lines; nothing is written."""
    params, run = checked(profile)
    yield f"run {run}"
    again: list[str] = []  # of the notebooks so far, those that would run
    for notebook in [name for name in NOTEBOOKS if name in profile and name >= first]:
        p, says = params[notebook], left_out(params, notebook)
        if not says and (reason := "--force" if force else _why(p, again)):
            again.append(notebook)
            says = f"runs, {took(p)}: {reason}"
        yield f"{notebook:14}{says or 'up to date'}"
        defaults = NOTEBOOKS[notebook].defaults()
        own = {name: v for name, v in p.model_dump().items() if v != defaults[name] and name != "run"}
        if own:
            yield f"{'':14}{', '.join(f'{name} {value(v)}' for name, v in own.items())}"


def _why(params: Parameters, again: list[str]) -> str:
    reason = folders.outdated(params)
    read = [] if getattr(params, "runs", "") else [n for n in places.READS[params.notebook] if n in again]
    if read and reason in ("", folders.ABSENT):
        return f"it reads {', '.join(read)}"
    return reason


def took(params: Parameters) -> str:
    """About how long a notebook takes: as it took with these parameters before, or else in this run."""
    known = [(0, "", -1.0)]
    for path in places.outputs_root().glob(f"**/{params.notebook}/manifest.json"):
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, OSError):  # damaged ones
            manifest = json_value(path)
            same = _of(manifest["params"]) == _of(params.model_dump(mode="json"))
            if same or manifest["params"]["run"] == params.run:
                known.append((int(same), str(manifest["started"]), float(manifest["seconds"])))
    seconds = max(known)[2]
    return "time unknown" if seconds < 0 else f"about {seconds:.0f} s"


def _of(values: Mapping[str, Any]) -> dict[str, Any]:
    """What the time depends on."""
    apart = {"run", "source", "seed", "checkpoint_every"}
    return {name: v for name, v in values.items() if name not in apart}

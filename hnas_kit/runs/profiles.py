"""Profiles: what each sets for its notebooks, and changes to that."""

import itertools
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from hnas_kit import plugins
from hnas_kit.errors import HnasError, require_one_of
from hnas_kit.files import read_yaml
from hnas_kit.runs.command_params import Retrain, Simulate
from hnas_kit.runs.params import NOTEBOOKS, Parameters
from hnas_kit.runs.schema import unknown

# parameters that are meant for all notebooks
FOR_ALL = ("run", "seed", "device", "threads", "plugins")


def load_profile(folder: Path) -> dict[str, dict[str, Any]]:
    """What a profile sets, for every notebook that its folder has a file for, in the notebooks' order.

    What a file does not name is the default; a file may name nothing. Plugins that one of them names,
    relative to the folder, are for all.
    """
    if not folder.is_dir():
        raise HnasError(f"there is no profile folder {folder}")
    profile = {}
    for path in sorted(folder.glob("*.yaml")):
        if path.stem not in NOTEBOOKS:
            raise HnasError(f"{path}: there is no notebook {path.stem}; allowed: {', '.join(NOTEBOOKS)}")
        profile[path.stem] = read_yaml(path)
    if not profile:
        raise HnasError(f"profile folder {folder} holds no <notebook>.yaml")
    named = [plugins.listed(values.get("plugins", []), folder) for values in profile.values()]
    if any(not isinstance(files, list) for files in named):
        raise HnasError(f"profile folder {folder}: plugins must be a list of files")
    files = list(dict.fromkeys(itertools.chain(*named)))
    return {name: values | {"plugins": files} for name, values in profile.items()} if files else profile


def checked(profile: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Parameters], str]:
    """The validated parameters of every notebook of a profile, and the run that they share."""
    params = {name: NOTEBOOKS[name].checked(values, name) for name, values in profile.items()}
    names = {p.run for p in params.values()}
    if len(names) > 1:
        raise HnasError(f"the notebooks of one profile share one run; found run: {', '.join(sorted(names))}")
    return params, names.pop()


def override(profile: dict[str, dict[str, Any]], changes: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The profile with ``NAME: value`` in every notebook that has it, then ``NOTEBOOK.NAME: value`` in one.

    Raises:
        HnasError: for an unknown notebook or name.
    """
    changed = dict(profile)
    for name in sorted(changes, key=lambda name: "." in name):
        notebook, dot, own = name.partition(".") if "." in name else ("", "", name)
        if dot:
            require_one_of("notebook", notebook, profile)
        known = {book: NOTEBOOKS[book].model_fields for book in ([notebook] if dot else profile)}
        having = [book for book in known if own in known[book]]
        if not having:
            raise HnasError(unknown(own, sorted(set().union(*known.values()))))
        changed |= {book: changed[book] | {own: changes[name]} for book in having}
    return changed


def shared(profile: Collection[str], changes: Mapping[str, Any]) -> list[str]:
    """One line for each bare name that sets several notebooks of a profile, unless it is meant for all."""
    lines = []
    for name, value in changes.items():
        books = [notebook for notebook in profile if name in NOTEBOOKS[notebook].model_fields]
        if name not in FOR_ALL and len(books) > 1:
            lines.append(f"{name} {value}: sets {', '.join(books)}; -p NOTEBOOK.{name} sets one")
    return lines


def is_text(name: str) -> bool:
    """Whether a parameter's value is text, whatever it looks like."""
    own = name.rpartition(".")[2]
    known = (cls.model_fields.get(own) for cls in (*NOTEBOOKS.values(), Retrain, Simulate))
    return any(field is not None and field.annotation is str for field in known)

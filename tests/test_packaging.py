"""One set of versions, however the project is installed: environment.yml, Makefile, pyproject.toml agree."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
import tomllib
from importlib.metadata import requires, version
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from jupyter_client import KernelManager
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text())
CONSTRAINTS = (ROOT / "constraints.txt").read_text().splitlines()
PIN_LINES = [line for line in CONSTRAINTS if not line.startswith("#")]
PINS = {canonicalize_name(line.partition("==")[0]): line.partition("==")[2] for line in PIN_LINES}
EXTRAS = PROJECT["optional-dependencies"]
# ffcv is built with libraries of the system; site is installed by `make site` alone
SITE_IS_HERE = find_spec("sphinx_book_theme") is not None
LEFT_OUT = {"ffcv"} if SITE_IS_HERE else {"ffcv", "site"}
TESTED_EXTRAS = [texts for name, texts in EXTRAS.items() if name not in LEFT_OUT]
DIRECT = [Requirement(text) for texts in (PROJECT["dependencies"], *TESTED_EXTRAS) for text in texts]
TESTED_ON = ("Linux", "x86_64", (3, 11))  # where constraints.txt was made


def python_of_environment() -> str:
    (python,) = (d for d in ENVIRONMENT["dependencies"] if isinstance(d, str) and d.startswith("python"))
    return python.partition("=")[2]


def closure(requirements: list[Requirement]) -> set[str]:
    """Names of all packages these need on this platform, themselves included, read off what is installed."""
    seen: set[tuple[str, str]] = set()
    todo = [(r.name, extra) for r in requirements for extra in ("", *r.extras)]
    while todo:
        name, extra = todo.pop()
        if (canonicalize_name(name), extra) in seen:
            continue
        seen.add((canonicalize_name(name), extra))
        for needed in map(Requirement, requires(name) or []):
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                todo += [(needed.name, e) for e in ("", *needed.extras)]
    return {name for name, _ in seen}


def tracked_files() -> list[Path]:
    """What a commit of everything here would hold."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"not a git checkout: {error}")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_conda_brings_python_and_pip_alone():
    from_conda = [d for d in ENVIRONMENT["dependencies"] if isinstance(d, str)]
    assert [re.split("[=<> ]", d)[0] for d in from_conda] == ["python", "pip"]
    assert ENVIRONMENT["channels"] == ["conda-forge"]
    assert ENVIRONMENT["name"] == PROJECT["name"]


def test_conda_installs_the_rest_through_the_constraints():
    (by_pip,) = (d["pip"] for d in ENVIRONMENT["dependencies"] if isinstance(d, dict))
    assert by_pip == ["-c constraints.txt", "-e .[test]"]


def test_python_version_is_one_everywhere():
    python = python_of_environment()
    assert f"for Python {python};" in CONSTRAINTS[0]
    assert SpecifierSet(PROJECT["requires-python"]).contains(python)
    oldest = re.fullmatch(r">=(\d+)\.(\d+)", PROJECT["requires-python"]).groups()
    assert f"sys.version_info >= ({', '.join(oldest)})" in (ROOT / "Makefile").read_text()
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    used = [
        s["with"]["python-version"] for s in steps if s.get("uses", "").startswith("actions/setup-python")
    ]
    assert used == [python] * len(workflow["jobs"])


def test_every_pin_is_a_name_and_a_version_once_and_in_order():
    for line in PIN_LINES:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line), line
    assert sorted(PIN_LINES, key=lambda line: line.partition("==")[0].lower()) == PIN_LINES  # as pip does
    assert len(PINS) == len(PIN_LINES)
    assert canonicalize_name(PROJECT["name"]) not in PINS


@pytest.mark.parametrize("requirement", DIRECT, ids=lambda r: r.name)
def test_direct_dependency_is_pinned_and_installed_so(requirement: Requirement):
    pin = PINS.get(canonicalize_name(requirement.name))
    assert pin is not None, f"{requirement.name} has no pin in constraints.txt"
    assert requirement.specifier.contains(pin), f"the pin {pin} breaks pyproject.toml's {requirement}"
    # The public part: a CPU build of PyTorch is 2.x+cpu.
    assert Version(version(requirement.name)).public == pin


def test_all_they_need_in_turn_is_pinned():
    here = (platform.system(), platform.machine(), sys.version_info[:2])
    if here != TESTED_ON:
        pytest.skip(f"other platforms need other packages: {here}, pinned for {TESTED_ON}")
    needed = closure(DIRECT)
    assert needed <= set(PINS)
    if SITE_IS_HERE:
        assert needed == set(PINS)


@pytest.mark.parametrize(
    "file", ["Makefile", ".ci/run", ".github/workflows/ci.yml", ".github/workflows/site.yml"]
)
def test_every_pip_install_uses_the_constraints(file: str):
    installs = [line for line in (ROOT / file).read_text().splitlines() if "pip install" in line]
    assert len(installs) == (4 if file == "Makefile" else 0), "make alone installs, for CI too"
    assert all("-c constraints.txt" in line for line in installs)
    assert sum("-c constraints.txt -e '.[test]'" in line for line in installs) == (file == "Makefile")


def test_notebooks_run_in_this_environment():
    """The kernel `python3` is this Python, not another that happens to be registered for the user."""
    assert KernelManager(kernel_name="python3").format_kernel_cmd()[0] == sys.executable


def test_no_file_names_a_registry_host_or_a_path_of_one_machine():
    # Not after a letter or digit: links and base64 images may hold such pieces by chance.
    foreign = re.compile(r"py(?:pi|thonhosted)\.org|(?<![\w+.-])/(?:home|opt|root|work)/")
    files = tracked_files()
    assert ROOT / "pyproject.toml" in files
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in files
        for match in foreign.finditer(path.read_text(encoding="utf-8", errors="ignore"))
    ]
    assert not found


def test_nothing_but_its_own_extra_asks_for_ffcv():
    others = [
        *PROJECT["dependencies"],
        *(t for name, texts in EXTRAS.items() if name != "ffcv" for t in texts),
    ]
    assert EXTRAS["ffcv"] == ["ffcv"]
    assert not [text for text in [*others, *PIN_LINES] if "ffcv" in text]

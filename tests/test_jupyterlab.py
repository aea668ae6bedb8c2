"""The notebooks in JupyterLab: opened in a real browser and run from its menu, as a reader does."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from common import CHROMIUM, DRIVER, in_browser
from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

pytestmark = in_browser
ROOT = Path(__file__).resolve().parents[1]

# What makes each notebook quick; the rest of it is as stored. A page of 05 or 06 has nothing that these lack.
PARAMETERS = {
    "01_pretrain": {"dataset": '"digits"', "epochs": 2, "batch_size": 128, "width": 2},
    "02_distances": {"images": 32},
    "03_tree": {},
    "04_mcts": {"epochs": 2, "batch_size": 128, "simulated": 2},
}
SETTINGS = {
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},  # the page holds all cells
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
}
# Of the code cells on the page: prompts of those not folded, what went wrong, how many pictures are drawn
PAGE = """
const all = selector => [...document.querySelectorAll('.jp-Notebook .jp-CodeCell ' + selector)];
const wrong = output => output.dataset.mimeType === 'application/vnd.jupyter.error' ||
  output.dataset.mimeType.endsWith('.stderr') && /Traceback|Warning/.test(output.textContent);
return {
  prompts: all('.jp-InputPrompt').map(prompt => prompt.textContent.trim()).filter(Boolean),
  errors: all('.jp-OutputArea-output[data-mime-type]').filter(wrong).map(output => output.textContent),
  pictures: all('.jp-OutputArea-output img').filter(picture => picture.naturalWidth > 0).length,
};
"""


def copy_with(parameters: dict[str, int | str], source: Path, target: Path) -> None:
    """Copy a notebook with other parameters, and without outputs: all that it has later is of this run."""
    notebook = nbformat.read(source, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.update(outputs=[], execution_count=None)
        if "parameters" in cell.metadata.get("tags", []):
            cell.source += "".join(f"\n{name} = {value}" for name, value in parameters.items())
    nbformat.write(notebook, target)


def end(process: subprocess.Popen, stop: Callable[[], None]) -> None:
    """Stop a process, and leave nothing running that it started."""
    tree = []
    with suppress(psutil.NoSuchProcess):
        tree = [root := psutil.Process(process.pid), *root.children(recursive=True)]
    try:
        stop()
        psutil.wait_procs(tree, timeout=10)
    finally:
        for left in tree:
            with suppress(psutil.NoSuchProcess):
                left.kill()


@contextmanager
def jupyterlab(root: Path, home: Path) -> Iterator[dict]:
    """A JupyterLab on ``root`` that knows nothing of the user's settings; its log is ``home/lab.log``."""
    (home / "config" / "labconfig").mkdir(parents=True)
    (home / "config" / "labconfig" / "default_setting_overrides.json").write_text(json.dumps(SETTINGS))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")}
    environment |= {f"JUPYTER_{kind.upper()}_DIR": str(home / kind) for kind in ("config", "data", "runtime")}
    environment |= {"IPYTHONDIR": str(home / "ipython")}
    environment |= {"HNAS_OUTPUTS": str(root / "outputs"), "HNAS_QUIET": "1"}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1"]
    command += [f"--ServerApp.root_dir={root}", "--LabApp.extension_manager=readonly"]
    with open(home / "lab.log", "wb") as log:
        server = subprocess.Popen(command, cwd=root, env=environment, stdout=log, stderr=log)
    try:
        about = home / "runtime" / f"jpserver-{server.pid}.json"  # has the port it found free, and the token
        deadline = time.monotonic() + 90
        while not (about.exists() and about.read_text().endswith("}")):
            starting = server.poll() is None and time.monotonic() < deadline
            assert starting, (home / "lab.log").read_text()
            time.sleep(0.2)
        yield json.loads(about.read_text())
    finally:
        end(server, server.terminate)


@contextmanager
def chromium(profile: Path) -> Iterator[Chrome]:
    """The distribution's Chromium without a window, with a new profile."""
    options = ChromeOptions()
    options.binary_location = CHROMIUM
    for switch in (
        *("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "disable-quic"),
        *("no-first-run", "disable-background-networking", "disable-component-update", "disable-sync"),
        *("window-size=1400,1000", f"user-data-dir={profile}"),
    ):
        options.add_argument(f"--{switch}")
    browser = Chrome(options, ChromeService(DRIVER))
    try:
        yield browser
    finally:
        end(browser.service.process, browser.quit)


def wait(browser: Chrome, seconds: float, until: Callable[[Chrome], Any], failing: str) -> Any:
    """Try until it gives something; an element that is not there yet, or covered, is tried again."""
    return WebDriverWait(browser, seconds, 0.2, [WebDriverException]).until(until, failing)


def click(browser: Chrome, kind: str, label: str) -> None:
    xpath = f"//*[@class='{kind}' and normalize-space()='{label}']"
    wait(browser, 30, lambda b: b.find_element(By.XPATH, xpath).click() or True, f"no {label} to click")


def choose(browser: Chrome, menu: str, entry: str) -> None:
    """Click a menu of the menu bar, then one of its entries."""
    click(browser, "lm-MenuBar-itemLabel", menu)
    click(browser, "lm-Menu-itemLabel", entry)


def kernel_is_idle(browser: Chrome) -> bool:
    for button in browser.find_elements(By.CSS_SELECTOR, ".jp-Dialog .jp-mod-accept"):
        button.click()  # whatever is asked at first, its default
    return "| Idle" in browser.find_element(By.ID, "jp-main-statusbar").text


def stopped(browser: Chrome) -> bool:
    page = browser.execute_script(PAGE)
    run = page["prompts"] and all(re.search(r"\d", p) for p in page["prompts"]) and kernel_is_idle(browser)
    return bool(page["errors"] or run)


def run_from_menu(browser: Chrome, server: dict, root: Path, name: str) -> None:
    path = f"notebooks/{name}.ipynb"
    browser.get(f"{server['url']}lab/workspaces/{name}/tree/{path}?token={server['token']}")
    wait(browser, 90, kernel_is_idle, "the kernel is not ready")
    choose(browser, "Run", "Run All Cells")
    wait(browser, 300, stopped, "not all cells have run")
    assert browser.execute_script(PAGE)["errors"] == []
    choose(browser, "File", "Save Notebook")
    wait(browser, 30, lambda b: not b.find_elements(By.CSS_SELECTOR, ".jp-mod-dirty"), "it is not saved")

    page = browser.execute_script(PAGE)
    assert page["errors"] == []
    cells = [cell for cell in nbformat.read(root / path, as_version=4).cells if cell.cell_type == "code"]
    order = list(range(1, len(cells) + 1))
    folded = [cell.metadata.get("jupyter", {}).get("source_hidden", False) for cell in cells]
    shown = [number for number, hidden in zip(order, folded, strict=True) if not hidden]
    assert page["prompts"] == [f"[{number}]:" for number in shown]
    assert [cell.execution_count for cell in cells] == order

    assert "error" not in {output.output_type for cell in cells for output in cell.outputs}

    pictures = [sum("image/png" in output.get("data", ()) for output in cell.outputs) for cell in cells]
    for cell, count in zip(cells, pictures, strict=True):
        assert count or not re.search(r"figures\.(?!use_style|toy_search\(|tree_explorer)", cell.source), (
            f"no picture from {cell.source}"
        )
    assert page["pictures"] == sum(pictures)
    assert sum(pictures) > 0

    for slider in browser.find_elements(By.CSS_SELECTOR, ".jp-OutputArea input[type=range]"):
        before = slider.get_attribute("aria-valuetext")  # set by its script
        at_start = slider.get_property("value") == slider.get_property("min")
        slider.send_keys(Keys.ARROW_RIGHT if at_start else Keys.ARROW_LEFT)
        assert slider.get_attribute("aria-valuetext") != before

    manifest = json.loads((root / "outputs" / "quick" / name / "manifest.json").read_text())
    assert manifest["status"] == "done"


@pytest.mark.slow
def test_notebooks_run_from_the_menu(tmp_path):
    root, home = tmp_path / "project", tmp_path / "home"
    shutil.copytree(ROOT / "params", root / "params")
    (root / "notebooks").mkdir()
    for name, parameters in PARAMETERS.items():
        path = Path("notebooks", f"{name}.ipynb")
        copy_with(parameters, ROOT / path, root / path)
    with jupyterlab(root, home) as server, chromium(home / "profile") as browser:
        for name in PARAMETERS:
            try:
                run_from_menu(browser, server, root, name)
            except Exception as error:
                browser.save_screenshot(tmp_path / "screenshot.png")
                log = (home / "lab.log").read_text()[-3000:]
                pytest.fail(f"{name}: {error}\nsee {tmp_path / 'screenshot.png'}; end of the log:\n{log}")

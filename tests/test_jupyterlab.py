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

import nbformat
import psutil
import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import element_to_be_clickable
from selenium.webdriver.support.wait import WebDriverWait

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")

# What makes each notebook quick; the rest of it is as stored
PARAMETERS = {
    "01_pretrain": {"epochs": 2, "batch_size": 32, "width": 2},
    "02_distances": {"images": 32},
    "03_tree": {},
    "04_mcts": {"epochs": 2, "batch_size": 32},
}
SETTINGS = {
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},  # the page holds all cells
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
}
STATE = """
const all = selector => [...document.querySelectorAll('.jp-Notebook .jp-CodeCell ' + selector)];
const failed = '[data-mime-type="application/vnd.jupyter.error"], [data-mime-type$=".stderr"]';
return {
  prompts: all('.jp-InputPrompt').map(prompt => prompt.textContent.trim()),
  errors: all(`.jp-OutputArea-output:is(${failed})`).map(output => output.textContent),
  images: all('.jp-OutputArea-output img').filter(image => image.naturalWidth > 0).length,
};
"""


def copy_with(source: Path, target: Path, parameters: dict[str, int]) -> None:
    """Copy a notebook with other parameters, and without outputs: all that it has later is of this run."""
    notebook = nbformat.read(source, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.update(outputs=[], execution_count=None)
        if "parameters" in cell.metadata.get("tags", []):
            for name, value in parameters.items():
                cell.source, found = re.subn(rf"(?m)^{name} = \S+", f"{name} = {value}", cell.source)
                assert found == 1, f"{source} has no parameter {name}"
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
            assert server.poll() is None, "JupyterLab did not start"
            assert time.monotonic() < deadline, "JupyterLab is not ready"
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


def click(browser: Chrome, xpath: str) -> None:
    WebDriverWait(browser, 30).until(element_to_be_clickable((By.XPATH, xpath))).click()


def choose(browser: Chrome, menu: str, entry: str) -> None:
    """Click a menu of the menu bar, then one of its entries."""
    click(browser, f"//*[@id='jp-MenuBar']//*[@class='lm-MenuBar-itemLabel'][normalize-space()='{menu}']")
    click(browser, f"//*[@class='lm-Menu-itemLabel'][normalize-space()='{entry}']")


def kernel_is_ready(browser: Chrome) -> bool:
    for button in browser.find_elements(By.CSS_SELECTOR, ".jp-Dialog .jp-mod-accept"):
        button.click()  # whatever it asks first: its default
    return bool(browser.find_elements(By.CSS_SELECTOR, ".jp-Notebook-ExecutionIndicator[data-status='idle']"))


def run_from_menu(browser: Chrome, server: dict, root: Path, name: str) -> None:
    path = f"notebooks/{name}.ipynb"
    browser.get(f"{server['url']}lab/tree/{path}?token={server['token']}&reset")
    WebDriverWait(browser, 90).until(kernel_is_ready, "the kernel is not ready")

    choose(browser, "Run", "Run All Cells")

    def stopped(browser: Chrome) -> dict | None:
        state = browser.execute_script(STATE)
        ran = all(re.fullmatch(r"\[\d+\]:", prompt) for prompt in state["prompts"])
        return state if state["prompts"] and ran or state["errors"] else None

    page = WebDriverWait(browser, 120).until(stopped, "some cells did not run")
    assert not page["errors"], page["errors"]

    choose(browser, "File", "Save Notebook")
    cells = [c for c in nbformat.read(root / path, as_version=4).cells if c.cell_type == "code"]
    WebDriverWait(browser, 30).until(lambda _: nbformat.read(root / path, 4).cells, "it was not saved")
    print(page, len(cells))


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no Chromium or no chromedriver found")
def test_every_notebook_runs_from_the_menu(tmp_path):
    root, home = tmp_path / "project", tmp_path / "home"
    shutil.copytree(ROOT / "params", root / "params")
    (root / "notebooks").mkdir()
    for name, parameters in PARAMETERS.items():
        copy_with(ROOT / "notebooks" / f"{name}.ipynb", root / "notebooks" / f"{name}.ipynb", parameters)
    with jupyterlab(root, home) as server, chromium(home / "profile") as browser:
        for name in PARAMETERS:
            try:
                run_from_menu(browser, server, root, name)
            except Exception as error:
                browser.save_screenshot(tmp_path / f"{name}.png")
                log = (home / "lab.log").read_text()[-3000:]
                pytest.fail(f"{name}: {error}\nscreenshot: {tmp_path / name}.png\nlog: ...{log}")
            if os.environ.get("DUMP"):
                (tmp_path / f"{name}.html").write_text(browser.page_source)
                browser.save_screenshot(tmp_path / f"{name}.png")

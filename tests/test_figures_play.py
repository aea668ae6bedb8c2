"""Figures to play with: their numbers are the sampler's and the tree's, and in a browser they move."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from common import ARCHS, CHROMIUM, DRIVER, NAMES, SPACE, in_browser
from common import TRUTH as SERIES
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from hnas_kit import figures, spaces, trees
from hnas_kit.figures import play
from hnas_kit.samplers import MCTS
from hnas_kit.studies import toy

TRUTH = SERIES.to_numpy()
LIMIT = 150_000  # bytes, so that a notebook stays small


def data(html: str) -> dict:
    return json.loads(unescape(re.search('data-all="(.*?)"', html)[1]))


@pytest.fixture(scope="module")
def search() -> str:
    return figures.toy_search().data


@pytest.fixture(scope="module")
def explorer() -> str:
    return figures.tree_explorer(trees.accuracy(TRUTH, ARCHS), NAMES, TRUTH).data


def test_they_are_small_and_load_nothing(search, explorer):
    for html in (search, explorer):
        assert len(html.encode()) < LIMIT
        for outside in ("http:", "https:", "@import", "url(", " src=", "<link"):
            assert outside not in html
        assert "<noscript>" in html


@pytest.mark.parametrize("bonus", play.BONUSES)
@pytest.mark.parametrize("order", ["a", "c"])
def test_a_frame_is_what_the_sampler_has_learned(search, bonus, order):
    content = data(search)
    frames = np.frombuffer(base64.b64decode(content["frames"]), np.uint8).reshape(4, *content["sizes"], 28)
    tree = trees.default(toy.SPACE) if order == "a" else toy.learned_tree()
    panel = 2 * list(play.BONUSES).index(bonus) + (order == "c")
    i, j = play.EXPLORATIONS.index(0.1), play.TEMPERATURES.index(0.02)
    seen = toy.searched(MCTS(tree, exploration=0.1, temperature=0.02, bonus=bonus), play.STEPS)
    for frame, (chance, value, visits) in zip(frames[panel, i, j], seen, strict=True):
        np.testing.assert_allclose(frame[:7] / 255, chance[1::2], atol=0.002)
        np.testing.assert_array_equal(frame[7:14], visits[1::2])
        np.testing.assert_allclose(frame[14:] / 100, value[1:], atol=0.0051)
    assert content["panels"][panel]["parent"] == tree.parent.tolist()
    good = [toy.SPACE.format(tree.archs[tree.arch_index[v]]) for v in content["panels"][panel]["good"]]
    assert sorted(good) == ["001", "011", "101", "111"]


@pytest.mark.parametrize("truth", [None, TRUTH], ids=["no truth", "truth"])
@pytest.mark.parametrize(
    "tree", [trees.accuracy(TRUTH, ARCHS), trees.default(SPACE)], ids=["binary", "default"]
)
def test_the_explorer_has_every_node_with_what_is_under_it(tree, truth):
    content = data(figures.tree_explorer(tree, NAMES, truth).data)
    assert [node["parent"] for node in content["nodes"]] == tree.parent.tolist()
    for node, below in zip(content["nodes"], tree.members, strict=True):
        assert node["size"] == len(below)
        assert sorted(node["names"].split(", ")) == sorted(NAMES[i] for i in below)
        assert node.get("mean") == (None if truth is None else pytest.approx(truth[below].mean(), abs=1e-3))
    opened = tree.height[content["open"]]
    assert sorted(content["open"]) == np.flatnonzero(tree.num_children).tolist()
    assert np.all(np.diff(opened) <= 0)


def test_of_a_large_tree_the_upper_part_is_explored():
    macro = spaces.make_space("macro").enumerate()[::4]
    html = figures.tree_explorer(trees.random(macro, 0), list(map(str, range(len(macro)))), None).data
    nodes = data(html)["nodes"]
    assert len(nodes) == 2 * 60 - 1
    assert nodes[0]["size"] == len(macro)
    assert len(html.encode()) < LIMIT


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Chrome]:
    options = ChromeOptions()
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    profile = tmp_path_factory.mktemp("profile")
    for switch in (
        "headless=new",
        "no-sandbox",
        "disable-gpu",
        "disable-dev-shm-usage",
        f"user-data-dir={profile}",
    ):
        options.add_argument(f"--{switch}")
    driver = Chrome(options, ChromeService(DRIVER))
    yield driver
    driver.quit()


def show(browser: Chrome, folder: Path, html: str) -> None:
    page = folder / "page.html"
    page.write_text(f'<!doctype html><html lang="en"><meta charset="utf-8"><title>play</title>{html}</html>')
    browser.get(page.as_uri())


def errors(browser: Chrome) -> list[str]:
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def texts(browser: Chrome, selector: str) -> list[str]:
    return [element.text for element in browser.find_elements(By.CSS_SELECTOR, selector)]


class TestInABrowser:
    pytestmark = in_browser

    def test_every_slider_moves_the_search(self, browser, tmp_path, search):
        show(browser, tmp_path, search)
        sliders = browser.find_elements(By.TAG_NAME, "input")
        assert [slider.accessible_name.split(",")[0] for slider in sliders] == ["λ", "T", "steps searched"]
        for slider in sliders:
            picture = [
                line.get_attribute("stroke-width") for line in browser.find_elements(By.TAG_NAME, "line")
            ]
            told = texts(browser, ".status, output, .says")
            slider.send_keys(Keys.ARROW_LEFT)
            now = [line.get_attribute("stroke-width") for line in browser.find_elements(By.TAG_NAME, "line")]
            assert now != picture
            assert texts(browser, ".status, output, .says") != told
        steps = sliders[2]
        steps.send_keys(Keys.HOME)  # nothing is learned yet: all alike
        assert set(texts(browser, "svg .chance")) == {"50 %"}
        assert steps.get_attribute("aria-valuetext") == "0"
        assert errors(browser) == []

    def test_the_picture_has_the_samplers_numbers(self, browser, tmp_path, search):
        show(browser, tmp_path, search)
        sampler = MCTS(toy.learned_tree(), exploration=0.1, temperature=0.02)
        ((chance, value, visits),) = toy.searched(sampler, [112])
        shown = browser.find_elements(By.TAG_NAME, "svg")[1]
        assert [t.text for t in shown.find_elements(By.CSS_SELECTOR, ".visits")] == list(map(str, visits))
        values = [t.text for t in shown.find_elements(By.CSS_SELECTOR, ".value")][1:]
        np.testing.assert_allclose([float(v) for v in values], value[1:], atol=0.006)
        shares = [int(t.text.split()[0]) for t in shown.find_elements(By.CSS_SELECTOR, ".chance")]
        np.testing.assert_allclose(shares, 100 * chance[1:], atol=1)

    def test_two_on_one_page_do_not_disturb_each_other(self, browser, tmp_path, search):
        show(browser, tmp_path, search + search)
        first, second = browser.find_elements(By.CSS_SELECTOR, ".hnas-search")
        before = second.text
        first.find_element(By.TAG_NAME, "input").send_keys(Keys.END)
        assert second.text == before != first.text
        assert errors(browser) == []

    def test_the_cut_makes_groups_and_a_node_tells_what_lies_below(self, browser, tmp_path, explorer):
        show(browser, tmp_path, explorer)
        slider = browser.find_element(By.TAG_NAME, "input")
        assert texts(browser, "output") == ["2 groups"]
        assert (
            "18 with mean 87.57 %; 18 with mean 82.43 %"
            in browser.find_element(By.CSS_SELECTOR, ".status").text
        )
        assert "explain 75 %" in browser.find_element(By.CSS_SELECTOR, ".status").text
        slider.send_keys(Keys.ARROW_RIGHT)
        assert texts(browser, "output") == ["3 groups"]
        assert len(browser.find_elements(By.CSS_SELECTOR, "circle.group")) == 3
        slider.send_keys(Keys.END)
        assert texts(browser, "output") == ["36 groups"]
        assert "explain 100 %" in browser.find_element(By.CSS_SELECTOR, ".status").text
        slider.send_keys(Keys.TAB)  # to the root
        told = browser.find_element(By.CSS_SELECTOR, ".told")
        assert told.text.startswith("36 architectures, mean true accuracy 85.00 %: ")
        browser.switch_to.active_element.send_keys(Keys.TAB)
        assert told.text.startswith("18 architectures")
        assert len(browser.find_elements(By.CSS_SELECTOR, "text.lit")) == 18
        names = [c.accessible_name for c in browser.find_elements(By.TAG_NAME, "circle")]
        assert names[0].startswith("36 of them, mean true accuracy 85.00 %: [")
        assert errors(browser) == []

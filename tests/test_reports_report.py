"""The report of a run, and the table over runs of several seeds."""

from __future__ import annotations

import base64
import json
import re
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from hnas_kit import benchmarks
from hnas_kit.errors import HnasError
from hnas_kit.reports import report
from hnas_kit.runs import Finished, Stage
from hnas_kit.runs.folders import manifest_checksum
from hnas_kit.runs.params import NOTEBOOKS
from hnas_kit.runs.profiles import load_profile, override

PROFILES = Path(__file__).resolve().parents[1] / "params"
FOUND = {"learned": ("[6,3,1]", 91.25, 1), "default": ("[1,1,8]", 80.5, 36), "random": ("[4,3,3]", 88, 9)}
# Table 1 of the paper: method, architecture, best and average accuracy, best and average rank
PAPER = {
    "learned": ["MCTS + Learned", "[6,2,2]", 91.83, "91.72 ± 0.12", 2, 3],
    "default": ["MCTS", "[4,4,2]", 90.85, "90.57 ± 0.21", 12, 15.3],
    "uniform": ["Uniform", "[4,3,3]", 90.52, "90.40 ± 0.08", 15, 17],
}


@pytest.fixture(autouse=True)
def outputs(tmp_path, monkeypatch):
    monkeypatch.setenv("HNAS_OUTPUTS", str(tmp_path))
    for name in ("HNAS_REFERENCE", "HNAS_DEVICE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def finish(run, profile="quick", found=FOUND, last="04_mcts", **changes):
    """A finished run whose search found those architectures, up to the notebook ``last``."""
    values = override(load_profile(PROFILES / profile), {"run": run, "device": "cpu"} | changes)
    rows = pd.DataFrame(found, index=["architecture", "accuracy", "rank"]).T.rename_axis("method")
    for notebook in [name for name in NOTEBOOKS if name <= last]:
        stage = Stage(NOTEBOOKS[notebook].checked(values[notebook], notebook))
        figures = {}
        if notebook == "01_pretrain":
            stage.save("supernet.pt", {"w": torch.ones(1)})
            stage.save("loss.png", Figure(figsize=(1, 1)))
        if notebook == "05_ablations":
            ours = {"ours: architecture": ["[4,3,3]", "[1,1,8]"], "ours: best rank": [9, 36]}
            table = pd.DataFrame(ours | {"paper: average rank": [17, None]}, ["Uniform", "mine"])
            stage.save("table1.csv", table)
            figures = {"scale": "digits, width 8"}
        if notebook == "04_mcts":
            stage.save("found.csv", rows)
            stage.save(f"{rows.index[0]}.csv", pd.DataFrame({"reward": np.zeros(980)}))
            stage.save("search.png", Figure(figsize=(2, 1)))
        stage.finish(f"headline of {notebook} & more", **figures)


def test_the_readings_of_a_run_are_named_in_one_line(outputs):
    finish("a", bonus="linear", start="first")
    (line,) = re.findall(r"<p>Readings of the paper: (.*)</p>", report.write("a").read_text())
    assert unescape(line).startswith(
        "bonus linear: exploration bonus lambda sqrt(ln N_parent) / n (Algorithm 1 as typeset); "
        "start first: a node's first reward replaces C; warmup architectures: "
    )
    assert "phases tree: three phases for tree search alone" in line


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "Lambda 0.02 is within the rule's 0.039 (bonus sqrt)."),
        ({"exploration": 0.5}, "Lambda 0.5 is above the rule's 0.039 (bonus sqrt)."),
        ({"exploration": 0.1, "bonus": "linear"}, "Lambda 0.1 is within the rule's 0.19 (bonus linear)."),
    ],
)
def test_the_report_says_whether_lambda_is_within_the_rule(changes, said):
    finish("a", **changes)
    assert f"<p>{said}" in unescape(page("a"))


def test_a_prior_beyond_the_paper_is_named_and_has_no_rule_for_lambda(outputs):
    finish("a", prior="leaves")
    text = unescape(page("a"))
    assert "; prior leaves: siblings of equal R, in uniform phases too, are drawn by their numbers of" in text
    assert "The rule for lambda is for branches that are drawn alike, not for prior leaves." in text
    assert "rule's" not in text
    finish("a")
    assert "prior" not in Finished("a", "04_mcts").manifest["readings"]


def test_nothing_is_said_of_lambda_without_a_tree():
    finish("a", sampler="uniform", tree="", compare=[])
    assert "the rule's" not in unescape(page("a"))


def test_the_rule_is_for_windows_too():
    finish_window("a", exploration=0.1)
    assert "<p>Lambda 0.1 is above the rule's 0.039 (bonus sqrt).</p>" in unescape(page("a"))


def finish_window(run, top_1=16.5, macs=278.4, **changes):
    """A finished notebook 06 of a run."""
    values = override(load_profile(PROFILES / "quick"), {"run": run, "device": "cpu"} | changes)
    stage = Stage(NOTEBOOKS["06_imagenet"].checked(values["06_imagenet"], ""))
    found = {"architecture": f"{macs} M", "top-1": top_1, "MACs (M)": macs}
    stage.save("found.csv", pd.DataFrame({"learned": found}).T.rename_axis("method"))
    stage.save("learned.csv", pd.DataFrame({"reward": np.zeros(200)}))
    columns = {"top-1": [76.3, top_1], "MACs (M)": [280, macs], "measured on": ["ImageNet", "<tiny>"]}
    index = pd.Index(["MCTS + Learned", "MCTS + Learned, ours"], name="method")
    stage.save("table5.csv", pd.DataFrame(columns, index))
    stage.save("figure6.png", Figure(figsize=(1, 2)))
    stage.finish("headline of 06 & more", scale="<tiny>", networks=12345678901234567890)
    return stage


def page(run):
    return report.write(run).read_text()


def rows(html):
    """The cells of the first table below its heading, a list a row."""
    table = html.partition("Measured beside published")[2].partition("</table>")[0]
    cells = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in re.findall(r"(?s)<tr.*?</tr>", table)]
    return [[unescape(cell) for cell in row] for row in cells]


def differences(html):
    (sentence,) = re.findall(r"<p>((?:The set-up|What differs).*?)</p>", html)
    return unescape(sentence)


def test_the_report_is_one_file_with_everything_in_it(outputs):
    finish("a")
    assert report.write("a") == outputs / "a" / "report.html"
    html = page("a")
    sources = re.findall(r"""(?:src|href)\s*=\s*["']?([^"'>]*)""", html)
    assert [s.partition(",")[0] for s in sources] == ["data:image/png;base64"] * 2
    pictures = [base64.b64decode(s.partition(",")[2]) for s in sources]
    assert pictures == [
        Finished("a", "01_pretrain").read("loss.png"),
        Finished("a", "04_mcts").read("search.png"),
    ]
    for outside in ("http:", "https:", "@import", "url(", "<script", "<link"):
        assert outside not in html
    captions = re.findall(r"<figcaption>(.*?) <span", unescape(html))
    assert captions == [report.CAPTIONS["loss.png"], report.CAPTIONS["search.png"]]


def test_every_figure_that_a_notebook_saves_has_a_caption():
    sources = "".join(path.read_text() for path in (PROFILES.parent / "notebooks").glob("0*.ipynb"))
    assert set(re.findall(r"[\w-]+\.png", sources)) == set(report.CAPTIONS)


def test_the_report_says_what_was_found_and_with_what():
    finish("a", seed=7)
    html = page("a")
    assert '<p class="found">headline of 04_mcts &amp; more</p>' in html
    assert "one seed (7)" in html
    for notebook in [name for name in NOTEBOOKS if name <= "04_mcts"]:
        manifest = Finished("a", notebook).manifest
        assert f'<td class="code">{notebook}</td><td>headline of {notebook} &amp; more</td>' in html
        for name, value in manifest["params"].items():
            shown = f'<td class="code">{name}</td><td class="code">{value}</td>'
            assert shown in unescape(html).replace("&#39;", "'")
    assert f"torch {manifest['provenance']['versions']['torch']}" in html


def test_the_papers_figures_stand_beside_ours():
    finish("a", found=FOUND | {"uniform": ("[5,3,2]", 90.126, 4)})
    head, *body = rows(page("a"))
    assert head[:4] == ["method", "ours: architecture", "ours: true accuracy (%)", "ours: true rank"]
    assert [name.removeprefix("paper: ") for name in head[4:]] == [
        "architecture", "best accuracy", "average accuracy", "best rank", "average rank",
    ]  # fmt: skip
    ours = {row[0]: row[1:4] for row in body}
    assert ours["learned"] == ["[6,3,1]", "91.25", "1"]
    assert ours["uniform"] == ["[5,3,2]", "90.13", "4"]
    published = {row[0]: row[4:] for row in body}
    for method, (_, architecture, best, average, best_rank, average_rank) in PAPER.items():
        assert published[method][::2][:2] == [architecture, average]
        assert [float(published[method][i]) for i in (1, 3, 4)] == [best, best_rank, average_rank]
    assert published["random"] == ["not reported"] * 5
    # what is no search, by the ground truth of the data set
    assert [row[0] for row in body[-2:]] == ["Default Arch.", "Best"]
    textures = benchmarks.load("textures-pooling")
    best = textures.iloc[textures["accuracy"].argmax()]
    assert ours["Default Arch."][0] == published["Default Arch."][0] == "[4,3,3]"
    assert ours["Best"] == [best.name, f"{best['accuracy']:.2f}", "1"]
    assert published["Default Arch."][1:] == ["90.52", "not reported", "15.0", "not reported"]


def test_the_tables_of_the_ablations_are_in_the_report():
    finish("a", last="05_ablations")
    html = page("a")
    assert "Ours: digits, width 8" in html
    (table,) = re.findall(r"(?s)<h3>Methods \(the paper&#39;s Table 1 or 4\)</h3>(.*?)</table>", html)
    header, columns, *body = re.findall(r"(?s)<tr.*?</tr>", table)
    assert re.findall(r"<th[^>]*>(\w+)<", header) == ["ours", "paper"]
    assert re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", columns) == [
        "",
        "architecture",
        "best rank",
        "average rank",
    ]
    assert [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in body] == [
        ["Uniform", "[4,3,3]", "9", "17"],
        ["mine", "[1,1,8]", "36", ""],
    ]
    assert "Table 2" not in html


@pytest.mark.parametrize("alone", [True, False])
def test_the_window_of_macs_is_in_the_report(alone):
    if not alone:
        finish("a")
    finish_window("a", seed=3)
    html = page("a")
    heading, section = html.partition("<h2>The ImageNet space")[::2]
    assert ("Measured beside published" in heading) == (not alone)
    headline = "headline of 06 &amp; more" if alone else "headline of 04_mcts &amp; more"
    assert f'<p class="found">{headline}</p>' in html
    assert "Ours: &lt;tiny&gt;; 12,345,678,901,234,567,890 networks between" in section
    assert "277.2 and 280.0 million MACs, one seed (3)" in section
    head, *body = re.findall(r"(?s)<tr.*?</tr>", section.partition("</table>")[0])
    assert re.findall(r"<th[^>]*>(.*?)</th>", head) == ["", "top-1", "MACs (M)", "measured on"]
    assert [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in body] == [
        ["MCTS + Learned", "76.3", "280", "ImageNet"],
        ["MCTS + Learned, ours", "16.5", "278.4", "&lt;tiny&gt;"],
    ]
    assert report.CAPTIONS["figure6.png"] in unescape(html)
    assert '<td class="code">06_imagenet</td><td>headline of 06 &amp; more</td>' in html


def test_a_run_without_a_window_says_nothing_of_it():
    finish("a")
    assert "ImageNet space" not in page("a")


def test_the_papers_profile_is_the_papers_set_up():
    finish("a", "pooling_cifar10")
    assert differences(page("a")) == "What differs from the paper's set-up: linkage ward (paper: not said)."


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dataset": "cifar10_jpeg"}, "data cifar10_jpeg (paper: cifar10)"),
        ({"width": 8}, "width of the network 8 (paper: 16)"),
        ({"measure": "l2"}, "measure l2 (paper: kl)"),
        ({"exploration": 0.1}, "lambda 0.1 (paper: 0.5)"),
        ({"beta": 0.9}, "beta 0.9 (paper: 0.95)"),
        ({"warmup_share": 0.2}, "share of warm-up 0.2 (paper: 0.25)"),
        ({"temperature_end": 0.005}, "T 0.02 to 0.005 (paper: 0.02 to 0.0025)"),
        ({"final": "samples"}, "final choice samples (paper: path)"),
        ({"epochs": 2}, "epochs of pre-training 2 (paper: 300); epochs of search 2 (paper: 400)"),
        (
            {"lr": 0.2},
            "learning rate of pre-training 0.2 (paper: 0.1); learning rate of search 0.2 (paper: 0.05)",
        ),
        (
            {"batch_size": 128},
            "batch size of pre-training 128 (paper: 512); batch size of search 128 (paper: 256)",
        ),
        ({"weight_decay": 0.01}, "weight decay of pre-training 0.01 (paper: 0.001)"),
    ],
)
def test_what_differs_from_the_paper_is_named_and_nothing_else(changes, said):
    finish("a", "pooling_cifar10", **changes)
    also = "linkage ward (paper: not said)"
    assert differences(page("a")) == f"What differs from the paper's set-up: {said}; {also}."


def test_without_ground_truth_there_are_words_instead_of_ranks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    finish("a", found={"learned": ("[6,3,1]", np.nan, np.nan)}, dataset="folder:photos")
    html = page("a")
    assert rows(html)[1][1:4] == ["[6,3,1]", "no ground truth", "no ground truth"]
    assert "the pooling space on folder:photos" in html
    assert not re.search(r">\s*nan\s*<", html, re.I)


def test_what_a_run_read_from_another_one_is_reported_from_there():
    finish("a", dataset="cifar10")
    finish("b", last="01_pretrain")  # on digits, and not read by the search below
    params = NOTEBOOKS["04_mcts"].checked(Finished("a", "04_mcts").params | {"run": "b", "source": "a"}, "")
    stage = Stage(params)
    for name in ("found.csv", "learned.csv"):
        stage.save(name, Finished("a", "04_mcts").load(name))
    stage.finish("found on the other run's tree")
    html = page("b")
    assert "the pooling space on cifar10" in html
    assert "data " not in differences(html)
    assert "found on the other run&#39;s tree" in html


def test_an_unfinished_run_has_no_report(outputs):
    finish("a", last="03_tree")
    with pytest.raises(HnasError) as caught:
        report.write("a")
    assert str(caught.value) == (
        f"{outputs}/a/04_mcts holds no finished 04_mcts; run notebooks/04_mcts.ipynb with run: a"
    )
    assert not (outputs / "a" / "report.html").exists()


def test_a_corrupt_figure_is_refused(outputs):
    finish("a")
    (outputs / "a" / "04_mcts" / "search.png").write_bytes(b"")
    with pytest.raises(HnasError, match=r"search.png is corrupt .* run notebooks/04_mcts.ipynb"):
        report.write("a")


def test_over_seeds_is_what_a_hand_computes():
    finish("a0", found={"learned": ("[6,3,1]", 91.0, 1), "default": ("[1,1,8]", 80.0, 36)})
    finish("a1", found={"learned": ("[6,2,2]", 90.0, 3), "default": ("[1,1,8]", 80.0, 36)}, seed=1)
    finish("a2", found={"learned": ("[6,3,1]", 89.0, 8), "default": ("[4,3,3]", 83.0, 15)}, seed=2)
    table = report.over_seeds(["a0", "a1", "a2"])
    assert list(table.index) == ["learned", "default"]
    assert list(table["architectures"]) == ["[6,3,1] [6,2,2] [6,3,1]", "[1,1,8] [1,1,8] [4,3,3]"]
    figures = table.drop(columns="architectures").astype(float)
    assert figures.loc["learned"].to_dict() == pytest.approx(
        {"best rank": 1, "mean rank": 4, "sd rank": 13**0.5, "mean accuracy": 90, "sd accuracy": 1}
    )
    assert figures.loc["default"].to_dict() == pytest.approx(
        {"best rank": 15, "mean rank": 29, "sd rank": 147**0.5, "mean accuracy": 81, "sd accuracy": 3**0.5}
    )


def test_over_seeds_of_searches_in_a_window_is_what_a_hand_computes():
    finish_window("w0", 10.0, 278.0)
    finish_window("w1", 14.0, 279.0, seed=1)
    assert report.over_seeds(["w0", "w1"]).loc["learned"].to_dict() == {
        "architectures": "278.0 M 279.0 M",
        "mean top-1": 12,
        "sd top-1": pytest.approx(8**0.5),
        "mean MACs (M)": 278.5,
        "sd MACs (M)": pytest.approx(0.5**0.5),
    }


def test_over_seeds_needs_every_run_finished():
    finish("a0")
    with pytest.raises(HnasError, match=r"run notebooks/04_mcts.ipynb with run: a1$"):
        report.over_seeds(["a0", "a1"])


def test_a_figure_of_ones_own_is_shown_under_its_name_and_flags_are_said(outputs):
    finish("a", last="03_tree")
    stage = Stage(NOTEBOOKS["04_mcts"].checked({"run": "a"}, ""))
    found = pd.DataFrame(FOUND, index=["architecture", "accuracy", "rank"]).T.rename_axis("method")
    stage.save("found.csv", found)
    stage.save("learned.csv", found)
    stage.save("<b>mine.png", Figure(figsize=(1, 1)))
    stage.finish("<script>alert(1)</script>", flags=["<i>odd</i>"])
    page = report.write("a").read_text()
    assert "<figcaption>&lt;b&gt;mine.png " in page
    assert "Look at this: 04_mcts: &lt;i&gt;odd&lt;/i&gt;." in page
    assert not re.search("<script|<i>|<b>", page)


@pytest.mark.parametrize("label", ["nan", "None"])
def test_a_method_may_be_called_as_nothing_is(outputs, label):
    finish("a", found={label: ("[6,3,1]", 91.25, 1)})
    assert f"<td>{label}</td>" in report.write("a").read_text()


@pytest.mark.parametrize("notebook", ["03_tree", "04_mcts"])
def test_what_is_damaged_is_not_left_out_without_a_word(outputs, notebook):
    finish("a")
    window = Stage(NOTEBOOKS["06_imagenet"].checked({"run": "a"}, ""))
    window.save("found.csv", pd.DataFrame())
    window.finish("a search in a window, which might be reported alone")
    (outputs / "a" / notebook / "manifest.json").write_text("{")
    with pytest.raises(HnasError, match=rf"{notebook}/manifest\.json is corrupt"):
        report.write("a")


def test_every_text_of_a_manifest_is_escaped(outputs):
    """Whatever a file or a person may have chosen, a class or a plugin for instance."""
    finish("a", last="04_mcts")
    path = outputs / "a" / "04_mcts" / "manifest.json"

    def marked(value):
        if isinstance(value, dict):
            return {name: marked(v) for name, v in value.items()}
        return f"{value}<img src=x onerror=alert(1)>" if isinstance(value, str) else value

    content = json.loads(path.read_text())
    kept = {name: content[name] for name in ("format", "notebook", "runs", "outputs", "inputs")}
    content = marked(content) | kept
    content["params"]["bonus"] = "sqrt"  # a text of anyone's could not be one
    path.write_text(json.dumps(content | {"checksum": manifest_checksum(content)}))
    assert "<img src=x" not in report.write("a").read_text()


def test_the_reports_numbers_are_those_of_the_tables_they_come_from(outputs):
    finish("a")
    page, found = report.write("a").read_text(), Finished("a", "04_mcts").load("found.csv")
    rows = [re.findall("<td>(.*?)</td>", row) for row in re.findall("<tr>(.*?)</tr>", page, re.DOTALL)]
    shown = {row[0]: row[1:4] for row in rows if len(row) > 4}
    for method, row in found.iterrows():
        architecture, accuracy, rank = shown[method]
        assert (architecture, float(rank)) == (row["architecture"], row["rank"])
        assert float(accuracy) == round(row["accuracy"], 2)

"""What goes beyond the paper, simulated: its cells, its table, and what the committed one says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hnas_kit import cli
from hnas_kit.names import MEASURES
from hnas_kit.samplers import Method
from hnas_kit.studies import beyond, forests, imitation, readings, study


def test_every_length_bonus_lambda_and_prior_is_a_cell():
    found = pd.DataFrame(beyond.cells("macro", 3969))
    assert list(found) == beyond.CELL
    assert len(found) == 3 * 2 * 2 * 2
    assert set(found["steps"]) == {980, 3920, 11_760}
    one = found[(found["steps"] == 11_760) & (found["bonus"] == "sqrt")]
    assert one["exploration"].tolist() == [0.5, 0.5, 0.0381, 0.0381]
    assert one["prior"].tolist() == ["branches", "leaves"] * 2


@pytest.fixture
def short(monkeypatch):
    """Pooling alone, and short searches."""
    monkeypatch.setattr(beyond, "settings", lambda: {"pooling": readings.pooling()})
    monkeypatch.setattr(beyond, "SHARES", {"1": 60 / 39_200})


def test_the_command_prints_and_keeps_the_table(outputs, short, capsys):
    assert cli.main(["simulate", "beyond", "--seeds", "3"]) == 0
    printed = capsys.readouterr().out
    table = pd.read_csv(outputs / "beyond.csv")
    assert list(table) == [*beyond.KEYS, "seeds", "found", "lower", "upper", "best_quarter"]
    assert len(table) == 2 * 2 * 2 * (len(readings.TREES) + 2)
    assert "56 cells of 3 seeds" in printed
    # a row is what the simulator gives
    own = {"steps": 60, "seeds": 3, "prior": "leaves", "bonus": "linear"} | readings.PAPER["pooling"]
    how = study.protocol(**own | {"steps": 60})
    rows = table[(table["prior"] == "leaves") & (table["bonus"] == "linear") & (table["exploration"] == 0.5)]
    result = study.run(readings.pooling(), how, {"default": Method("mcts", "default")})["default"]
    row = rows[rows["tree"] == "default"].iloc[0]
    assert row["found"] == study.quartiles(result.found)[0]
    assert row["best_quarter"] == pytest.approx(result.best_quarter.mean(), abs=1e-4)
    assert rows[rows["tree"] == "relearned"]["growth"].tolist() == list(beyond.GROWTHS)


def test_a_relearned_tree_is_imitated_in_a_study():
    subject = readings.pooling()
    how = study.protocol(steps=200, seeds=5, imitated=2, relearn_every=0.5, tree_growth=0.0, final="path")
    methods = {name: Method("mcts", name) for name in ("learned", "relearned")}
    results = study.run(subject, how, methods)
    # at once the distances of the tree that it begins with: as good as the tree itself
    third = results["learned"].third
    np.testing.assert_array_equal(
        results["learned"].arch_index[:, :third], results["relearned"].arch_index[:, :third]
    )
    own = {"often": Method("mcts", "relearned", settings={"relearn_every": 0.1})}
    noise = study.run(subject, how.model_copy(update={"tree_growth": 100.0}), own)["often"]
    assert not np.array_equal(noise.arch_index, results["learned"].arch_index)
    assert imitation.learned.cache_info().currsize > 0


def test_summaries_by_hand():
    rows = []
    for prior, found, quarter in (("branches", 100.0, 0.2), ("leaves", 25.0, 0.5)):
        for growth in (np.nan, 0.3):
            tree = "learned" if np.isnan(growth) else "relearned"
            cell = {"benchmark": "macro", "share": "1", "steps": 9, "bonus": "sqrt", "prior": prior}
            for exploration, factor in ((0.5, 1), (0.04, 2)):
                own = {"exploration": exploration, "tree": tree, "growth": growth, "seeds": 1}
                value = found * factor * (1 if np.isnan(growth) else 10)
                rows.append(cell | own | {"found": value, "best_quarter": quarter})
    table = pd.DataFrame(rows)
    wide = beyond.summary(table)
    assert wide.loc[("macro", "learned")].tolist() == [100, 25]
    assert wide.loc[("macro", "relearned, growth 0.3")].tolist() == [1000, 250]
    assert beyond.summary(table, 0.0).loc[("macro", "learned")].tolist() == [200, 50]
    assert beyond.summary(table, of="best_quarter").loc[("macro", "learned")].tolist() == [0.2, 0.5]
    gain = beyond.gained(table).loc[("macro", "sqrt", "1")]
    assert gain.to_dict() == pytest.approx(
        {"cells": 4, "better": 4, "worse": 0, "ratio": 0.25, "best quarter": 0.3}
    )


# what the results say of the committed table
ROOT = Path(__file__).resolve().parents[1]
TABLE = pd.read_csv(ROOT / "docs" / "results" / "beyond.csv")
PAGES = {
    name: " ".join((ROOT / "docs" / f"{name}.md").read_text().split()) for name in ("results", "choosing")
}


def cell(row: pd.Series, bonus: str, share: str) -> str:
    without, leaves = (f"{row[bonus, share, prior]:,.0f}" for prior in ("branches", "leaves"))
    return f"{without} → {leaves}"


@pytest.mark.parametrize("exploration", [0.5, 0.0], ids=["paper", "rule"])
def test_the_tables_of_the_results_are_of_the_committed_one(exploration):
    wide = beyond.summary(TABLE, exploration).loc["macro"]
    for label, row in wide.iterrows():
        cells = [cell(row, bonus, share) for bonus in ("sqrt", "linear") for share in beyond.SHARES]
        assert f"| {label} | {' | '.join(cells)} |" in PAGES["results"], label


def test_the_table_of_what_the_prior_changes_is_of_the_committed_one():
    for (benchmark, bonus, share), row in beyond.gained(TABLE).iterrows():
        said = f"{row['better']:.0f}, {row['worse']:.0f} of {row['cells']:.0f}; {row['ratio']:.2f}"
        assert f"| {benchmark} | {bonus} | {share} | {said}; {row['best quarter']:+.2f} |" in PAGES["results"]


def test_the_committed_table_has_every_cell():
    assert set(TABLE["seeds"]) == {beyond.SEEDS}
    assert set(study.LEARNED) < set(TABLE["tree"])
    sizes = TABLE.groupby("benchmark").size()
    assert sizes["macro"] == 24 * (7 + len(study.LEARNED) + 2 * len(study.LEARNED))
    assert sizes["pooling"] == 24 * (len(readings.TREES) + 2)


def changes(tree: str, **where: object) -> pd.DataFrame:
    """Cells of NAS-Bench-Macro whose tree's name begins so, without the prior and with it (``_with``)."""
    rows = TABLE[(TABLE["benchmark"] == "macro") & TABLE["tree"].str.startswith(tree)]
    for name, value in where.items():
        rows = rows[rows[name] == value]
    keys = [key for key in beyond.KEYS if key not in ("prior", "growth")]
    one, other = (rows[rows["prior"] == prior].set_index(keys) for prior in ("branches", "leaves"))
    return one.join(other, suffixes=("", "_with"))


def better_and_worse(both: pd.DataFrame) -> tuple[int, int]:
    return int((both["found_with"] < both["found"]).sum()), int((both["found_with"] > both["found"]).sum())


def test_what_is_said_of_the_prior_is_of_the_committed_table():
    text, learned = PAGES["results"], changes("learned")
    more = learned["best_quarter_with"] - learned["best_quarter"]
    means = [more.xs(share, level="share").mean() for share in beyond.SHARES]
    said = "in {} of {} cells, by {:.2f}, {:.2f} and {:.2f} at the three lengths"
    assert said.format((more > 0).sum(), len(more), *means) in text
    counts = [better_and_worse(changes("learned", share=share)) for share in beyond.SHARES]
    (a, b), (c, d), (e, f) = counts
    assert (
        f"At 980 steps what is found is better in {a} of 16 cells and worse in {b}, at 3,920 in {c} and {d}, "
        f"at the paper's length in {e} and {f}:"
    ) in text
    default, onehot, random = (better_and_worse(changes(name)) for name in ("default", "one-hot", "random"))
    assert f"On the default tree it is better in {default[0]} of 12 cells and worse in {default[1]}" in text
    assert onehot == (0, 11)
    assert "on one-hot encodings never better and worse in 11 of 12" in text
    assert f"on random trees better in {random[0]} of 36 and worse in {random[1]}." in text
    quarter, found = beyond.summary(TABLE, 0.0, "best_quarter"), beyond.summary(TABLE, 0.0)
    own = quarter.loc[("macro", "learned")]
    assert (own["linear", "1/12"].round(2).tolist(), own["sqrt", "1/3"].round(2).tolist()) == (
        [0.0, 0.24], [0.21, 0.81]
    )  # fmt: skip
    assert found.loc[("macro", "learned")]["sqrt", "1/3"].tolist() == [1074, 8]
    assert beyond.summary(TABLE).loc[("pooling", "default")]["sqrt", "1/3"].tolist() == [17, 3]


def test_what_is_said_of_relearned_trees_is_of_the_committed_table():
    rows, keys = TABLE[TABLE["benchmark"] == "macro"], [*beyond.CELL, "tree"]
    kept = rows[rows["growth"].isna()].set_index(keys)
    sentences = {
        0.3: "better in {} of {} cells on NAS-Bench-Macro and worse in {}, the found rank {:.2f} times",
        1.0: "better in {}, worse in {}, {:.2f} times",
    }
    for growth, said in sentences.items():
        own = rows[rows["growth"] == growth]
        own = own.assign(tree=own["tree"].str.replace("relearned", "learned")).set_index(keys)
        both = own.join(kept, suffixes=("", "_kept"))
        better, worse = (both["found"] < both["found_kept"]).sum(), (both["found"] > both["found_kept"]).sum()
        ratio = np.exp(np.log(both["found"] / both["found_kept"]).median())
        numbers = (better, len(both), worse, ratio) if growth < 1 else (better, worse, ratio)
        assert said.format(*numbers) in PAGES["results"]
    times = [0.65 + 0.35 * k * 0.34 for k in (1, 2)]
    noise = [[round(100 * np.exp(-t / growth)) for t in times] for growth in beyond.GROWTHS]
    assert noise == [[8, 5], [46, 41]]


def test_the_page_that_helps_to_choose_says_what_the_tables_say():
    page = PAGES["choosing"]
    counts = [better_and_worse(changes("learned", share=share)) for share in ("1/12", "1")]
    assert f"better networks in {counts[0][0]} of 16 cells and worse in {counts[0][1]}" in page
    assert f"At the paper's length it costs ({counts[1][0]} and {counts[1][1]})" in page
    assert "({} and {} of 12)".format(*better_and_worse(changes("one-hot"))) in page
    methods = pd.read_csv(ROOT / "docs" / "results" / "simulate.csv")
    usual = methods[(methods["exploration"] == 0.5) & (methods["rewards"] == "true")]
    ranks = usual.assign(rank=usual["found rank"].str.split().str[0]).set_index(["bonus", "method"])["rank"]
    linear = ranks.loc["linear"]
    assert (
        f"regularised tree search (rank {linear['regularised']}), one-hot encodings "
        f"({linear['one-hot, 1/2^l']}) and the default tree ({linear['default']}) are ahead; independent "
        f"layers find {linear['independent']}, regularised evolution and random search "
        f"{linear['regularised evolution']}, Boltzmann {linear['boltzmann']}, uniform draws "
        f"{linear['uniform']} ("
    ) in page
    assert linear["random search"] == linear["regularised evolution"]
    assert f"with Eq. 3 the default tree finds {ranks['sqrt', 'default']}." in page
    shares = forests.summary(pd.read_csv(ROOT / "docs" / "results" / "trees.csv")).loc["cifar10-macro"]
    short = shares["best_quarter short"]
    estimates = [short[f"estimates {i}, Ward"] for i in range(len(study.LEARNED))]
    outputs = [short[f"{measure}, ward"] for measure in MEASURES]
    assert (
        f"a supernet's accuracies steers {min(estimates):.2f} to {max(estimates):.2f} of the third phase to "
        f"the best quarter, one-hot encodings with 1/2^l {short['one-hot, 1/2^l']:.2f}, the default tree "
        f"{short['default']:.2f}, Ward's criterion on outputs {min(outputs):.2f} to {max(outputs):.2f}."
    ) in page

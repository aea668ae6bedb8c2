"""The study of readings: what is simulated, and the rule for lambda on made-up tables."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hnas_kit import cli, figures
from hnas_kit.studies import readings, rule, study

ROOT = Path(__file__).resolve().parents[1]
TABLE = pd.read_csv(ROOT / "docs" / "results" / "readings.csv")


def made(cells: dict[tuple[str, str, int], list[float]], own: list[float] = ()) -> pd.DataFrame:
    """A table of shares of draws, one a lambda, by benchmark, length and number of the tree.

    Those of the rule's ``own`` lambda may be in it, too, for each bonus.
    """
    rows = []
    for (benchmark, share, tree), shares in cells.items():
        for bonus, limit in rule.RULE.items():
            values = [*zip(readings.LAMBDAS, shares, strict=True), *((limit, value) for value in own)]
            for exploration, value in values:
                cell = {"benchmark": benchmark, "tree": readings.TREES[tree], "share": share, "steps": 100}
                cell |= readings.DEFAULTS | {"bonus": bonus, "exploration": exploration, "rewards": "true"}
                rows.append(
                    cell | {"seeds": 100, "found": 1 + len(rows), "best_quarter": value, "deviation": 0.01}
                )
    return pd.DataFrame(rows)


def test_every_combination_is_looked_at_and_what_decides_with_most_seeds():
    cells = list(readings.cells())
    assert len({tuple(cell.values()) for cell in cells}) == len(cells)
    true = [cell for cell in cells if cell["rewards"] == "true" and cell["share"] != "3"]
    ruled = [cell for cell in cells if cell["exploration"] not in readings.LAMBDAS]
    assert len(true) == 2 * 3 * (16 * len(readings.LAMBDAS) + 2)
    assert {(c["benchmark"], c["share"], c["bonus"]) for c in ruled} == set(
        itertools.product(readings.PAPER, readings.SHARES, ("sqrt", "linear"))
    )
    assert all(cell["exploration"] == rule.RULE[cell["bonus"]] for cell in ruled)
    for cell in cells:
        others = {name: cell[name] for name in ("start", "warmup", "refresh")}
        usual = others == {"start": "one", "warmup": "architectures", "refresh": "draw"}
        most = usual and (cell["benchmark"], cell["share"]) != ("pooling", "3")
        assert cell["seeds"] == (100 if most else 30)


def test_the_nearest_reading_is_by_the_ratio_of_ranks():
    """The paper has 6 and 246 on NAS-Bench-Macro, 3 and 15.3 on Pooling."""
    trees = {
        "macro": {"learned": 3, "learned 1": 12, "default": 246},
        "pooling": {"learned": 6, "default": 15.3},
    }
    cell = readings.DEFAULTS | {"share": "1", "exploration": 0.5, "rewards": "true"}
    rows = [
        cell
        | {"bonus": bonus, "benchmark": name, "tree": tree, "found": found * (1 + 9 * (bonus == "linear"))}
        for bonus in ("linear", "sqrt")
        for name, ranks in trees.items()
        for tree, found in ranks.items()
    ]
    left_out = [rows[0] | {"exploration": 2.0}, rows[0] | {"share": "3"}, rows[0] | {"tree": "random"}]
    table = readings.nearest(pd.DataFrame(rows + [row | {"found": 1} for row in left_out]))
    assert list(table.index.get_level_values("bonus")) == ["sqrt", "linear"]
    assert table["factor"].tolist() == pytest.approx([2 ** (1 / 4), 10 * 2 ** (1 / 4)])
    assert table["macro, learned"].tolist() == pytest.approx([6, 60])


def test_a_cell_is_what_the_simulator_gives(monkeypatch):
    cell = next(c for c in readings.cells() if c["benchmark"] == "pooling" and c["bonus"] == "linear")
    monkeypatch.setattr(readings, "cells", lambda: iter([cell]))
    table = readings.run(seeds=3)
    assert list(table["tree"]) == list(readings.TREES)
    assert set(table["seeds"]) == {3}
    how = study.protocol(
        steps=3267, temperature_start=0.02, final="path", seeds=3, bonus="linear", exploration=0.005
    )
    learned = study.run(readings.pooling(), how, {"learned": readings.Method("mcts", "learned")})["learned"]
    row = table.iloc[0]
    assert row["found"] == np.quantile(learned.found, 0.5, method="inverted_cdf")
    assert row["best_quarter"] == learned.best_quarter.mean()
    assert row["deviation"] == pytest.approx(np.std(learned.best_quarter, ddof=1))


def test_trees_of_other_supernets_are_simulated_and_not_fitted(monkeypatch):
    cell = next(c for c in readings.cells() if c["benchmark"] == "macro")
    monkeypatch.setattr(readings, "cells", lambda: iter([cell]))
    table = readings.run(seeds=1)
    assert list(table["tree"]) == [*readings.TREES, *readings.OTHERS]
    assert readings.rule(TABLE) == readings.rule(TABLE[~TABLE["tree"].isin(readings.OTHERS)])
    assert set(TABLE.loc[TABLE["benchmark"] == "macro", "tree"]) == set(table["tree"])


def test_the_largest_lambda_is_the_one_before_the_first_that_costs_more_than_a_tenth():
    cells = {
        ("macro", "1", 0): [0.80, 0.79, 0.73, 0.721, 0.1],
        ("macro", "1", 1): [0.27, 0.26, 0.25, 0.23, 0.26],  # past a costly one it may be cheap by chance
        ("macro", "1", 2): [0.1, 0.2, 0.8, 0.79, 0.78],  # below the best one it may cost
        ("macro", "1", 3): [0.5, 0.4, 0.5, 0.5, 0.5],  # one that costs, of several that are the best
        ("macro", "1", 4): [0.1, 0.2, 0.3, 0.4, 0.5],
    }
    table = made(cells).sample(frac=1, random_state=0)  # in any order
    largest = readings.largest(table)
    for (*_, tree), expected in zip(cells, [0.5, 0.1, 2.0, 0.005, 2.0], strict=True):
        for bonus in rule.RULE:
            row = largest.loc["macro", "1", bonus, readings.TREES[tree]]
            assert (row["exploration"], row["at_best"]) == (expected, max(cells["macro", "1", tree]))


def test_the_rule_is_the_mean_of_what_it_is_fitted_to_and_depends_on_no_length():
    up_to_02, up_to_05 = [0.8, 0.8, 0.1, 0.1, 0.1], [0.8, 0.8, 0.8, 0.8, 0.1]
    cells = {("macro", share, tree): up_to_02 for share in ("1/12", "1") for tree in range(3)}
    cells |= {("macro", "1/12", 3): up_to_05, ("macro", "1", 3): up_to_05}
    others = {("pooling", "1", 0): up_to_05, ("macro", "1/3", 0): up_to_05, ("macro", "3", 0): up_to_05}
    fitted = readings.rule(made(cells | others))
    assert fitted == pytest.approx(dict.fromkeys(rule.RULE, (0.02**3 * 0.5) ** 0.25))
    flat = readings.exponent(made(cells | others), draws=50)
    np.testing.assert_allclose(flat, 0, atol=1e-12)
    longer = {("macro", "1/12", tree): up_to_02 for tree in range(2)}
    longer |= {("macro", "1", tree): up_to_05 for tree in range(2)}
    grown = readings.exponent(made(longer), draws=50)
    np.testing.assert_allclose(grown, np.log(25) / np.log(12))
    unsure = {key: [0.8, 0.8, 0.8, 0.72, 0.1] for key in longer}
    row = readings.exponent(made(unsure)).loc["sqrt"]
    # each of four cells reaches 0.1 or 0.5, about as likely
    assert row["exponent"] == pytest.approx(0, abs=1e-12)
    assert row["upper"] == pytest.approx(np.log(5) / np.log(12))
    assert row["lower"] == pytest.approx(-row["upper"])


def test_obeying_the_rule_costs_what_is_lost_to_the_best_lambda():
    cells = {("macro", "1", 0): [0.8, 0.8, 0.6, 0.1, 0.1], ("pooling", "3", 0): [0.9, 0.9, 0.9, 0.9, 0.9]}
    cost = readings.tested(made(cells, own=[0.7]))
    assert len(cost) == 4
    for bonus, limit in rule.RULE.items():
        row = cost.loc["macro", "1", bonus, "learned"]
        assert (row["lambda"], row["at best"]) == (limit, 0.8)
        assert row["cost"] == pytest.approx(1 / 8)
        assert row["factor"] == pytest.approx(limit / 0.02)
        assert cost.loc["pooling", "3", bonus, "learned"]["factor"] == pytest.approx(2 / limit)
    better = readings.tested(made(cells, own=[0.95]))
    assert set(better["cost"]) == {0}


def test_the_rule_is_fitted_to_the_committed_table():
    fitted = readings.rule(TABLE)
    assert set(fitted) == set(rule.RULE)
    for bonus, values in rule.RULE.items():
        assert values == float(f"{fitted[bonus]:.2g}")
    exponent = readings.exponent(TABLE)  # of a rule that depends on the length
    assert (exponent["lower"] <= 0).all()
    assert (exponent["upper"] >= 0).all()


def test_the_error_of_the_rule_is_told_of_each_kind_of_cell():
    error = readings.error(TABLE)
    assert list(error.index) == ["fitted", "other lengths", "other trees", "other benchmark"]
    assert list(error["cells"]) == [20, 20, 24, 40]
    tested = readings.tested(TABLE).reset_index()
    assert error["too large"].sum() == (tested["cost"] > 0.1).sum()
    others = tested[tested["tree"].isin(readings.OTHERS)]
    assert error.loc["other trees", ["cost", "worst"]].tolist() == [
        others["cost"].mean(),
        others["cost"].max(),
    ]


def test_what_a_reading_changes_is_told_from_pairs():
    table = made({("macro", "1", tree): [0.7, 0.7, 0.6, 0.4, 0.2] for tree in range(2)})
    table = table.assign(seeds=30, deviation=0.1)
    second = table.assign(start="first", best_quarter=table["best_quarter"] + 0.25, found=2 * table["found"])
    changes = readings.same(pd.concat([table, second], ignore_index=True))
    names = ["pairs", "best quarter", "spread", "changed", "told", "found"]
    assert changes.loc["start", names].tolist() == pytest.approx([len(table), 0.25, 0, 1, 1, 2])
    assert changes.loc["bonus", ["best quarter", "changed", "told"]].tolist() == pytest.approx([0, 0, 0])
    # 0.06 of 30 seeds each with a deviation of 0.1: t = 2.3, p = 0.02
    second["best_quarter"] -= 0.19
    changes = readings.same(pd.concat([table, second], ignore_index=True))
    assert changes.loc["start", ["changed", "told"]].tolist() == [1, 0]


def test_the_map_has_a_cell_for_each_reading_lambda_tree_and_length(drawn):
    shares = [0.7, 0.7, 0.6, 0.4, 0.2]
    tables = [
        made({(name, share, tree): shares for share in ("1/12", "1") for tree in range(2)})
        for name in readings.PAPER
    ]
    figure = figures.readings(pd.concat(tables, ignore_index=True))
    maps = [axis for axis in figure.axes if axis.get_title(loc="left")]
    assert [axis.get_title(loc="left").split(",")[0] for axis in maps] == ["NAS-Bench-Macro", "Pooling"]
    for axis, table in zip(maps, tables, strict=True):
        (mesh,) = axis.collections
        cells = mesh.get_array().reshape(8, len(readings.LAMBDAS), 2, len(readings.SHARES))
        assert (~cells.mask).sum() == len(table)  # what was not simulated is empty
        known = table.set_index(["bonus", "exploration", "tree", "share"])["found"]
        # C from 1 and uniform draws of architectures come first under each bonus
        assert cells[4, 3, 1, 2] == known["linear", 0.5, readings.TREES[1], "1"]
        assert len(axis.patches) == 8 * 2  # the paper's own lambda and length


def test_the_command_prints_and_keeps_the_table(outputs, monkeypatch, capsys):
    monkeypatch.setattr(readings, "run", lambda done, seeds: TABLE)
    assert cli.main(["simulate", "readings", "--seeds", "3"]) == 0
    printed = capsys.readouterr().out
    assert all(f"bonus {bonus}: lambda up to {limit}\n" in printed for bonus, limit in rule.RULE.items())
    assert len(pd.read_csv(outputs / "readings.csv")) == len(TABLE)

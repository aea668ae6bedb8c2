"""The study of readings: what is simulated, and the rule for lambda on made-up tables."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hnas_kit import figures
from hnas_kit.studies import readings, rule, study

ROOT = Path(__file__).resolve().parents[1]
TABLE = pd.read_csv(ROOT / "docs" / "results" / "readings.csv")


def made(
    best: dict[str, float], steps: dict[str, int], leaves: int, benchmark: str, fitted: dict | None = None
) -> pd.DataFrame:
    """A table in which exploring costs from ``best`` of the bonus times (steps / leaves) to the 0.5 on.

    With a ``fitted`` rule its own lambda is in it, too.
    """
    rows = []
    for tree in readings.TREES[:2]:
        for share, count in steps.items():
            for bonus, factor in best.items():
                own = [rule.advised(fitted, bonus, count, leaves)] if fitted else []
                for value in (*readings.LAMBDAS, *own):
                    ideal = factor * (count / leaves) ** 0.5
                    cell = {"benchmark": benchmark, "tree": tree, "share": share, "steps": count}
                    cell |= readings.DEFAULTS | {"bonus": bonus, "exploration": value, "rewards": "true"}
                    away = max(0, np.log(value / ideal))
                    cell |= {"seeds": 30, "found": 1 + away, "best_quarter": 1 / (1 + away)}
                    rows.append(cell | {"deviation": 0.1})
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
    short = next(c for c in ruled if (c["benchmark"], c["share"], c["bonus"]) == ("macro", "1/12", "sqrt"))
    assert short["exploration"] == pytest.approx(np.exp(-2.987 - 0.259 * np.log(980 / 3969)), abs=5e-5)
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


def test_a_rule_that_holds_is_found_and_costs_nothing_elsewhere():
    best = {"sqrt": 0.02, "linear": 0.1}
    table = made(best, {"1/12": 3969, "1/3": 4 * 3969, "1": 25 * 3969}, 3969, "macro")
    fitted = readings.rule(table)
    for bonus, factor in best.items():  # exact where the ideal is one of LAMBDAS
        assert rule.advised(fitted, bonus, 500, 500) == pytest.approx(factor)
        assert rule.advised(fitted, bonus, 2500, 100) == pytest.approx(5 * factor)
    other = made(best, {"1/3": 36 * 9}, 36, "pooling", fitted)  # an ideal that is none of LAMBDAS
    cost = readings.tested(pd.concat([table, other], ignore_index=True))
    assert len(cost) == 2 * 2
    for bonus, factor in best.items():
        rows = cost.xs(bonus, level="bonus")
        assert rows["lambda"].to_numpy() == pytest.approx(3 * factor)
        nearest = max(value for value in readings.LAMBDAS if value <= 3 * factor)
        assert rows["factor"].to_numpy() == pytest.approx(3 * factor / nearest)
    assert cost["cost"].to_numpy() == pytest.approx(0)
    off = {bonus: (a + np.log(2), b) for bonus, (a, b) in fitted.items()}  # twice too large
    cost = readings.tested(made(best, {"1/3": 36 * 9}, 36, "pooling", off))
    assert cost["cost"].to_numpy() == pytest.approx(1 - 1 / (1 + np.log(2)))


def test_the_rule_is_fitted_to_the_committed_table():
    fitted = readings.rule(TABLE)
    assert set(fitted) == set(rule.RULE)
    for bonus, values in rule.RULE.items():
        assert values == pytest.approx(fitted[bonus], abs=5e-4)


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
    table = made({"sqrt": 0.1, "linear": 0.1}, {"1": 100}, 100, "macro")
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
    tables = [
        made({"sqrt": 0.02, "linear": 0.1}, {"1/12": 100, "1": 2500}, leaves, name)
        for name, leaves in readings.LEAVES.items()
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

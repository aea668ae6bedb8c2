"""The study of readings: what is simulated, and the rule for lambda on made-up tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hnas_kit import figures
from hnas_kit.studies import readings, rule, study

ROOT = Path(__file__).resolve().parents[1]
TABLE = pd.read_csv(ROOT / "docs" / "results" / "readings.csv")


def made(best: dict[str, float], steps: dict[str, int], leaves: int, benchmark: str) -> pd.DataFrame:
    """A table in which exploring costs from ``best`` of the bonus times (steps / leaves) to the 0.5 on."""
    rows = []
    for tree in readings.TREES[:2]:
        for share, count in steps.items():
            for bonus, factor in best.items():
                for value in readings.LAMBDAS:
                    ideal = factor * (count / leaves) ** 0.5
                    cell = {"benchmark": benchmark, "tree": tree, "share": share, "steps": count}
                    cell |= readings.DEFAULTS | {"bonus": bonus, "exploration": value, "rewards": "true"}
                    away = max(0, np.log(value / ideal))
                    rows.append(cell | {"seeds": 1, "found": 1 + away, "best_quarter": 1 / (1 + away)})
    return pd.DataFrame(rows)


def test_every_combination_is_looked_at_and_what_decides_with_most_seeds():
    cells = list(readings.cells())
    assert len({tuple(cell.values()) for cell in cells}) == len(cells)
    true = [cell for cell in cells if cell["rewards"] == "true" and cell["share"] != "3"]
    assert len(true) == 2 * 3 * 16 * len(readings.LAMBDAS)
    for cell in cells:
        others = {name: cell[name] for name in ("start", "warmup", "refresh")}
        usual = others == {"start": "one", "warmup": "architectures", "refresh": "draw"}
        assert cell["seeds"] == (100 if usual else 40)


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
    other = made(best, {"1/12": 36, "1": 36 * 25}, 36, "pooling")
    cost = readings.tested(pd.concat([table, other], ignore_index=True), fitted)
    exact = cost.loc[["pooling"]].sort_index()
    for share, scale in (("1/12", 1), ("1", 5)):
        for bonus, factor in best.items():
            assert (exact.loc["pooling", share, bonus]["lambda"] == scale * factor).all()
    assert (exact["best quarter"] == exact["at best"]).all()
    assert (exact["cost"] == 0).all()
    assert exact["factor"].to_numpy() == pytest.approx(1)


def test_the_rule_is_fitted_to_the_committed_table():
    fitted = readings.rule(TABLE)
    assert set(fitted) == set(rule.RULE)
    for bonus, values in rule.RULE.items():
        assert values == pytest.approx(fitted[bonus], abs=5e-4)


def test_the_error_of_the_rule_is_told_of_each_kind_of_cell():
    error = readings.error(TABLE)
    assert list(error.index) == ["fitted", "other lengths", "other trees", "other benchmark"]
    assert list(error["cells"]) == [20, 20, 24, 30]
    tested = readings.tested(TABLE, rule.RULE).reset_index()
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
    names = ["pairs", "best quarter", "spread", "changed", "found"]
    assert changes.loc["start", names].tolist() == pytest.approx([len(table), 0.25, 0, 1, 2])
    assert changes.loc["bonus", ["best quarter", "changed"]].tolist() == pytest.approx([0, 0])


def test_the_map_has_a_number_in_each_cell(drawn):
    tables = [
        made({"sqrt": 0.02, "linear": 0.1}, {"1/12": 100, "1": 2500}, leaves, name)
        for name, leaves in (("macro", 3969), ("pooling", 36))
    ]
    figure = figures.readings(pd.concat(tables, ignore_index=True))
    numbers = [text for axis in figure.axes for text in axis.texts if text.get_text().isdigit()]
    assert len(numbers) == 2 * 2 * 2 * 2 * len(readings.LAMBDAS)

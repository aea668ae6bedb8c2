"""What goes beyond the paper, simulated: its cells, its table, and what the committed one says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hnas_kit import cli
from hnas_kit.samplers import Method
from hnas_kit.studies import beyond, imitation, readings, study
from hnas_kit.studies.rule import RULE


def test_every_length_bonus_lambda_and_prior_is_a_cell():
    found = pd.DataFrame(beyond.cells("macro"))
    assert list(found) == beyond.CELL
    assert len(found) == 3 * 2 * 2 * 2
    assert set(found["steps"]) == {980, 3920, 11_760}
    one = found[(found["steps"] == 11_760) & (found["bonus"] == "sqrt")]
    assert one["exploration"].tolist() == [0.5, 0.5, RULE["sqrt"], RULE["sqrt"]]
    assert one["prior"].tolist() == ["branches", "leaves"] * 2


@pytest.fixture
def short(monkeypatch):
    """Pooling alone, and short searches."""
    monkeypatch.setattr(readings, "settings", lambda: {"pooling": readings.pooling()})
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


ROOT = Path(__file__).resolve().parents[1]
TABLE = pd.read_csv(ROOT / "docs" / "results" / "beyond.csv")


def test_the_committed_table_has_every_cell():
    assert set(TABLE["seeds"]) == {beyond.SEEDS}
    assert set(study.LEARNED) < set(TABLE["tree"])
    sizes = TABLE.groupby("benchmark").size()
    assert sizes["macro"] == 24 * (7 + len(study.LEARNED) + 2 * len(study.LEARNED))
    assert sizes["pooling"] == 24 * (len(readings.TREES) + 2)

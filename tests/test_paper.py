"""The published figures: complete, and consistent with the published ground truth."""

from __future__ import annotations

import pytest
import yaml

from hnas_kit import ablations, benchmarks, grids, paper
from hnas_kit.runs import project_root
from hnas_kit.samplers import METHODS


@pytest.mark.parametrize("table", [paper.TABLE_1, paper.TABLE_2, paper.TABLE_3], ids=["1", "2", "3"])
def test_a_published_architecture_has_the_published_accuracy(table):
    """Ties the tables to the benchmark that the paper looked its accuracies up in."""
    truth = benchmarks.load("cifar10-pooling")
    for label, row in table.iterrows():
        assert truth.loc[row["architecture"], "accuracy"] == pytest.approx(row["best accuracy"], abs=0.02), (
            label
        )


def test_a_published_rank_is_that_of_the_architecture():
    truth = benchmarks.load("cifar10-pooling")
    for label, row in paper.TABLE_1.iterrows():
        assert abs(truth.loc[row["architecture"], "rank"] - row["best rank"]) <= 1, label


def test_a_published_row_has_a_point_in_the_sweep_of_its_table():
    published = {
        "table1": paper.TABLE_1,
        "table2": paper.TABLE_2,
        "table3": paper.TABLE_3,
        "table7": paper.TABLE_7,
        "trees": paper.ACCURACY_TREE,
    }
    for sweep, table in published.items():
        content = yaml.safe_load((project_root() / "params" / "sweeps" / f"{sweep}.yaml").read_text())
        labels = {label for label, _ in grids.points(content["grid"])}
        assert set(table.index) <= labels, sweep
    assert set(published) <= set(ablations.SWEEPS)


def test_methods_go_by_the_labels_of_table_1():
    assert set(paper.LABELS.values()) == set(paper.TABLE_1.index)
    assert set(paper.LABELS) <= set(METHODS)

"""The figure of what goes beyond the paper: two dots a tree, where the table has them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from common import texts

from hnas_kit import figures
from hnas_kit.files import read_csv
from hnas_kit.runs import provided
from hnas_kit.studies import beyond


def test_a_dot_is_a_row_of_the_table(drawn):
    table = read_csv(provided("docs/results/beyond.csv"))
    figure = figures.beyond(table)
    assert len(figure.axes) == 6
    titles = [axis.get_title() for axis in figure.axes]
    assert titles[0] == "Eq. 3, 1/12 of the paper's length"
    assert titles[5] == "Algorithm 1, the paper's length"
    rows = table.assign(label=beyond.labelled(table))
    rows = rows[(rows["benchmark"] == "macro") & (rows["exploration"] == 0.5) & (rows["bonus"] == "linear")]
    rows = rows[rows["share"] == "1"].set_index("label")
    axis = figure.axes[5]
    for line, prior in zip(axis.lines, ("branches", "leaves"), strict=True):
        found = rows.loc[rows["prior"] == prior, "found"]
        names = texts(figure.axes[0].get_yticklabels())
        assert dict(zip(names, line.get_xdata(), strict=True)) == found.to_dict()


def test_another_benchmark_and_lambda_are_drawn_as_well(drawn):
    table = read_csv(provided("docs/results/beyond.csv"))
    figure = figures.beyond(table, "pooling", 0.0)
    wide = beyond.summary(table, 0.0).loc["pooling"]
    assert isinstance(wide, pd.DataFrame)
    np.testing.assert_array_equal(figure.axes[0].lines[1].get_xdata(), wide["sqrt", "1/12", "leaves"])

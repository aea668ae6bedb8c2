"""The figures that the paper publishes, from ``paper.yaml``, to stand beside measured ones."""

from pathlib import Path

import pandas as pd

from hnas_kit.files import read_yaml

_values = read_yaml(Path(__file__).with_suffix(".yaml"))
SETUP: dict[str, dict] = _values.pop("SETUP")  # by search space; None: not said
TABLE_1, TABLE_2, TABLE_3, TABLE_4, TABLE_5, TABLE_7, ACCURACY_TREE = (
    pd.DataFrame.from_dict(table["rows"], orient="index", columns=table["columns"]).rename_axis("label")
    for _, table in sorted(_values.items(), key=lambda item: (item[0] == "ACCURACY_TREE", item[0]))
)
# by sweep and search space
TABLES = {
    "table1": {"pooling": TABLE_1, "macro": TABLE_4},
    "table2": {"pooling": TABLE_2},
    "table3": {"pooling": TABLE_3},
    "table7": {"pooling": TABLE_7, "macro": TABLE_7},
    "trees": {"pooling": ACCURACY_TREE},
}
# rows of Tables 1 and 4 that are no search: the network as it was designed, and the truly best one
DEFAULT, BEST = "Default Arch.", "Best"
# the other rows of Table 1, by the names that methods have in this kit
LABELS = {
    "uniform": "Uniform",
    "default": "MCTS",
    "boltzmann": "Boltzmann",
    "independent": "Independent",
    "mixture": "Mixture",
    "regularised": "MCTS + Reg",
    "learned": "MCTS + Learned",
}
# an architecture of Table 5 whose operations are published (Su et al., CVPR 2021)
MCT_NAS_C = "3,12,3,3,4,4,3,3,4,5,12,4,5,5,12,3,4,4,4,5,11"


def references(published: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """The rows ``DEFAULT`` and ``BEST``, as far as a published table has them, by a ground truth of ours.

    Args:
        published: a table of the paper, indexed by label.
        truth: see :func:`hnas_kit.benchmarks.load`.

    Returns:
        ``architecture``, the paper's for ``DEFAULT`` and the best of ``truth`` for ``BEST``; its ``accuracy``
        (%) and ``rank`` in ``truth``.
    """
    labels = [label for label in (DEFAULT, BEST) if label in published.index]
    best = truth["accuracy"].idxmax()
    archs = [best if label == BEST else published.loc[label, "architecture"] for label in labels]
    return truth.loc[archs, ["accuracy", "rank"]].assign(architecture=archs).set_index(pd.Index(labels))

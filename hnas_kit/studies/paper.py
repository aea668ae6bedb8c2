"""The figures that the paper publishes, to stand beside measured ones; accuracies in %, times in hours."""

from __future__ import annotations

import pandas as pd


def _table(columns: tuple[str, ...], rows: dict[str, tuple]) -> pd.DataFrame:
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(columns)).rename_axis("label")


# rows of Tables 1 and 4 that are no search: the network as it was designed, and the truly best one
DEFAULT, BEST = "Default Arch.", "Best"

# Pooling space, CIFAR-10; average over 3 runs
TABLE_1 = _table(
    ("architecture", "best accuracy", "average accuracy", "best rank", "average rank", "search time"),
    {
        DEFAULT: ("[4,3,3]", 90.52, None, 15, None, None),
        "Uniform": ("[4,3,3]", 90.52, "90.40 ± 0.08", 15, 17, 1.5),
        "MCTS": ("[4,4,2]", 90.85, "90.57 ± 0.21", 12, 15.3, 2),
        "Boltzmann": ("[3,5,2]", 90.88, "90.51 ± 0.12", 11, 15.3, 3),
        "Independent": ("[3,5,2]", 90.88, "90.86 ± 0.01", 11, 11.7, 2),
        "Mixture": ("[5,3,2]", 91.55, "91.36 ± 0.27", 4, 5, 6),
        "MCTS + Reg": ("[6,1,3]", 91.78, "91.42 ± 0.11", 3, 3.6, 2),
        "MCTS + Learned": ("[6,2,2]", 91.83, "91.72 ± 0.12", 2, 3, 2.2),
        BEST: ("[7,1,2]", 92.01, None, 1, None, None),
    },
)

# NAS-Bench-Macro, CIFAR-10; ranks of 3,969
TABLE_4 = _table(
    ("architecture", "best accuracy", "average accuracy", "best rank", "average rank"),
    {
        "Boltzmann": ("12220111", 92.39, "92.30 ± 0.10", 406, 453),
        "Independent": ("22120211", 92.44, "92.29 ± 0.21", 347, 412),
        "MCTS": ("22221210", 92.74, "92.51 ± 0.18", 80, 246),
        "Uniform": ("21222220", 92.79, "92.58 ± 0.20", 56, 197),
        "MCTS + Reg": ("12222222", 92.92, "92.67 ± 0.18", 21, 112),
        "MCTS + Learned": ("22212220", 93.13, "92.97 ± 0.12", 1, 6),
        BEST: ("22212220", 93.13, None, 1, None),
    },
)

# ImageNet; above the line of other papers, below the paper's own; MACs and parameters in millions
TABLE_5 = _table(
    ("top-1", "top-5", "MACs (M)", "parameters (M)", "GPU days"),
    {
        "MobileNetV2 1.0": (72.0, 91.0, 300, 3.4, "-"),
        "MnasNet-A1": (75.2, 92.5, 312, 3.9, "288"),
        "SCARLET-C": (75.6, 92.6, 280, 6.0, "10"),
        "GreedyNAS-C": (76.2, 92.5, 284, 4.7, "7"),
        "MCT-NAS-C": (76.3, 92.6, 280, 4.9, "12"),
        "Uniform": (72.2, 89.7, 277, 4.6, "~ 5"),
        "Boltzmann": (73.1, 89.9, 278, 4.7, "~ 5"),
        "MCTS + Reg": (76.0, 92.6, 280, 4.9, "> 12"),
        "MCTS + Learned": (76.3, 92.6, 280, 4.9, "~ 7"),
    },
)

# an architecture of Table 5 whose operations are published (Su et al., CVPR 2021)
MCT_NAS_C = "3,12,3,3,4,4,3,3,4,5,12,4,5,5,12,3,4,4,4,5,11"

# what the paper sets (Appendix B.1), by search space; None: not said
SETUP = {
    "pooling": {
        "data": "cifar10",
        "width of the network": 16,
        "epochs of pre-training": 300,
        "batch size of pre-training": 512,
        "learning rate of pre-training": 0.1,
        "weight decay of pre-training": 0.001,
        "epochs of search": 400,
        "batch size of search": 256,
        "learning rate of search": 0.05,
        "share of uniform sampling": 0.4,
        "share of warm-up": 0.25,
        "beta": 0.95,
        "lambda": 0.5,
        "T": "0.02 to 0.0025",
        "final choice": "path",
        "measure": "kl",
        "linkage": "ward",
    },
    "macro": {
        "data": "cifar10",
        "width of the network": 32,
        "epochs of pre-training": 80,
        "batch size of pre-training": 512,
        "learning rate of pre-training": 0.05,
        "weight decay of pre-training": None,
        "epochs of search": 120,
        "batch size of search": 256,
        "learning rate of search": None,
        "share of uniform sampling": 0.4,
        "share of warm-up": 0.25,
        "beta": 0.95,
        "lambda": 0.5,
        "T": "from 0.01",  # its end is not said
        "final choice": "samples",
        "measure": "kl",
        "linkage": "ward",
    },
}
# the same by the names that methods have in this kit
LABELS = {
    "uniform": "Uniform",
    "default": "MCTS",
    "boltzmann": "Boltzmann",
    "independent": "Independent",
    "mixture": "Mixture",
    "regularised": "MCTS + Reg",
    "learned": "MCTS + Learned",
}

# distance measures, Pooling space
TABLE_2 = _table(
    ("architecture", "best accuracy", "average accuracy"),
    {
        "cross-entropy": ("[5,3,2]", 91.55, "91.20 ± 0.23"),
        "L2": ("[6,2,2]", 91.83, "91.52 ± 0.36"),
        "KL": ("[6,2,2]", 91.83, "91.72 ± 0.12"),
    },
)

# encodings, Pooling space; weighted: 1/2^l
TABLE_3 = _table(
    ("architecture", "best accuracy", "average accuracy"),
    {
        "vector": ("[2,5,3]", 90.89, "90.63 ± 0.68"),
        "vector, weighted": ("[3,4,3]", 90.92, "90.81 ± 0.15"),
        "one-hot": ("[5,2,3]", 90.96, "90.60 ± 0.22"),
        "one-hot, weighted": ("[5,1,4]", 91.05, "90.78 ± 0.21"),
    },
)

# Sec. 5.2, "Tree partitioning with accuracy", Pooling space
ACCURACY_TREE = _table(("best accuracy", "average accuracy"), {"accuracy tree": (90.85, "90.01")})

# rewards; the paper's are on NAS-Bench-Macro, so its ranks are of 3,969
TABLE_7 = _table(
    ("architecture", "best accuracy", "best rank", "average rank"),
    {
        "MCTS + Reg, relative training loss": ("22121222", 92.74, 85, 97),
        "MCTS + Learned, relative training loss": ("22122220", 92.78, 61, 67),
        "MCTS + Reg, absolute training accuracy": ("22121210", 92.55, 227, 278),
        "MCTS + Learned, absolute training accuracy": ("22110222", 92.56, 209, 301),
        "MCTS + Reg, relative validation loss": ("22222022", 92.71, 98, 120),
        "MCTS + Learned, relative validation loss": ("21211220", 92.76, 71, 95),
        "MCTS + Reg, relative validation accuracy": ("12222222", 92.92, 21, 112),
        "MCTS + Learned, relative validation accuracy": ("22212200", 92.94, 19, 67),
        "MCTS + Reg, absolute validation accuracy": ("22221200", 92.86, 34, 54),
        "MCTS + Learned, absolute validation accuracy": ("22212220", 93.13, 1, 6),
    },
)

# by sweep and search space
TABLES = {
    "table1": {"pooling": TABLE_1, "macro": TABLE_4},
    "table2": {"pooling": TABLE_2},
    "table3": {"pooling": TABLE_3},
    "table7": {"pooling": TABLE_7, "macro": TABLE_7},
    "trees": {"pooling": ACCURACY_TREE},
}


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

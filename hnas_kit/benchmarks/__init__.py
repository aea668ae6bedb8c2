"""Ground truth: every architecture trained alone, as tables of the package or made here."""

from hnas_kit.benchmarks.ground_truth import (
    PROTOCOLS,
    Protocol,
    additive,
    for_dataset,
    judge,
    load,
    needed,
    per_seed,
)
from hnas_kit.benchmarks.making import check, make, train_alone

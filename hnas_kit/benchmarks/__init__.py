"""Ground truth: every architecture trained alone, as tables of the package or made here."""

from hnas_kit.benchmarks.ground_truth import (
    PROTOCOLS,
    Protocol,
    Record,
    additive,
    folder_of,
    for_dataset,
    judge,
    load,
    needed,
    own,
    own_table,
    per_seed,
    protocol_of,
    ranks,
    record,
    stem,
    version,
)
from hnas_kit.benchmarks.making import check, keep_other, make, make_protocol, retrained, train_alone
from hnas_kit.benchmarks.supernets import Estimate, supernet

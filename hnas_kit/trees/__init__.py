"""Trees over architectures, their builders, and what they say of a value."""

from hnas_kit.trees.builders import LINKAGES, accuracy, default, flat, from_linkage, learned, random
from hnas_kit.trees.tree import (
    ArchTree,
    cophenetic_correlation,
    early_variance,
    load,
    moved,
    origins,
    variance_explained,
)

"""Weight-sharing networks of the search spaces, and what they are built of."""

from hnas_kit.supernets.networks import (
    SKELETONS,
    Supernet,
    default_width,
    extract,
    make_supernet,
    mixture,
    prune,
    smallest_features,
)

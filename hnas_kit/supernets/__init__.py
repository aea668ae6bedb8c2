"""Weight-sharing networks of the search spaces, and what they are built of."""

from hnas_kit.supernets.networks import (
    Supernet,
    extract,
    make_supernet,
    mixture,
    prune,
    skeleton,
    smallest_features,
)

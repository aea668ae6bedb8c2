"""Every figure of the notebooks; each function returns a Matplotlib figure."""

from hnas_kit.figures.ablations import (
    accuracy_over_steps,
    complexity,
    finished,
    intervals,
    pretraining,
    ranks,
    simulated,
    tree_quality,
)
from hnas_kit.figures.mobile import draws_and_rewards, macs_histogram, mobile_architectures, operation_shares
from hnas_kit.figures.play import toy_search, tree_explorer
from hnas_kit.figures.searches import bonuses, search_curves, uct_terms, visits_by_rank
from hnas_kit.figures.studies import beyond, readings, trees_compared
from hnas_kit.figures.style import use_style
from hnas_kit.figures.supernets import (
    architectures,
    disagreement,
    distance_matrices,
    images,
    loss_curve,
    ordered_distances,
    ranking,
)
from hnas_kit.figures.toy import factorisations, toy_search_still, two_trees
from hnas_kit.figures.trees import dendrogram, groups, side_by_side, trees_over_time, visits_over_time

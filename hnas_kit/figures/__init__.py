"""Every figure of the notebooks; each function returns a Matplotlib figure."""

from hnas_kit.figures.ablations import (
    accuracy_over_steps,
    complexity,
    finished,
    pretraining,
    ranks,
    simulated,
    tree_quality,
)
from hnas_kit.figures.mobile import draws_and_rewards, macs_histogram, mobile_architectures, operation_shares
from hnas_kit.figures.readings import readings
from hnas_kit.figures.searches import bonuses, search_curves, uct_terms, visits_by_rank
from hnas_kit.figures.style import use_style
from hnas_kit.figures.supernets import architectures, distance_matrices, images, loss_curve, ranking
from hnas_kit.figures.toy import factorisations, two_trees
from hnas_kit.figures.trees import dendrogram, side_by_side, variance_levels, visits_over_time

"""The rule for lambda, as the study of readings gives it."""

import math

# for each bonus (a, b) of the largest lambda = exp(a + b ln(steps / leaves)) that costs little: fitted by
# hnas_kit.studies.readings.rule to docs/results/readings.csv
RULE = {"sqrt": (-2.987, -0.259), "linear": (-1.659, 0.0)}


def advised(fitted: dict[str, tuple[float, float]], bonus: str, steps: int, leaves: int) -> float:
    """The lambda that a rule gives for a search of so many steps on a tree of so many leaves."""
    a, b = fitted[bonus]
    return math.exp(a + b * math.log(steps / leaves))


def within(exploration: float, bonus: str, steps: int, leaves: int) -> str:
    """Whether a lambda is within ``RULE`` for a search of that length, tree and bonus, in words."""
    limit = advised(RULE, bonus, steps, leaves)
    return (
        f"Lambda {exploration:g} is {'within' if exploration <= limit else 'above'} the rule's {limit:.2g} "
        f"(bonus {bonus}, {steps:,} steps, a tree of {leaves:,} architectures)."
    )

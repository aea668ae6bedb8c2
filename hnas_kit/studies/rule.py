"""The rule for lambda, as the study of readings gives it."""

# for each bonus the largest lambda that costs little, on average over trees and lengths: fitted by
# hnas_kit.studies.readings.rule to docs/results/readings.csv
RULE = {"sqrt": 0.039, "linear": 0.19}


def within(exploration: float, bonus: str) -> str:
    """Whether a lambda is within ``RULE`` for that bonus, in words."""
    limit = RULE[bonus]
    where = "within" if exploration <= limit else "above"
    return f"Lambda {exploration:g} is {where} the rule's {limit:g} (bonus {bonus})."

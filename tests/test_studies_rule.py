"""The rule for lambda."""

from __future__ import annotations

import pytest

from hnas_kit.studies import rule


@pytest.mark.parametrize("bonus", ["sqrt", "linear"])
def test_a_lambda_is_within_the_rule_up_to_its_value(bonus):
    limit = rule.RULE[bonus]
    assert rule.within(limit, bonus) == f"Lambda {limit} is within the rule's {limit} (bonus {bonus})."
    assert rule.within(0.5, bonus) == f"Lambda 0.5 is above the rule's {limit} (bonus {bonus})."

"""The rule for lambda."""

from __future__ import annotations

import numpy as np
import pytest

from hnas_kit.studies import rule


def test_a_lambda_is_within_the_rule_up_to_its_value():
    a, b = rule.RULE["sqrt"]
    limit = np.exp(a) * 10**b
    assert rule.advised(rule.RULE, "sqrt", 360, 36) == pytest.approx(limit)
    assert rule.within(limit, "sqrt", 360, 36).startswith(
        f"Lambda {limit:g} is within the rule's {limit:.2g}"
    )
    assert "is above" in rule.within(1.001 * limit, "sqrt", 360, 36)

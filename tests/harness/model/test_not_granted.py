"""An attack that is not granted what it needs is named among what was not tested, and never vanishes."""

from __future__ import annotations

from testbed.attacks.registry import not_granted
from testbed.core import Threat
from testbed.harness.release.evaluate import recipient


def test_what_an_audit_cannot_grant_is_told_with_what_it_lacks() -> None:
    lines = not_granted("model", Threat("recipient", knows=frozenset({"target_records"}), access="score"))
    assert "the attack rmia, which needs: recipe" in lines
    assert "the attack population, which needs: auxiliary" in lines
    assert not any("prediction_loss" in line for line in lines)


def test_a_released_table_names_the_attacks_that_need_the_generator() -> None:
    untested = recipient().not_tested
    assert "the attack shadow_ratio, which needs: recipe" in untested
    assert not any("marginal_guess" in line for line in untested)

"""Where a decision or a figure changes: at the limit itself, at one guess, at a tie."""

from __future__ import annotations

import numpy as np
import pytest

from testbed.findings import policy, remedies, replicates, rounded, statistics
from testbed.findings.assemble import size_band
from testbed.findings.numbers import interval
from testbed.findings.policy import DECLARED, ENOUGH_CONTROLS
from testbed.findings.schema import Estimate, Finding
from testbed.findings.statistics import Interval
from testbed.findings.validity import FEW_GUESSES
from testbed.findings.wording import plain_words
from tests.findings.test_policy import LIMITS, finding


def estimate(value: float, low: float, high: float, fpr: float | None = None) -> Estimate:
    return Estimate(
        metric="rate", value=value, low=low, high=high, level=0.95, method="wilson", unit="record", n=100, fpr=fpr
    )


def decided(made: Finding, **bounds: float) -> str:
    assert isinstance(made.excess, Estimate)
    return policy.decide([made.model_copy(update={"excess": made.excess.model_copy(update=bounds)})], LIMITS)[1].verdict


def test_the_bounds_decide_and_not_the_value() -> None:
    near = finding(100, 20)
    assert isinstance(near.excess, Estimate)
    assert near.excess.value < LIMITS.limits["linkability"] < near.excess.high
    assert policy.decide([near], LIMITS)[1].verdict == "review"
    above = finding(120, 20)
    assert isinstance(above.excess, Estimate)
    assert above.excess.low < LIMITS.limits["linkability"] < above.excess.value
    assert policy.decide([above], LIMITS)[1].verdict == "review"


def test_at_the_limit_itself_nothing_is_sure() -> None:
    assert decided(finding(60, 20), value=0.04, low=0.03, high=0.09) == "review"
    assert decided(finding(60, 20), value=0.04, low=0.03, high=0.0899) == "pass"
    assert decided(finding(300, 20), value=0.28, low=0.09, high=0.3) == "review"
    assert decided(finding(300, 20), value=0.28, low=0.0901, high=0.3) == "fail"


def test_a_positive_control_counts_by_its_bound_or_by_half_of_what_is_left_to_learn() -> None:
    made = finding(20, 20).model_copy(update={"control": estimate(0, 0, 0.1)})
    for value, low, could in ((0.3, 0.1, True), (0.3, 0.09, False), (0.5, 0.05, True), (0.49, 0.05, False)):
        strong = made.model_copy(update={"positive_control": estimate(value, low, 0.9)})
        assert policy._could_fail(strong, 0.09) is could


def test_the_bound_of_many_alarms_is_the_lower_of_two() -> None:
    made = finding(60, 20)
    assert isinstance(made.excess, Estimate)
    again = statistics.excess(
        policy._interval(made.measure),  # type: ignore[arg-type]
        policy._interval(made.control),  # type: ignore[arg-type]
        level=1 - 2 * 0.05 / 20,
    ).low
    wide = made.excess.model_copy(update={"low": 0.0399, "high": 0.0401})  # its own bound would be the higher one
    assert policy._least(made, wide, 20) == pytest.approx(again)
    assert policy._least(made, made.excess, 20) <= again < made.excess.low


def test_an_undecided_membership_is_told_with_its_false_positive_rate() -> None:
    made = finding(60, 20)
    run = made.attack.model_copy(update={"name": DECLARED})
    update = {"risk": "membership", "primary": False, "attack": run, "measure": estimate(0.06, 0.04, 0.08, fpr=0.01)}
    limits = policy.Policy("t", "0" * 64, {"membership": 0.04, "linkability": 0.09})
    (reason,) = policy._undecided([made.model_copy(update=update)], limits)
    assert "membership at a false-positive rate of 1 %: could not be decided" in reason.text
    assert f"fewer than {ENOUGH_CONTROLS:,} people" in reason.text
    assert "the limit of 4 points" in reason.text


def test_membership_is_told_by_its_false_alarms() -> None:
    def said(fpr: float | None) -> str:
        cells = {"measure": estimate(0.2, 0.1, 0.3, fpr), "control": estimate(0.01, 0, 0.05)}
        return plain_words("membership", None, cells, estimate(0.19, 0.1, 0.3))

    assert said(0.01).startswith("When the attacker accepts about 1 false alarm in 100, 20 % of members")
    assert said(0.001).startswith("When the attacker accepts about 0.1 false alarms in 100,")
    assert said(None).startswith("When the attacker answers yes or no, 20 % of members")


def test_figures_at_their_edges() -> None:
    assert [rounded.four_digits(v) for v in (1.23456, 0.000123456, -98765.4)] == [1.235, 0.0001235, -98770]
    assert interval(estimate(0.5, 0.4, 0.6)) == "50.0 % (40.0 to 60.0), n = 100"
    assert size_band(99_999) == "fewer than 100,000 rows"
    assert size_band(100_000) == "fewer than 1,000,000 rows"
    assert size_band(1_000_000) == "1,000,000 rows or more"
    assert remedies.People() == (0, 0, 0)
    assert (2 * ENOUGH_CONTROLS, 2 * FEW_GUESSES) == remedies.ENOUGH_IN_ALL


def test_an_excess_has_the_smaller_arms_guesses() -> None:
    assert statistics.excess(statistics.wilson(5, 10), statistics.wilson(50, 100)).n == 10
    assert statistics.excess(statistics.wilson(50, 100), statistics.wilson(5, 10)).n == 10


def test_a_design_effect_divides_the_guesses_and_leaves_one() -> None:
    rate = statistics.wilson(30, 100)
    assert statistics.widened(rate, 2.0).n == 50
    assert statistics.widened(rate, 2.0).high == pytest.approx(statistics.wilson(15, 50).high)
    assert statistics.widened(rate, 1000.0).n == 1


def test_ties_are_accused_as_often_as_fills_the_rate() -> None:
    controls = np.array([0.0, 0.0, 0.0, 1.0])
    accused = statistics.accuser(0.5, controls)
    assert accused(controls).tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1.0])
    assert accused(controls).mean() == pytest.approx(0.5)
    assert accused(np.array([-1.0, 2.0])).tolist() == [0.0, 1.0]


def test_a_roc_has_no_more_points_than_asked_for() -> None:
    scores = np.linspace(0, 1, 20_001)
    x, y = statistics.roc(scores + 0.1, scores, points=40)
    assert 35 <= len(x) == len(y) <= 39
    assert x == sorted(x)


def test_equal_runs_are_taken_as_they_are_and_close_ones_no_surer_than_their_own_guesses() -> None:
    runs = [estimate(0.5, 0.3, 0.7)] * 4
    own = 0.2 / 2  # four runs halve the half width of one
    close = Interval(0.5, 0.49, 0.51, 0.95, "t", 4)
    made = replicates._pooled(runs, close)
    assert (made.low, made.high) == pytest.approx((0.5 - own, 0.5 + own))
    equal = Interval(0.5, 0.5, 0.5, 0.95, "t", 4)
    assert replicates._pooled(runs, equal) == equal
    wide = Interval(0.5, 0.1, 0.9, 0.95, "t", 4)
    assert replicates._pooled(runs, wide) == wide
    one_sided = Interval(0.5, 0.1, 0.51, 0.95, "t", 4)
    assert replicates._pooled(runs, one_sided).high == pytest.approx(0.6)

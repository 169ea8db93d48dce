"""Numbers against hand-worked cases, textbooks and independent libraries."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from testbed import judge
from testbed.core import Scores
from testbed.findings import measures, statistics
from testbed.findings.plan import Plan
from testbed.findings.schema import Estimate
from testbed.judge.chance import unique_match_probability


def test_wilson_equals_scipys() -> None:
    for successes, n in [(0, 10), (3, 20), (20, 20), (250, 500)]:
        ours = statistics.wilson(successes, n)
        theirs = scipy_stats.binomtest(successes, n).proportion_ci(0.95, "wilson")
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
        assert ours.value == successes / n


def test_clopper_pearson_equals_scipys_one_sided() -> None:
    low, high = statistics.clopper_pearson(7, 7)
    assert low == pytest.approx(0.05 ** (1 / 7))  # all right of seven: p^7 = .05
    assert high == 1.0
    theirs = scipy_stats.binomtest(3, 50).proportion_ci(0.90, "exact")
    assert statistics.clopper_pearson(3, 50) == pytest.approx((theirs.low, theirs.high))


def test_newcombe_reproduces_the_published_example() -> None:
    # Newcombe 1998, table II: 56/70 and 48/80, method 10: 0.0524 to 0.3339.
    found = statistics.excess(statistics.wilson(56, 70), statistics.wilson(48, 80), level=0.95)
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_excess_is_not_clipped_at_zero() -> None:
    assert statistics.excess(statistics.wilson(5, 100), statistics.wilson(20, 100)).value == pytest.approx(-0.15)


def test_excess_covers_the_truth_at_the_stated_level() -> None:
    rng = np.random.default_rng(5)
    below = above = 0
    for _ in range(2000):
        a, c = rng.binomial(500, 0.25), rng.binomial(500, 0.2)
        found = statistics.excess(statistics.wilson(a, 500), statistics.wilson(c, 500))
        below += found.high < 0.05
        above += found.low > 0.05
    assert max(below, above) / 2000 < 0.065  # each bound is one-sided 95 %


def test_residual_scales_by_what_was_left_to_learn() -> None:
    over = statistics.excess(statistics.wilson(60, 100), statistics.wilson(20, 100))
    scaled = statistics.residual(over, 0.2)
    assert scaled is not None
    assert scaled.value == pytest.approx(0.5)
    assert statistics.residual(over, 1.0) is None


def test_clusters_can_only_shrink_n() -> None:
    rng = np.random.default_rng(0)
    independent = rng.integers(0, 2, 400).astype(float)
    assert statistics.effective_size(independent, np.arange(400)) == 400
    copied = np.repeat(rng.integers(0, 2, 100).astype(float), 4)
    assert statistics.effective_size(copied, np.repeat(np.arange(100), 4)) == pytest.approx(100, abs=3)
    assert statistics.effective_size(np.ones(40), np.repeat(np.arange(10), 4)) == 10


def test_auc_counts_ties_half_and_equals_sklearns() -> None:
    rng = np.random.default_rng(1)
    for levels in (2, 5, 1000):
        positive, negative = rng.integers(0, levels, 200) + (levels > 2), rng.integers(0, levels, 300)
        labels = np.r_[np.ones(200), np.zeros(300)]
        assert statistics.auc(positive, negative).value == pytest.approx(
            roc_auc_score(labels, np.r_[positive, negative])
        )


def test_auc_of_binary_scores_that_a_peer_gets_wrong() -> None:
    # 70 % against 30 % ones: the right value is .7; a peer that keeps the first of each tie reports .1.
    positive, negative = np.repeat([1.0, 0.0], [70, 30]), np.repeat([1.0, 0.0], [30, 70])
    assert statistics.auc(positive, negative).value == pytest.approx(0.7)


def test_constant_scores_are_worth_nothing_and_say_so() -> None:
    found = statistics.auc(np.zeros(50), np.zeros(50))
    assert found.value == 0.5
    assert found.low < 0.5 < found.high


def test_perfect_auc_has_a_bound_below_one() -> None:
    found = statistics.auc(np.ones(30), np.zeros(30))
    assert found.value == 1.0
    assert found.low == pytest.approx(0.05 ** (1 / 30))


def test_auc_interval_covers() -> None:
    rng = np.random.default_rng(2)
    truth = float(scipy_stats.norm.cdf(1 / math.sqrt(2)))
    inside = 0
    for _ in range(500):
        found = statistics.auc(rng.normal(1, 1, 60), rng.normal(0, 1, 60))
        inside += found.low <= truth <= found.high
    assert inside / 500 > 0.92


def test_the_bounds_of_a_strong_memberships_excess_hold_for_other_controls() -> None:
    """Without the threshold's own error the lower bound was right in 69 of 100 draws."""
    plan = Plan(
        rule="TB-MEMBERSHIP-001",
        risk="membership",
        attack="normal",
        metric="tpr_at_fpr",
        unit="record",
        fpr=0.01,
        primary=True,
    )
    truth = float(norm.sf(norm.isf(0.01) - 1)) - 0.01
    used = np.arange(2000) < 1000
    low = high = 0
    for draw in range(200):
        scores = np.random.default_rng(draw).normal(size=2000) + used
        excess = measures.membership(plan, judge.scores(Scores(scores), used, "true")).excess
        assert isinstance(excess, Estimate)
        low += excess.low <= truth
        high += excess.high >= truth
    assert min(low, high) >= 184  # 95 % of 200, less two standard deviations


def test_threshold_lets_through_at_most_the_rate_even_with_ties() -> None:
    scores = np.array([5.0, 4.0, 4.0, 3.0, 2.0, 1.0, 1.0, 1.0, 0.0, 0.0])
    for fpr in (0.0, 0.1, 0.2, 0.35, 0.9):
        assert (scores > statistics.threshold_at(fpr, scores)).mean() <= fpr + 1e-12
    assert statistics.threshold_at(0.2, scores) == 4.0  # two of ten may pass, but the tie at 4 lets only one


@pytest.mark.parametrize(("controls", "fpr"), [(99, None), (100, 0.1), (500, 0.05), (1000, 0.01), (10_000, 0.001)])
def test_a_rate_is_only_shown_where_ten_false_positives_are_expected(controls: int, fpr: float | None) -> None:
    assert statistics.resolvable_fpr(controls) == fpr


def test_roc_is_thinned_and_monotone() -> None:
    rng = np.random.default_rng(0)
    x, y = statistics.roc(rng.normal(1, 1, 5000), rng.normal(0, 1, 5000))
    assert len(x) == len(y) <= 60
    assert (np.diff(x) >= 0).all()
    assert (np.diff(y) >= 0).all()


def test_unique_match_probability_by_enumeration() -> None:
    # 3 matching rows of 5; samples of 2: exactly one match in C(3,1) C(2,1) / C(5,2) = 6/10.
    assert unique_match_probability(np.array([0, 1, 3]), 5, 2) == pytest.approx([0, 2 / 5, 6 / 10])
    # At equal sizes it is the indicator of exactly one match.
    assert unique_match_probability(np.array([0, 1, 2, 5]), 5, 5) == pytest.approx([0, 1, 0, 0])


def test_labels_by_chance_by_enumeration() -> None:
    # Two of four people reproduced, both members of two: 1 of C(4,2) = 6 ways.
    assert statistics.labels_by_chance(2, 2, 2, 2) == pytest.approx(1 / 6)
    assert statistics.labels_by_chance(0, 0, 5, 5) == 1.0


def test_holm_by_hand() -> None:
    assert statistics.holm(np.array([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.06, 0.06])


def test_ppv_of_the_wording_example() -> None:
    assert statistics.ppv(0.092, 0.01, 0.01) == pytest.approx(0.085, abs=0.0005)
    assert statistics.ppv(0.0, 0.0, 0.5) is None


def test_t_interval_of_five_runs() -> None:
    found = statistics.t_interval(np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    theirs = scipy_stats.t.interval(0.95, 4, loc=3, scale=math.sqrt(2.5 / 5))
    assert (found.low, found.high) == pytest.approx(theirs)


def test_the_operating_characteristic_is_what_simulation_shows() -> None:
    rng = np.random.default_rng(1)
    over = statistics.excess(statistics.wilson(145, 500), statistics.wilson(100, 500))
    passes, fails = statistics.operating(over, 0.09)
    verdicts = {}
    for true in (passes, fails):
        made = [
            statistics.excess(
                statistics.wilson(rng.binomial(500, 0.2 + true), 500), statistics.wilson(rng.binomial(500, 0.2), 500)
            )
            for _ in range(1000)
        ]
        verdicts[true] = (np.mean([m.high < 0.09 for m in made]), np.mean([m.low > 0.09 for m in made]))
    assert verdicts[passes][0] == pytest.approx(0.8, abs=0.06)
    assert verdicts[fails][1] == pytest.approx(0.8, abs=0.06)


@pytest.mark.parametrize("epsilon", [0.0, 1.0, 3.0])
def test_the_bound_of_one_run_holds_about_randomised_response(epsilon: float) -> None:
    """The mechanism for which it is exact: each guess is right with the same chance; coverage at 95 %."""
    rng = np.random.default_rng(3)
    right = rng.binomial(100, 1 / (1 + math.exp(-epsilon)), 2000)
    bounds = {int(v): statistics.epsilon_one_run(int(v), 100, 400).value for v in np.unique(right)}
    held = np.mean([bounds[int(v)] <= epsilon + 1e-9 for v in right])
    assert held >= 0.95 - 2 * math.sqrt(0.05 * 0.95 / 2000)


def test_the_ceilings_of_one_run_are_those_measured_beforehand() -> None:
    ceilings = {10: 1.05, 30: 2.25, 100: 3.49, 400: 4.89, 1000: 5.81, 5000: 7.42}
    for guesses, expected in ceilings.items():
        assert statistics.epsilon_one_run(guesses, guesses, guesses).value == pytest.approx(expected, abs=0.01)


def test_delta_only_lowers_the_bound_and_the_pick_of_many_is_not_one() -> None:
    plain = statistics.epsilon_one_run(90, 100, 1000).value
    assert 0 < statistics.epsilon_one_run(90, 100, 1000, 1e-5).value < plain
    assert statistics.epsilon_one_run(50, 100, 1000).value == 0
    with pytest.raises(ValueError, match="right <= guesses"):
        statistics.epsilon_one_run(11, 10, 100)

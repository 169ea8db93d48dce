# pyright: strict, reportMissingTypeStubs=false
"""Lower bounds on the epsilon of differential privacy, computed from the success of attacks."""

from __future__ import annotations

import math

import numpy as np

from testbed.core import Array
from testbed.findings.statistics.intervals import Interval, clopper_pearson, scipy_stats


def epsilon_lower(
    right: int, n_with: int, wrong: int, n_without: int, level: float = 0.95, delta: float = 0.0
) -> Interval:
    """Lower bound on epsilon from a test of 'was the record in?' over independent runs (Kairouz et al. 2015).

    The test said yes in `right` of `n_with` runs with the record and in `wrong` of `n_without` runs without it. An
    (epsilon, delta) private mechanism has TPR <= exp(epsilon) FPR + delta. Both rates enter by exact one-sided bounds
    at (1 + level) / 2, so that the result holds at `level`. It is valid only if the test was fixed on other runs. The
    interval runs from the bound to the plain estimate; its value is the bound.
    """
    side = (1 + level) / 2
    tpr, _ = clopper_pearson(right, n_with, side)
    _, fpr = clopper_pearson(wrong, n_without, side)
    bound = max(0.0, math.log((tpr - delta) / fpr)) if tpr > delta else 0.0
    plain = math.log(max(right / n_with - delta, 1e-9) / max(wrong / n_without, 0.5 / n_without))
    value = max(bound, plain, 0.0)
    return Interval(
        bound, bound, max(bound, value), level, "clopper-pearson, test fixed on other runs", n_with + n_without
    )


def epsilon_ceiling(n_with: int, n_without: int, level: float = 0.95) -> float:
    """The largest lower bound that this many runs can show: the test is right in every one of them."""
    return epsilon_lower(n_with, n_with, 0, n_without, level).value


def epsilon_one_run(right: int, guesses: int, canaries: int, delta: float = 0.0, level: float = 0.95) -> Interval:
    """Lower bound on epsilon from one run, in which a fair coin decided on each canary (Steinke et al. 2023).

    The auditor guesses for `guesses` of the `canaries` whether they were in; `right` of these guesses are correct. The
    number of guesses must be fixed beforehand. For an (epsilon, delta) private mechanism `right` is stochastically
    smaller than a binomial with rate e^epsilon / (1 + e^epsilon), except for a term in delta (theorem 5.2). The
    interval is the bound alone. Raises `ValueError` unless right <= guesses <= canaries and guesses > 0.
    """
    if not 0 <= right <= guesses <= canaries or guesses == 0:
        raise ValueError(f"right <= guesses <= canaries must hold. Got {right}, {guesses}, {canaries} instead.")

    def chance(epsilon: float) -> float:
        rate = 1 / (1 + math.exp(-epsilon))
        beyond = float(scipy_stats.binom.sf(right - 1, guesses, rate))
        if delta == 0:
            return beyond
        below = np.cumsum(scipy_stats.binom.pmf(np.arange(right - 1, -1, -1), guesses, rate))
        worst = float((below / np.arange(1, right + 1)).max()) if right else 0.0
        return min(1.0, beyond + 2 * canaries * delta * worst)

    low, high = 0.0, 50.0
    if chance(0.0) > 1 - level:
        high = 0.0
    for _ in range(60 if high else 0):
        middle = (low + high) / 2
        low, high = (middle, high) if chance(middle) <= 1 - level else (low, middle)
    return Interval(low, low, low, level, "one run, guesses fixed beforehand", guesses)


def epsilon_by_rank(log_p: Array, delta: float = 0.0, level: float = 0.95) -> Interval:
    """Lower bound on epsilon from canaries that were drawn at random, each for a training of its own.

    `log_p` holds, for each canary, the logarithm of p: the share of all canaries that might have been drawn which fit
    what was seen as well as the one that was. A canary that was not drawn has a p of at most a with probability a. Each
    canary is a neighbour of each other one, so for an (epsilon, delta) private mechanism the one that was drawn has a p
    of at most a with probability exp(epsilon) a + delta at most. The quarter of smallest p is thus limited by the beta
    distribution of an order statistic. The interval is the bound alone. Raises `ValueError` without a canary.
    """
    n = len(log_p)
    if not n:
        raise ValueError("a bound needs a canary")
    place = -(-n // 4)
    least, _ = clopper_pearson(place, n, level)
    value = max(0.0, math.log(least - delta) - float(np.sort(log_p)[place - 1])) if least > delta else 0.0
    return Interval(value, value, value, level, "rank of a random canary, order statistic fixed beforehand", n)


def log_tail_of_t(t: float, degrees: int) -> float:
    """The logarithm of the chance that a Student t variable is at least `t`; an upper bound where it underflows."""
    exact = float(scipy_stats.t.sf(t, degrees))
    if exact > 1e-290:
        return math.log(exact)
    # The tail is half of I_x(a, 1/2) with x = degrees / (degrees + t^2), at most x^a / (a B(a, 1/2) sqrt(1 - x)).
    a, log_x = degrees / 2, -math.log1p(t * t / degrees)
    beta = math.lgamma(a) + math.lgamma(0.5) - math.lgamma(a + 0.5)
    return a * log_x - math.log(2 * a) - beta - 0.5 * math.log1p(-math.exp(log_x))

# pyright: strict, reportMissingTypeStubs=false
"""Lower bounds on the epsilon of differential privacy, from the success of attacks."""

from __future__ import annotations

import math

import numpy as np

from testbed.findings.statistics.intervals import Interval, clopper_pearson, scipy_stats


def epsilon_lower(
    right: int, n_with: int, wrong: int, n_without: int, level: float = 0.95, delta: float = 0.0
) -> Interval:
    """A lower bound on epsilon from a test of 'was the record in?' over independent runs (Kairouz et al. 2015).

    `right` of `n_with` runs with the record were said to hold it, and `wrong` of `n_without` runs without. For an
    (epsilon, delta) private mechanism TPR <= exp(epsilon) FPR + delta; both rates enter by exact one-sided bounds at
    (1 + level) / 2, so that together they hold at `level`. Valid only where the test was fixed on other runs.
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
    """The largest lower bound that so many runs can show: every one told rightly."""
    return epsilon_lower(n_with, n_with, 0, n_without, level).value


def epsilon_one_run(right: int, guesses: int, canaries: int, delta: float = 0.0, level: float = 0.95) -> Interval:
    """A lower bound on epsilon from one run into which each canary was put by a fair coin (Steinke et al. 2023).

    The auditor says of `guesses` canaries whether they were in, of which `right` were; of the others it says nothing.
    How many to guess must be fixed beforehand. An (epsilon, delta) private mechanism has `right` stochastically below a
    binomial of rate e^epsilon / (1 + e^epsilon), but for a term in delta (theorem 5.2). The value is the bound itself.
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

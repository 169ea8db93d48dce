# pyright: strict, reportMissingTypeStubs=false
"""Significance: p-values, and corrections for many tests."""

from __future__ import annotations

import numpy as np

from testbed.findings.statistics.intervals import Array, Interval, excess, scipy_stats, z_quantile


def lower_bound_of_many(over: Interval, tests: int, alpha: float = 0.05) -> float:
    """One-sided lower bound of an excess that holds for `tests` intervals together (Bonferroni, normal tails)."""
    own = z_quantile((1 + over.level) / 2)
    together = z_quantile(1 - alpha / max(1, tests))
    return over.value - (over.value - over.low) * together / own


def labels_by_chance(used: int, both: int, members: int, controls: int) -> float:
    """P-value of `used` members or more among `both` people, if group labels were drawn at random (hypergeometric)."""
    if both == 0:
        return 1.0
    return float(scipy_stats.hypergeom.sf(used - 1, members + controls, members, both))


def holm(p_values: Array) -> Array:
    """Holm's step-down adjusted p-values (1979), in the order given."""
    order = np.argsort(p_values, kind="stable")
    k = len(p_values)
    stepped = np.maximum.accumulate(np.asarray(p_values)[order] * (k - np.arange(k)))
    adjusted = np.empty(k)
    adjusted[order] = np.minimum(1.0, stepped)
    return adjusted


def exceedance_p(attack: Interval, control: Interval, correlation: float = 0.0) -> float:
    """One-sided p-value of 'the excess is not above 0': the level at which the Newcombe interval's lower bound is 0."""
    low, high = 0.0, 1.0 - 1e-12
    for _ in range(50):
        middle = (low + high) / 2
        if excess(attack, control, correlation, middle).low > 0:
            low = middle
        else:
            high = middle
    return (1 - low) / 2

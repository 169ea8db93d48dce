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


def first_by_chance(used: Array, fewest: int, members: int, controls: int) -> tuple[float, int]:
    """P-value that so many of the first people in an order are members, if the order does not depend on labels.

    Also how many of the first people have the smallest p-value by themselves (0 if fewer than `fewest` are in order).

    `used` (n,) bool tells for the first n people who is a member. The first `fewest`, `fewest` + 1, ... n people are
    tested (hypergeometric), and the smallest p-value is the statistic. Its distribution under random labels is exact:
    the chance that no test so far reached it is carried on from person to person, for each number of members so far.
    """
    n = len(used)
    if n < fewest:
        return 1.0, 0
    sizes, inside = np.arange(1, n + 1), np.cumsum(used)
    found = scipy_stats.hypergeom.sf(inside - 1, members + controls, members, sizes)[fewest - 1 :]
    least = float(found.min()) * (1 + 1e-9)
    alive, reached = np.ones(1), 0.0
    for i in range(n):
        have = np.arange(len(alive))
        drawn = np.clip((members - have) / (members + controls - i), 0.0, 1.0)
        alive = np.append(alive * (1 - drawn), 0.0) + np.append(0.0, alive * drawn)
        if i + 1 >= fewest:
            rejected = scipy_stats.hypergeom.sf(np.arange(len(alive)) - 1, members + controls, members, i + 1) <= least
            reached += float(alive[rejected].sum())
            alive[rejected] = 0.0
    return min(1.0, reached), fewest + int(found.argmin())


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

# pyright: strict, reportMissingTypeStubs=false
"""Differences between settings: of paired runs, or of two intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from testbed.findings.statistics.intervals import Interval, scipy_stats, t_quantile, z_quantile


def paired_difference(
    one: Sequence[Interval], other: Sequence[Interval], level: float = 0.95
) -> tuple[Interval, float]:
    """The mean of `one` minus `other` over paired runs, with a t interval, and the two-sided p-value of no difference.

    Its standard error is at least what the runs' own intervals imply: few runs may agree by chance. Raises `ValueError`
    for fewer than two pairs.
    """
    if len(one) != len(other) or len(one) < 2:
        raise ValueError(f"two or more pairs are needed. Got {len(one)} and {len(other)} runs instead.")
    n = len(one)
    apart = np.array([a.value - b.value for a, b in zip(one, other, strict=True)])
    mean = float(apart.mean())
    over_runs = float(apart.std(ddof=1)) / math.sqrt(n)
    within = math.sqrt(sum(_error(a) ** 2 + _error(b) ** 2 for a, b in zip(one, other, strict=True))) / n
    error = max(over_runs, within)
    half = t_quantile((1 + level) / 2, n - 1) * error
    found = Interval(mean, max(-2.0, mean - half), min(2.0, mean + half), level, "t over paired runs", n)
    p = 1.0 if error == 0 and mean == 0 else 0.0 if error == 0 else _two_sided_t(mean / error, n - 1)
    return found, p


def difference(one: Interval, other: Interval, level: float = 0.95) -> tuple[Interval, float]:
    """`one` minus `other` from their intervals (square-and-add), and the two-sided p-value of no difference.

    The two are taken as independent. For the same people under two settings that makes the interval too wide, not too
    narrow.
    """
    value = one.value - other.value
    scale = [z_quantile((1 + level) / 2) / z_quantile((1 + i.level) / 2) for i in (one, other)]
    below = math.hypot(scale[0] * (one.value - one.low), scale[1] * (other.high - other.value))
    above = math.hypot(scale[0] * (one.high - one.value), scale[1] * (other.value - other.low))
    found = Interval(value, value - below, value + above, level, "square-and-add", min(one.n, other.n))
    towards = (below if value > 0 else above) / z_quantile((1 + level) / 2)
    p = 1.0 if value == 0 else 0.0 if towards == 0 else 2 * float(scipy_stats.norm.sf(abs(value) / towards))
    return found, min(1.0, p)


def upper_bound_of_many(over: Interval, tests: int, alpha: float = 0.05) -> float:
    """One-sided upper bound of an excess that holds for `tests` intervals together (Bonferroni).

    Tails are those of Student's distribution for an interval over runs, and normal otherwise.
    """
    own, together = (1 + over.level) / 2, 1 - alpha / max(1, tests)
    if over.method.startswith("t over runs"):
        scale = t_quantile(together, over.n - 1) / t_quantile(own, over.n - 1)
    else:
        scale = z_quantile(together) / z_quantile(own)
    return over.value + (over.high - over.value) * scale


def _error(interval: Interval) -> float:
    """The standard error that an interval implies."""
    return (interval.high - interval.low) / (2 * z_quantile((1 + interval.level) / 2))


def _two_sided_t(t: float, df: int) -> float:
    return 2 * float(scipy_stats.t.sf(abs(t), df))

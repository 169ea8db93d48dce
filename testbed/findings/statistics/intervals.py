# pyright: strict, reportMissingTypeStubs=false
"""Intervals of rates, of differences of rates, and of means over runs.

Success counts may be fractional: ties count half, and expected matches lie in [0, 1]. A mean of values in [0, 1] has at
most the variance of a proportion with the same mean, so these intervals stay valid.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from scipy import stats as _scipy_stats

scipy_stats = cast(Any, _scipy_stats)  # SciPy ships no types

Array = npt.NDArray[Any]


@functools.cache
def z_quantile(q: float) -> float:
    """The quantile of the normal distribution."""
    return float(scipy_stats.norm.ppf(q))


@functools.cache
def t_quantile(q: float, df: int) -> float:
    """The quantile of Student's distribution."""
    return float(scipy_stats.t.ppf(q, df))


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its bounds at a confidence `level`, the `method` that gave them, and the number of guesses `n`."""

    value: float
    low: float
    high: float
    level: float
    method: str
    n: int


def wilson(successes: float, n: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion (Wilson 1927); `value` is successes / n.

    Raises `ValueError` unless 0 <= successes <= n and n > 0.
    """
    if n <= 0 or not 0 <= successes <= n * (1 + 1e-12):
        raise ValueError(f"successes must lie in [0, n] and n be positive. Got {successes} of {n} instead.")
    p = min(1.0, successes / n)
    z = z_quantile((1 + level) / 2)
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # At 0 and 1 the formula's bound equals the proportion, except for rounding.
    return Interval(p, min(p, max(0.0, centre - half)), max(p, min(1.0, centre + half)), level, "wilson", n)


def clopper_pearson(successes: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """One-sided exact bounds of a proportion, each at `level` (Clopper and Pearson 1934)."""
    low = 0.0 if successes <= 0 else float(scipy_stats.beta.ppf(1 - level, successes, n - successes + 1))
    high = 1.0 if successes >= n else float(scipy_stats.beta.ppf(level, successes + 1, n - successes))
    return low, high


def excess(
    attack: Interval, control: Interval, correlation: float = 0.0, level: float = 0.90, slope: float = 1.0
) -> Interval:
    """Excess: attack minus control, with Newcombe's square-and-add interval (1998, method 10, unpaired or paired).

    It may be negative. At the default level of 0.90 each bound holds one-sided at 95 %. `correlation` is the
    correlation of the two outcomes if each guess is judged in both groups, otherwise 0. `slope` multiplies the
    control's error: it is above 1 where the controls also set the attack's threshold (`roc_slope`).
    """
    a = wilson(attack.value * attack.n, attack.n, level)
    c = wilson(control.value * control.n, control.n, level)
    difference = a.value - c.value
    below, above = (a.value - a.low, slope * (c.high - c.value)), (a.high - a.value, slope * (c.value - c.low))

    def spread(one: float, other: float) -> float:
        return math.sqrt(max(0.0, one * one - 2 * correlation * one * other + other * other))

    return Interval(
        difference,
        max(-1.0, difference - spread(*below)),
        min(1.0, difference + spread(*above)),
        level,
        "newcombe, paired" if correlation else "newcombe",
        min(attack.n, control.n),
    )


def surely_negative(over: Interval, alpha: float = 0.001) -> bool:
    """Whether an excess is below zero with one-sided confidence 1 - `alpha`, by a normal approximation."""
    own, strict = (z_quantile(q) for q in ((1 + over.level) / 2, 1 - alpha))
    return over.value + (over.high - over.value) * strict / own < 0


def operating(over: Interval, limit: float, power: float = 0.8) -> tuple[float, float]:
    """Two values of the true excess: with chance `power`, a test passes up to the first and fails from the second on.

    A pass needs the upper bound below the limit; a failure needs the lower bound above it. The test's standard error is
    taken from the interval `over`.
    """
    z = z_quantile((1 + over.level) / 2)
    error = (over.high - over.low) / (2 * z)
    reach = (z + z_quantile(power)) * error
    return limit - reach, limit + reach


def residual(over: Interval, control: float) -> Interval | None:
    """Residual risk: excess / (1 - control), the share of what was left to learn. None if the control is 1."""
    if control >= 1:
        return None
    scale = 1 / (1 - control)
    low, value, high = (max(-1e6, min(1.0, x * scale)) for x in (over.low, over.value, over.high))
    return Interval(value, low, high, over.level, over.method + ", scaled by 1 / (1 - control)", over.n)


def effective_size(success: Array, cluster: Array) -> int:
    """Effective sample size: the number of independent guesses that n clustered ones are worth (Rao and Scott 1992).

    It is n divided by the design effect: the cluster-robust variance of the mean over the binomial one, at least 1. If
    all guesses have the same outcome, or there is one cluster, guesses of a cluster are taken to agree always:
    (sum of cluster sizes)^2 / (sum of their squares) (Kish 1965).
    """
    n = len(success)
    _, inverse, sizes = np.unique(cluster, return_inverse=True, return_counts=True)
    groups = len(sizes)
    if groups == n:
        return n
    p = float(success.mean())
    if groups < 2 or p <= 0 or p >= 1:
        return max(1, round(n**2 / float((sizes.astype(float) ** 2).sum())))
    design = max(1.0, mean_variance(success, inverse) / (p * (1 - p) / n))
    return max(1, round(n / design))


def mean_variance(values: Array, cluster: Array) -> float:
    """The cluster-robust variance of a mean. If each value is its own cluster, it is the sample variance over n."""
    _, inverse = np.unique(cluster, return_inverse=True)
    sums = np.bincount(inverse, weights=values - values.mean())
    groups = len(sums)
    return groups / (groups - 1) * float((sums**2).sum()) / len(values) ** 2 if groups > 1 else 0.0


def proportion(success: Array, cluster: Array | None = None, level: float = 0.95) -> Interval:
    """Mean success with a Wilson interval. `cluster` (n,) names the cluster of each guess; n is the effective size."""
    if cluster is None:
        return wilson(float(success.sum()), len(success), level)
    n = effective_size(success, cluster)
    rate = wilson(float(success.mean()) * n, n, level)
    method = "wilson" if n == len(success) else "wilson, n divided by the design effect"
    return Interval(rate.value, rate.low, rate.high, level, method, n)


def widened(rate: Interval, design: float) -> Interval:
    """The same proportion with the Wilson interval of n / `design` guesses. `design` is a design effect, at least 1."""
    n = max(1, round(rate.n / design))
    wider = wilson(rate.value * n, n, rate.level)
    return Interval(wider.value, wider.low, wider.high, wider.level, "wilson, n divided by the design effect", n)


def t_interval(values: Array, level: float = 0.95, within: tuple[float, float] | None = None) -> Interval:
    """Mean of independent runs with Student's t interval. (A percentile bootstrap of five runs would cover only 85 %.)

    `within` gives the smallest and largest possible value; the bounds stay between them.
    """
    n = len(values)
    mean = float(values.mean())
    half = t_quantile((1 + level) / 2, n - 1) * float(values.std(ddof=1)) / math.sqrt(n)
    least, most = within or (-math.inf, math.inf)
    return Interval(
        mean, max(mean - half, min(least, mean)), min(mean + half, max(most, mean)), level, "t over runs", n
    )


def correlation(one: Array, other: Array, n: int | None = None) -> float:
    """Correlation of two outcomes (n,) of the same guesses, for `excess`; 0 if one of them is constant.

    Pearson's correlation; if positive, it is reduced by the continuity correction of Newcombe's method 10 (1998).
    Without it, a chance agreement of few guesses would narrow the interval of the difference. `n` is the effective
    number of guesses, by default their number.
    """
    if len(one) < 2 or one.std() == 0 or other.std() == 0:
        return 0.0
    together = float(((one - one.mean()) * (other - other.mean())).mean())
    together -= min(max(together, 0.0), 0.5 / (n or len(one)))
    return together / float(one.std() * other.std())

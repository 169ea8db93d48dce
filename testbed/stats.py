# pyright: strict, reportMissingTypeStubs=false
"""From evidence rows to numbers with intervals: pure functions of small sufficient statistics.

Success counts may be fractional (ties count half, expected matches lie in [0, 1]): a mean of values in [0, 1] has
at most the variance of a proportion with the same mean, so the intervals below stay valid.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from scipy import stats as _scipy_stats

scipy_stats = cast(Any, _scipy_stats)  # SciPy ships no types

Array = npt.NDArray[Any]
RESOLVABLE_FALSE_POSITIVES = 10
FALSE_POSITIVE_RATES = (0.001, 0.01, 0.05, 0.1)


@dataclass(frozen=True, slots=True)
class Interval:
    value: float
    low: float
    high: float
    level: float
    method: str
    n: int


def wilson(successes: float, n: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion; `value` is the plain ratio (Wilson 1927)."""
    if n <= 0 or not 0 <= successes <= n * (1 + 1e-12):
        raise ValueError(f"successes must lie in [0, n] and n be positive. Got {successes} of {n} instead.")
    p = min(1.0, successes / n)
    z = float(scipy_stats.norm.ppf((1 + level) / 2))
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # At 0 and 1 the formula's own bound is the point itself, up to rounding.
    return Interval(p, min(p, max(0.0, centre - half)), max(p, min(1.0, centre + half)), level, "wilson", n)


def clopper_pearson(successes: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """One-sided exact bounds of a proportion, each at `level` (Clopper and Pearson 1934)."""
    low = 0.0 if successes <= 0 else float(scipy_stats.beta.ppf(1 - level, successes, n - successes + 1))
    high = 1.0 if successes >= n else float(scipy_stats.beta.ppf(level, successes + 1, n - successes))
    return low, high


def excess(
    attack: Interval, control: Interval, correlation: float = 0.0, level: float = 0.90, slope: float = 1.0
) -> Interval:
    """attack - control, unclipped, by Newcombe's square-and-add (1998, methods 10 unpaired and paired).

    At the default level of 0.90 each bound holds one-sided at 95 %. `correlation` is that between the two outcomes
    where one guess is judged in both groups, else 0. `slope` is by how much an error of the control moves the attack's
    rate, where the control sets the attack's threshold (`roc_slope`).
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


def lower_bound_of_many(over: Interval, tests: int, alpha: float = 0.05) -> float:
    """The one-sided lower bound that holds for all of `tests` such intervals together, by Bonferroni; normal tails."""
    own = float(scipy_stats.norm.ppf((1 + over.level) / 2))
    all_ = float(scipy_stats.norm.ppf(1 - alpha / max(1, tests)))
    return over.value - (over.value - over.low) * all_ / own


def surely_negative(over: Interval, alpha: float = 0.001) -> bool:
    """Whether an excess lies below zero with one-sided confidence 1 - `alpha`; normal tails."""
    own, strict = (float(scipy_stats.norm.ppf(q)) for q in ((1 + over.level) / 2, 1 - alpha))
    return over.value + (over.high - over.value) * strict / own < 0


def operating(over: Interval, limit: float, power: float = 0.8) -> tuple[float, float]:
    """Below which true excess a test of this precision passes a limit, and above which it fails it, with `power`.

    A pass needs the upper bound below the limit, a fail the lower bound above it; between the two it is a review
    more often than not. The precision is that of `over`.
    """
    z = float(scipy_stats.norm.ppf((1 + over.level) / 2))
    error = (over.high - over.low) / (2 * z)
    reach = (z + float(scipy_stats.norm.ppf(power))) * error
    return limit - reach, limit + reach


def residual(over: Interval, control: float) -> Interval | None:
    """excess / (1 - control): the share of what was left to learn. None where the control leaves nothing."""
    if control >= 1:
        return None
    scale = 1 / (1 - control)
    low, value, high = (max(-1e6, min(1.0, x * scale)) for x in (over.low, over.value, over.high))
    return Interval(value, low, high, over.level, over.method + ", scaled by 1 / (1 - control)", over.n)


def effective_size(success: Array, cluster: Array) -> int:
    """How many independent guesses clustered ones are worth: n over the design effect (Rao and Scott 1992).

    The design effect compares the cluster-robust variance of the mean with the binomial one; never below 1, so
    that clustering cannot make a number look surer. Where no variance can be seen, all of a cluster is taken to
    agree: (sum of sizes)^2 / sum of squared sizes (Kish 1965).
    """
    n = len(success)
    _, inverse, sizes = np.unique(cluster, return_inverse=True, return_counts=True)
    groups = len(sizes)
    if groups == n:
        return n
    p = float(success.mean())
    if groups < 2 or p <= 0 or p >= 1:
        return max(1, round(n**2 / float((sizes.astype(float) ** 2).sum())))
    design = max(1.0, _mean_variance(success, inverse) / (p * (1 - p) / n))
    return max(1, round(n / design))


def _mean_variance(values: Array, cluster: Array) -> float:
    """The cluster-robust variance of a mean; of values that stand alone, their variance over their number."""
    _, inverse = np.unique(cluster, return_inverse=True)
    sums = np.bincount(inverse, weights=values - values.mean())
    groups = len(sums)
    return groups / (groups - 1) * float((sums**2).sum()) / len(values) ** 2 if groups > 1 else 0.0


def proportion(success: Array, cluster: Array | None = None, level: float = 0.95) -> Interval:
    """Mean success with a Wilson interval; clusters, where they are not single guesses, shrink its n."""
    if cluster is None:
        return wilson(float(success.sum()), len(success), level)
    n = effective_size(success, cluster)
    found = wilson(float(success.mean()) * n, n, level)
    method = "wilson" if n == len(success) else "wilson, n divided by the design effect"
    return Interval(found.value, found.low, found.high, level, method, n)


def widened(rate: Interval, design: float) -> Interval:
    """A proportion's Wilson interval for n / `design` guesses; `design` is 1 or more."""
    n = max(1, round(rate.n / design))
    wider = wilson(rate.value * n, n, rate.level)
    return Interval(wider.value, wider.low, wider.high, wider.level, "wilson, n divided by the design effect", n)


def t_interval(values: Array, level: float = 0.95, within: tuple[float, float] | None = None) -> Interval:
    """Mean of independent runs with Student's t; a percentile bootstrap of five runs would cover only 85 %.

    Bounds end where the number itself does, if `within` says where.
    """
    n = len(values)
    mean = float(values.mean())
    half = float(scipy_stats.t.ppf((1 + level) / 2, n - 1)) * float(values.std(ddof=1)) / math.sqrt(n)
    least, most = within or (-math.inf, math.inf)
    return Interval(
        mean, max(mean - half, min(least, mean)), min(mean + half, max(most, mean)), level, "t over runs", n
    )


def correlation(one: Array, other: Array, n: int | None = None) -> float:
    """Of two outcomes of the same guesses, for `excess`; 0 where one of the two never varies.

    Pearson's, with the continuity correction of Newcombe's method 10 (1998) where it is positive: a chance agreement of
    few guesses would make the difference look surer than it is. `n` is what the guesses are worth, by default their
    number.
    """
    if len(one) < 2 or one.std() == 0 or other.std() == 0:
        return 0.0
    together = float(((one - one.mean()) * (other - other.mean())).mean())
    together -= min(max(together, 0.0), 0.5 / (n or len(one)))
    return together / float(one.std() * other.std())


# --- scores ---------------------------------------------------------------------------------------------


def resolvable_fpr(controls: int) -> float | None:
    """The smallest customary false-positive rate that this many controls can show: ten or more expected."""
    for fpr in FALSE_POSITIVE_RATES:
        if controls * fpr >= RESOLVABLE_FALSE_POSITIVES:
            return fpr
    return None


def threshold_at(fpr: float, control_scores: Array) -> float:
    """The lowest threshold that at most `fpr` of these scores exceed; a tie at the threshold does not exceed it."""
    ranked = np.sort(control_scores)[::-1]
    allowed = math.floor(fpr * len(ranked) + 1e-9)
    return float(ranked[allowed]) if allowed < len(ranked) else -math.inf


def accuser(fpr: float, control_scores: Array) -> Callable[[Array], Array]:
    """Of scores, the chance in [0, 1] of being accused by the rule that accuses exactly `fpr` of these controls.

    Scores above the threshold are accused, and of those that equal it the share that is missing: a randomised test
    (Neyman and Pearson). A rule without it would accuse nobody where most scores tie, and find no leak.
    """
    threshold = threshold_at(fpr, control_scores)
    above, tied = float((control_scores > threshold).mean()), float((control_scores == threshold).mean())
    share = min(1.0, max(0.0, (fpr - above) / tied)) if tied else 0.0
    return lambda scores: (scores > threshold) + share * (scores == threshold)


def roc_slope(fpr: float, positive: Array, negative: Array) -> float:
    """The slope of the ROC at a false-positive rate, over the rates from half of it to half as much again; 1 or more.

    It is how far the true-positive rate moves with the threshold that chance sets: its variance over other controls
    is slope^2 fpr (1 - fpr) / controls (the delta method; as for the ROC's ordinate in Hsieh and Turnbull 1996).
    """
    low, high = (float(accuser(rate, negative)(positive).mean()) for rate in (0.5 * fpr, min(1.0, 1.5 * fpr)))
    return max(1.0, (high - low) / (min(1.0, 1.5 * fpr) - 0.5 * fpr))


def auc(
    positive: Array,
    negative: Array,
    level: float = 0.95,
    clusters: tuple[Array, Array] | None = None,
    design: float = 1.0,
) -> Interval:
    """P(positive > negative) + P(equal)/2 with a logit-DeLong interval (DeLong et al. 1988; Qin and Hotilovac 2008).

    `clusters` says whose each score is, where people have several (Obuchowski 1997); `design` is a further design
    effect, which multiplies the variance. At 0 or 1, or with no variance,
    the bound comes from one-sided exact limits on as many comparisons as the smaller group has scores, or people.
    """
    m, n = len(positive), len(negative)
    own = clusters or (np.arange(m), np.arange(n))
    if not m or not n:
        raise ValueError("both groups must hold at least one score")
    ranks = scipy_stats.rankdata(np.concatenate([positive, negative]))
    own_p, own_n = scipy_stats.rankdata(positive), scipy_stats.rankdata(negative)
    beaten = (ranks[:m] - own_p) / n  # share of negatives below each positive, ties half
    beating = 1 - (ranks[m:] - own_n) / m
    value = float(beaten.mean())
    variance = _mean_variance(beaten, own[0]) + _mean_variance(beating, own[1]) if m > 1 and n > 1 else 0.0
    variance *= design
    if variance <= 0 or value <= 0 or value >= 1:
        fewer = max(1, round(min(len(np.unique(names)) for names in own) / design))
        low, high = clopper_pearson(value * fewer, fewer, level)
        return Interval(value, min(value, low), max(value, high), level, "one-sided exact", m + n)
    z = float(scipy_stats.norm.ppf((1 + level) / 2))
    half = z * math.sqrt(variance) / (value * (1 - value))
    logit = math.log(value / (1 - value))
    low, high = (1 / (1 + math.exp(-x)) for x in (logit - half, logit + half))
    return Interval(value, low, high, level, "logit-delong", m + n)


def roc(positive: Array, negative: Array, points: int = 40) -> tuple[list[float], list[float]]:
    """The ROC at no more than `points` false-positive rates, log-spaced from one control up; ties are one step."""
    ranked = np.sort(negative)[::-1]
    grid = np.unique(np.geomspace(1 / len(negative), 1, points - 1))
    thresholds = [threshold_at(float(f), ranked) for f in grid]
    both = dict.fromkeys((float((negative > t).mean()), float((positive > t).mean())) for t in thresholds)
    return [fpr for fpr, _ in both], [tpr for _, tpr in both]


def ppv(tpr: float, fpr: float, prevalence: float) -> float | None:
    """How often an accusation is right where `prevalence` of the suspects were in the data."""
    accused = tpr * prevalence + fpr * (1 - prevalence)
    return tpr * prevalence / accused if accused > 0 else None


# --- tests ----------------------------------------------------------------------------------------------


def unique_match_probability(matches: Array, population: int, sample: int) -> Array:
    """P(exactly one of `matches` rows is drawn) when `sample` of `population` rows are, without replacement."""
    return np.asarray(scipy_stats.hypergeom.pmf(1, population, matches, sample), dtype=float)


def labels_by_chance(used: int, both: int, members: int, controls: int) -> float:
    """P(at least `used` of `both` people fall among the members) if group labels were drawn at random."""
    if both == 0:
        return 1.0
    return float(scipy_stats.hypergeom.sf(used - 1, members + controls, members, both))


def holm(p_values: Array) -> Array:
    """Holm's step-down adjusted p-values (1979)."""
    order = np.argsort(p_values, kind="stable")
    k = len(p_values)
    stepped = np.maximum.accumulate(np.asarray(p_values)[order] * (k - np.arange(k)))
    adjusted = np.empty(k)
    adjusted[order] = np.minimum(1.0, stepped)
    return adjusted


def exceedance_p(attack: Interval, control: Interval, correlation: float = 0.0) -> float:
    """One-sided p of 'the excess is not above 0', by inverting the Newcombe interval."""
    low, high = 0.0, 1.0 - 1e-12
    for _ in range(50):
        middle = (low + high) / 2
        if excess(attack, control, correlation, middle).low > 0:
            low = middle
        else:
            high = middle
    return (1 - low) / 2

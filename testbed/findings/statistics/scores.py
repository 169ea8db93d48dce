# pyright: strict, reportMissingTypeStubs=false
"""Statistics of scores: thresholds, ROC curves, the AUC, and how often an accusation is right."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from testbed.findings.statistics.intervals import Array, Interval, clopper_pearson, mean_variance, scipy_stats

RESOLVABLE_FALSE_POSITIVES = 10
"""False positives that must be expected for a false-positive rate to be reported."""

FALSE_POSITIVE_RATES = (0.001, 0.01, 0.05, 0.1)
"""The customary false-positive rates, smallest first."""


def resolvable_fpr(controls: int) -> float | None:
    """The smallest customary false-positive rate at which this many controls give ten expected false positives.

    None if they are too few for any of these rates.
    """
    for fpr in FALSE_POSITIVE_RATES:
        if controls * fpr >= RESOLVABLE_FALSE_POSITIVES:
            return fpr
    return None


def threshold_at(fpr: float, control_scores: Array) -> float:
    """The lowest threshold that at most a share `fpr` of these scores exceed; an equal score does not exceed it."""
    ranked = np.sort(control_scores)[::-1]
    allowed = math.floor(fpr * len(ranked) + 1e-9)
    return float(ranked[allowed]) if allowed < len(ranked) else -math.inf


def accuser(fpr: float, control_scores: Array) -> Callable[[Array], Array]:
    """A function from scores to each one's chance in [0, 1] of being accused, at false-positive rate `fpr`.

    The rule accuses exactly a share `fpr` of these controls. Scores above the threshold are always accused; scores
    equal to it are accused with the chance that fills the share up: a randomised test (Neyman and Pearson). Without
    randomisation, a rule would accuse nobody where most scores are equal, and find no leak.
    """
    threshold = threshold_at(fpr, control_scores)
    above, tied = float((control_scores > threshold).mean()), float((control_scores == threshold).mean())
    share = min(1.0, max(0.0, (fpr - above) / tied)) if tied else 0.0
    return lambda scores: (scores > threshold) + share * (scores == threshold)


def roc_slope(fpr: float, positive: Array, negative: Array) -> float:
    """Slope of the ROC at a false-positive rate, measured between 0.5 and 1.5 times this rate; at least 1.

    The threshold depends on which controls were drawn. Over other draws the true-positive rate has the variance
    slope^2 fpr (1 - fpr) / controls (the delta method; as for the ROC's ordinate in Hsieh and Turnbull 1996).
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
    """AUC: P(positive > negative) + P(equal) / 2, with a logit-DeLong interval (DeLong 1988; Qin and Hotilovac 2008).

    `clusters` names the person of each score, if people have several (Obuchowski 1997). `design` is a design effect,
    which multiplies the variance. If the AUC is 0 or 1, or has no variance, the bounds are one-sided exact ones for as
    many comparisons as the smaller group has people. Raises `ValueError` if a group is empty.
    """
    m, n = len(positive), len(negative)
    own = clusters or (np.arange(m), np.arange(n))
    if not m or not n:
        raise ValueError("both groups must hold at least one score")
    ranks = scipy_stats.rankdata(np.concatenate([positive, negative]))
    own_p, own_n = scipy_stats.rankdata(positive), scipy_stats.rankdata(negative)
    beaten = (ranks[:m] - own_p) / n  # share of negatives below each positive; ties count half
    beating = 1 - (ranks[m:] - own_n) / m
    value = float(beaten.mean())
    variance = mean_variance(beaten, own[0]) + mean_variance(beating, own[1]) if m > 1 and n > 1 else 0.0
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
    """The ROC as lists of FPR and TPR, at no more than `points` rates, log-spaced from 1 / controls to 1."""
    ranked = np.sort(negative)[::-1]
    grid = np.unique(np.geomspace(1 / len(negative), 1, points - 1))
    thresholds = [threshold_at(float(f), ranked) for f in grid]
    both = dict.fromkeys((float((negative > t).mean()), float((positive > t).mean())) for t in thresholds)
    return [fpr for fpr, _ in both], [tpr for _, tpr in both]


def ppv(tpr: float, fpr: float, prevalence: float) -> float | None:
    """Positive predictive value: the share of accusations that are right; None if nobody is accused.

    `prevalence` is the share of the suspects who were members.
    """
    accused = tpr * prevalence + fpr * (1 - prevalence)
    return tpr * prevalence / accused if accused > 0 else None

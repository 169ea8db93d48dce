# pyright: strict
"""How large a leak a test finds: the smallest true excess that fails in 4 of 5 cases, and the largest that passes.

The rules are those of a verdict: a bound of an excess against a limit, and exact tests on numbers of people.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from testbed.findings.statistics.intervals import Interval, excess, scipy_stats, wilson
from testbed.findings.statistics.significance import labels_by_chance

POWER = 0.8
"""4 of 5 cases."""
REACH = float(scipy_stats.norm.ppf(POWER))
"""Standard deviations from the mean within which `POWER` of all cases lie on one side."""
HALVINGS = 20


@dataclass(frozen=True, slots=True)
class Precision:
    """What a test's precision follows from: the control's rate, the effective numbers of guesses about members and
    controls, and the factor `wider` by which its interval is wider than that of as many independent guesses."""

    control: float
    members: int
    controls: int
    wider: float = 1.0

    def bounds(self, over: float) -> tuple[float, float]:
        """Both bounds of an observed excess `over`, each at 95 %."""
        found = excess(_rate(self.control + over, self.members), _rate(self.control, self.controls))
        return over - self.wider * (over - found.low), over + self.wider * (found.high - over)

    def error(self, over: float) -> float:
        """The standard deviation of the observed excess, if `over` is the true one."""
        p, q = min(1.0, max(0.0, self.control + over)), self.control
        return self.wider * math.sqrt(p * (1 - p) / self.members + q * (1 - q) / self.controls)


def _rate(p: float, n: int) -> Interval:
    return wilson(min(1.0, max(0.0, p)) * n, n)


def precision(attack: Interval, control: Interval, over: Interval) -> Precision:
    """The precision of a finding, from the intervals of its two rates and of its excess as they stand in a result."""
    members, controls = effective(attack), effective(control)
    plain = excess(_rate(attack.value, members), _rate(control.value, controls), level=over.level)
    width = plain.high - plain.low
    return Precision(control.value, members, controls, (over.high - over.low) / width if width > 0 else 1.0)


def effective(rate: Interval) -> int:
    """The number of independent guesses that a Wilson interval stands for."""
    width, low, high = rate.high - rate.low, 1, 2**30
    while high - low > 1:
        middle = (low + high) // 2
        found = wilson(rate.value * middle, middle, rate.level)
        low, high = (middle, high) if found.high - found.low > width else (low, middle)
    return high


def caught(test: Precision, limit: float) -> float | None:
    """The smallest true excess whose lower bound is above the limit with chance `POWER`; None if there is none."""
    reach = REACH
    return _first(lambda x: test.bounds(x - reach * test.error(x))[0] > limit, limit, 1 - test.control)


def passed(test: Precision, limit: float) -> float | None:
    """The largest true excess whose upper bound is below the limit with chance `POWER`; None if not even zero is."""
    reach = REACH

    def too_large(x: float) -> bool:
        return test.bounds(x + reach * test.error(x))[1] >= limit

    return None if too_large(0.0) else _first(too_large, 0.0, limit)


def _first(holds: Callable[[float], bool], low: float, high: float) -> float | None:
    """The smallest number between both from which on a condition holds that stays true; None if it never holds."""
    if high <= low or not holds(high):
        return None
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def copied_people(
    people: tuple[int, int], reproduced: int, level: float, comparisons: int = 1, most: int = 10_000
) -> int | None:
    """The fewest members copied that the exact test on copies finds with chance `POWER`.

    `people` are members and controls. `reproduced` controls stand in the release by chance; so do members, at the same
    rate. The p-value of the hypergeometric test, times the number of `comparisons`, must lie below `level`.
    """
    members, controls = people
    if not controls:
        return None
    most = min(most, members)
    chance = np.arange(int(scipy_stats.poisson.ppf(0.999, reproduced)) + 1)
    weights = scipy_stats.poisson.pmf(chance, reproduced)
    needed = [_fewest(int(c), members, controls, level / comparisons, most) for c in chance]
    by_chance = reproduced * members / controls

    def found(copied: int) -> float:
        hits = [0.0 if n is None else float(scipy_stats.poisson.sf(n - copied - 1, by_chance)) for n in needed]
        return float(np.dot(weights, hits))

    low, high = 0, most
    if found(high) < POWER:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if found(middle) >= POWER else (middle, high)
    return high


def _fewest(controls_reproduced: int, members: int, controls: int, level: float, most: int) -> int | None:
    """The fewest members reproduced that are significant beside so many controls."""
    low, high = 0, most
    if labels_by_chance(high, high + controls_reproduced, members, controls) >= level:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        found = labels_by_chance(middle, middle + controls_reproduced, members, controls) < level
        low, high = (low, middle) if found else (middle, high)
    return high


def nearest_people(sizes: list[int], people: tuple[int, int], level: float) -> int | None:
    """The fewest members who must be nearer to released rows than anybody else for the near-copy rule to fail.

    The rule tests the people with the highest scores, in groups of several `sizes`. Those who are no near copies are
    members or controls as chance draws them.
    """
    members, controls = people
    share = members / (members + controls)

    def found(sure: int) -> bool:
        for n in sizes:
            inside = np.arange(max(0, n - sure) + 1)
            p = scipy_stats.hypergeom.sf(np.minimum(sure, n) + inside - 1, members + controls, members, n)
            chances = scipy_stats.binom.pmf(inside, inside[-1], share)
            if float(chances[len(sizes) * p < level].sum()) >= POWER:
                return True
        return False

    low, high = 0, max(sizes, default=0)
    if not found(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return high

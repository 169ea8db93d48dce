"""The guarantee of a defence: the epsilon of the Gaussian mechanism over all rounds.

All cohorts here are fixed: every client takes part in every round, and batches are dealt without replacement. So no
epsilon here is made smaller by sampling.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, cast

from scipy import optimize as _optimize
from scipy import stats as _scipy_stats

from testbed.core.defence import Exposure, Guarantee
from testbed.core.errors import UsageError

scipy_stats, optimize = cast(Any, _scipy_stats), cast(Any, _optimize)  # SciPy ships no types
DELTA = 1e-5
"""The delta for which a report states the epsilon of a client's noise."""
MOST_DELTA = 0.01
"""The largest delta of a guarantee: whoever publishes one record in a hundred as it is keeps this delta too."""
FIXED = "no amplification by sampling"
"""What every guarantee here assumes about sampling."""


def gaussian_mechanism(exposure: Exposure, *, noise: float, clip: float = 1.0) -> Guarantee | None:
    """The epsilon of all rounds together, for all records of a client, against anybody who sees its updates.

    If a client's records are replaced, each update changes by at most twice the clipping bound `clip`. The noise has
    the standard deviation `noise * clip`. Gaussian noise composes exactly (Dong, Roth and Su 2022). None without noise.
    """
    if noise <= 0:
        return None
    epsilon = gaussian_epsilon(2 * math.sqrt(exposure.rounds) / noise, DELTA)
    return Guarantee(epsilon, DELTA, "client", f"Gaussian mechanism over {exposure.rounds} rounds, {told(DELTA)}")


def told(delta: float) -> str:
    """What stands in a guarantee's method beside the mechanism."""
    return f"delta {delta:g}, {FIXED}"


def check(delta: float) -> None:
    """Raises `UsageError` for a delta with which a guarantee says nothing."""
    if not 0 < delta <= MOST_DELTA:
        raise UsageError(
            "TB-DEFENCE-046",
            f"The delta of a guarantee must be above 0 and at most {MOST_DELTA:g}.",
            "Whoever publishes every n-th person's record as it is keeps a delta of 1 / n, whatever epsilon is.",
            f"Choose a delta well below 1 / (number of people), such as {DELTA:g}.",
        )


def gaussian_epsilon(distance: float, delta: float) -> float:
    """The epsilon at which two unit Gaussians `distance` apart are (epsilon, delta) indistinguishable.

    After Dong, Roth and Su 2022, corollary 2.13: delta(e) = Phi(d / 2 - e / d) - exp(e) Phi(-d / 2 - e / d).
    """
    if distance <= 0:
        return 0.0

    def over(epsilon: float) -> float:
        first = scipy_stats.norm.cdf(distance / 2 - epsilon / distance)
        second = math.exp(epsilon + scipy_stats.norm.logcdf(-distance / 2 - epsilon / distance))
        return float(first - second) - delta

    if over(0.0) <= 0:
        return 0.0
    high = 1.0
    while over(high) > 0:
        high *= 2
    return float(optimize.brentq(over, 0.0, high))


@lru_cache
def gaussian_distance(epsilon: float, delta: float) -> float:
    """The largest distance between two unit Gaussians that are (epsilon, delta) indistinguishable.

    Raises `UsageError` for an epsilon that is not above 0 and finite, and for a delta that says nothing (`check`).
    """
    check(delta)
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise UsageError(
            "TB-DEFENCE-008",
            "The epsilon of a defence must be above 0 and finite.",
            "No noise gives the guarantee of an epsilon of 0, and none is needed for an infinite one.",
            "Use a number such as 1 or 8.",
        )
    high = 1.0
    while gaussian_epsilon(high, delta) < epsilon:
        high *= 2
    return float(optimize.brentq(lambda d: gaussian_epsilon(d, delta) - epsilon, 0.0, high, xtol=1e-10))

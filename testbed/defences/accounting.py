"""The guarantee of a defence: the epsilon of the Gaussian mechanism over all rounds."""

from __future__ import annotations

import math
from typing import Any, cast

from scipy import optimize as _optimize
from scipy import stats as _scipy_stats

from testbed.core.defence import Guarantee

scipy_stats, optimize = cast(Any, _scipy_stats), cast(Any, _optimize)  # SciPy ships no types
DELTA = 1e-5
"""The delta for which a report states the epsilon of a client's noise."""


def gaussian_mechanism(rounds: int, *, noise: float, clip: float = 1.0) -> Guarantee | None:
    """The epsilon of all rounds together, for all records of a client, against anybody who sees its updates.

    If a client's records are replaced, each update changes by at most twice the clipping bound `clip`. The noise has
    the standard deviation `noise * clip`. Gaussian noise composes exactly (Dong, Roth and Su 2022). None without noise.
    """
    if noise <= 0:
        return None
    epsilon = gaussian_epsilon(2 * math.sqrt(rounds) / noise, DELTA)
    return Guarantee(epsilon, DELTA, "client", f"gaussian mechanism over {rounds} rounds, delta {DELTA:g}")


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

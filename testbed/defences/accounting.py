"""What a defence guarantees: the epsilon of the Gaussian mechanism over all rounds."""

from __future__ import annotations

import math
from typing import Any, cast

from scipy import optimize as _optimize
from scipy import stats as _scipy_stats

from testbed.core.defence import Guarantee

scipy_stats, optimize = cast(Any, _scipy_stats), cast(Any, _optimize)  # SciPy ships no types
DELTA = 1e-5
"""At which the epsilon of a client's noise is told."""


def gaussian_mechanism(rounds: int, *, noise: float, clip: float = 1.0) -> Guarantee | None:
    """The epsilon of all rounds together against whoever sees a client's updates, for all of that client's records.

    Replacing a client's records changes each update by at most twice its clipped length `clip`, and the noise has the
    standard deviation `noise * clip`. Gaussian noise composes exactly (Dong, Roth and Su 2022). None without noise.
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

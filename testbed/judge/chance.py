# pyright: strict, reportMissingTypeStubs=false
"""The probability that a guess is right by chance."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from scipy import stats as _scipy_stats

from testbed.core import Array

scipy_stats = cast(Any, _scipy_stats)  # SciPy ships no types


def unique_match_probability(matches: Array, population: int, sample: int) -> Array:
    """Probability that a sample holds exactly one of `matches` rows (hypergeometric).

    `sample` rows are drawn from `population` rows, without replacement. `matches` may be an array.
    """
    return np.asarray(scipy_stats.hypergeom.pmf(1, population, matches, sample), dtype=float)

# pyright: strict, reportMissingTypeStubs=false
"""How likely a guess is right by chance."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from scipy import stats as _scipy_stats

from testbed.core import Array

scipy_stats = cast(Any, _scipy_stats)  # SciPy ships no types


def unique_match_probability(matches: Array, population: int, sample: int) -> Array:
    """P(exactly one of `matches` rows is drawn) when `sample` of `population` rows are, without replacement."""
    return np.asarray(scipy_stats.hypergeom.pmf(1, population, matches, sample), dtype=float)

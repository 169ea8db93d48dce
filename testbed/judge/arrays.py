# pyright: strict, reportMissingTypeStubs=false
"""Records as rows of numbers."""

from __future__ import annotations

import math

import numpy as np

from testbed.core import Array


def flat(x: Array) -> Array:
    """Records (n, ...) as float64 rows (n, features)."""
    return np.asarray(x, dtype=np.float64).reshape(len(x), math.prod(x.shape[1:]))

"""Exact nearest neighbours among mixed-type rows, by Gower's distance (1971) with ranges taken from the release.

Per column the distance is min(1, |a - b| / range) for numbers and 0 or 1 for categories; both missing is 0, one
missing is 1. Rows are summed over all columns, column by column, and abandoned once they cannot win.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from testbed.core import Table

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Scale:
    """The range of each numeric column, fixed from the release once."""

    ranges: dict[str, float]

    @staticmethod
    def of(release: Table) -> Scale:
        ranges: dict[str, float] = {}
        for column, values in zip(release.columns, release.values, strict=True):
            if column.kind == "numeric":
                known = values[~np.isnan(values)]
                width = float(known.max() / 2 - known.min() / 2) * 2 if len(known) else 0.0
                # What is too narrow to divide by counts as no range at all.
                ranges[column.name] = width if width > np.finfo(float).tiny else 0.0
        return Scale(ranges)

    def encode(self, table: Table) -> tuple[Array, Array]:
        """Numbers divided by their range (n, p) float64, and codes (n, q) int32."""
        numbers = [
            _in_ranges(values, self.ranges[c.name])
            for c, values in zip(table.columns, table.values, strict=True)
            if c.kind == "numeric"
        ]
        codes = [v for c, v in zip(table.columns, table.values, strict=True) if c.kind == "categorical"]
        n = len(table)
        return (
            np.ascontiguousarray(np.stack(numbers, 1)) if numbers else np.zeros((n, 0)),
            np.ascontiguousarray(np.stack(codes, 1).astype(np.int32)) if codes else np.zeros((n, 0), np.int32),
        )


def _in_ranges(values: Array, width: float) -> Array:
    """Numbers as multiples of the range; a column that never varies in the release only tells equal from different."""
    with np.errstate(over="ignore"):
        return np.clip(values / width if width > 0 else values * 1e12, -1e300, 1e300)


@numba.njit(cache=True, nogil=True)
def _distance(a: Any, ac: Any, b: Any, bc: Any, bound: float) -> float:  # pragma: no cover - compiled
    total = 0.0
    for j in range(ac.shape[0]):
        if ac[j] != bc[j]:
            total += 1.0
    if total > bound:
        return total
    for j in range(a.shape[0]):
        d = a[j] - b[j]
        if d != d:
            total += 0.0 if a[j] != a[j] and b[j] != b[j] else 1.0
        else:
            d = abs(d)
            total += d if d < 1.0 else 1.0
        if total > bound:
            return total
    return total


@numba.njit(cache=True, parallel=True)
def _search(numbers: Any, codes: Any, pool: Any, pool_codes: Any, k: int) -> Any:  # pragma: no cover - compiled
    n = numbers.shape[0]
    found = np.empty((n, k), np.int64)
    tied = np.zeros(n, np.bool_)
    for i in numba.prange(n):
        best = np.full(k, np.inf)
        rows = np.zeros(k, np.int64)
        tie = False
        for r in range(pool.shape[0]):
            d = _distance(numbers[i], codes[i], pool[r], pool_codes[r], best[k - 1])
            if d < best[k - 1]:
                evicted = best[k - 1]
                place = k - 1
                while place > 0 and best[place - 1] > d:
                    best[place] = best[place - 1]
                    rows[place] = rows[place - 1]
                    place -= 1
                best[place] = d
                rows[place] = r
                tie = evicted == best[k - 1] and evicted != np.inf
            elif d == best[k - 1]:
                tie = True
        found[i] = rows
        tied[i] = tie
    return found, tied


def nearest(targets: Table, release: Table, scale: Scale, rng: np.random.Generator, k: int = 1) -> tuple[Array, Array]:
    """The k nearest released rows of each target (n, k), and whether chance had to settle the last of them (n,).

    Ties are settled by one random order of the released rows, so that neither table's order plays a part.
    """
    k = min(k, len(release))
    order = rng.permutation(len(release))
    pool, pool_codes = scale.encode(release.take(order))
    numbers, codes = scale.encode(targets)
    found, tied = _search(numbers, codes, pool, pool_codes, k)
    return order[found], tied

"""Kernel density of rows with numbers and categories: a Gaussian kernel on Gower's distance."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from testbed.core import Array, Table
from testbed.core.tables.neighbours import nearest
from testbed.core.tables.rows import row_keys
from testbed.core.tables.scale import Scale

MOST_ROWS = 5000
"""Rows of a table that are used at most."""
MISSING = 5.0
"""The place of a missing number, in widths: more than 1 away from every number, since numbers lie in [-1, 2]."""


@numba.njit(cache=True, parallel=True)
def _kernel_sums(near: Any, asked: Any, width: float, own: Any) -> Any:  # pragma: no cover - compiled
    m, n, p = asked.shape[1], near.shape[1], near.shape[0]
    sums = np.zeros(m)
    for i in numba.prange(m):
        distance = np.zeros(n, np.float32)
        for c in range(p):
            q = asked[c, i]
            for r in range(n):
                distance[r] += min(abs(near[c, r] - q), np.float32(1.0))
        total = 0.0
        for r in range(n):
            if r != own[i]:
                scaled = distance[r] / width
                total += np.exp(-scaled * scaled)
        sums[i] = total
    return sums


def coordinates(table: Table, scale: Scale) -> Array:
    """Rows as (p, n) float32 places: the differences of two rows, each cut off at 1, sum to Gower's distance."""
    near = np.empty((len(table.columns), len(table)), np.float32)
    for j, (column, values) in enumerate(zip(table.columns, table.values, strict=True)):
        if column.kind == "categorical":
            near[j] = values
        else:
            axis = scale.axes[column.name]
            placed = np.clip(axis.places(values), -1.0, 2.0)
            if axis.width == 0:  # one released value or none: other numbers are at distance 1
                placed = np.where(np.isin(values, axis.known), 0.0, 2.0)
            near[j] = np.where(np.isnan(values), MISSING, placed)
    return near


def sampled(table: Table, seed: int, most: int = MOST_ROWS) -> Table:
    """At most `most` rows, chosen by their values and the seed, so that their order plays no part."""
    return table.take(np.argsort(row_keys(table, seed), kind="stable")[:most]) if len(table) > most else table


def bandwidth(pool: Table, scale: Scale) -> float:
    """The kernel's width: an eighth of the median distance of a row to its nearest other row.

    It is narrow, because near copies reveal membership: with half of that distance, a tenth of copies is not found.
    """
    _, distances, _ = nearest(pool, pool, scale, 0, 2)
    width = float(np.median(distances[:, -1])) / 8
    return width if width > 0 else 0.05


def log_density(targets: Table, pool: Table, scale: Scale, width: float, own: Array | None = None) -> Array:
    """The log (n,) of the mean kernel over the pool's rows, with a floor; row `own[i]` is left out for target i."""
    near = [coordinates(t, scale) for t in (pool, targets)]
    left_out = np.full(len(targets), -1) if own is None else own
    sums = _kernel_sums(near[0], near[1], width, left_out)
    return np.log(np.maximum(sums, 1e-12) / len(pool))

"""How many rows of a table satisfy each of many conjunctions: sorted columns, and a walk over the shortest range.

A pure function of a table and conditions; `Table.matching` is the slow definition that it is tested against.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from testbed.core import Condition, Table

Array = npt.NDArray[Any]
EQUAL, AT_MOST, AT_LEAST, MISSING = 0, 1, 2, 3
_OPS = {"eq": EQUAL, "le": AT_MOST, "ge": AT_LEAST, "missing": MISSING}


@dataclass(frozen=True, slots=True)
class Index:
    """A table's columns (p, n), each with its rows in ascending order (p, n) and how many come before the gaps (p,)."""

    values: Array
    order: Array
    ranked: Array
    known: Array

    @staticmethod
    def of(table: Table) -> Index:
        p, n = len(table.columns), len(table)
        values = np.empty((p, n))
        order, ranked = np.empty((p, n), np.int32), np.empty((p, n))
        known = np.empty(p, np.int64)
        for j, (column, given) in enumerate(zip(table.columns, table.values, strict=True)):
            values[j] = given
            if column.kind == "categorical":
                values[j][given == -1] = np.nan  # one spelling for a gap; NaN sorts last
            order[j] = np.argsort(values[j], kind="stable")
            ranked[j] = values[j][order[j]]
            known[j] = n - np.isnan(values[j]).sum()
        return Index(values, order, ranked, known)

    def counts(self, conjunctions: Sequence[Sequence[Condition]], most: int | None = None) -> Array:
        """Matching rows of each conjunction (m,); counting may stop at `most`."""
        starts = np.cumsum([0, *(len(c) for c in conjunctions)])
        flat = [condition for c in conjunctions for condition in c]
        columns = np.array([c.column for c in flat], dtype=np.int64)
        ops = np.array([_OPS[c.op] for c in flat], dtype=np.int64)
        bounds = np.array([c.value for c in flat], dtype=np.float64)
        limit = self.values.shape[1] if most is None else most
        return _count_all(self.values, self.order, self.ranked, self.known, columns, ops, bounds, starts, limit)


@numba.njit(cache=True, nogil=True)
def _holds(value: float, op: int, bound: float) -> bool:  # pragma: no cover - compiled
    if op == EQUAL:
        return value == bound
    if op == AT_MOST:
        return value <= bound
    if op == AT_LEAST:
        return value >= bound
    return value != value


@numba.njit(cache=True, nogil=True)
def count(
    values: Any, order: Any, ranked: Any, known: Any, columns: Any, ops: Any, bounds: Any, limit: int
) -> int:  # pragma: no cover - compiled
    """Rows that satisfy one conjunction, up to `limit`."""
    first, last, through = 0, values.shape[1] + 1, 0
    for c in range(columns.shape[0]):
        j = columns[c]
        whole = ranked[j, : known[j]]
        low, high = 0, known[j]
        if ops[c] == MISSING:
            low, high = known[j], values.shape[1]
        if ops[c] == EQUAL or ops[c] == AT_LEAST:
            low = np.searchsorted(whole, bounds[c], "left")
        if ops[c] == EQUAL or ops[c] == AT_MOST:
            high = np.searchsorted(whole, bounds[c], "right")
        if high - low < last - first:
            first, last, through = low, high, c
    if columns.shape[0] == 1:
        return min(limit, last - first)
    found = 0
    for at in range(first, last):
        row = order[columns[through], at]
        kept = True
        for c in range(columns.shape[0]):
            if c != through and not _holds(values[columns[c], row], ops[c], bounds[c]):
                kept = False
                break
        if kept:
            found += 1
            if found >= limit:
                break
    return found


@numba.njit(cache=True, parallel=True)
def _count_all(
    values: Any, order: Any, ranked: Any, known: Any, columns: Any, ops: Any, bounds: Any, starts: Any, limit: int
) -> Any:  # pragma: no cover - compiled
    made = np.empty(starts.shape[0] - 1, np.int64)
    for i in numba.prange(starts.shape[0] - 1):
        a, b = starts[i], starts[i + 1]
        made[i] = count(values, order, ranked, known, columns[a:b], ops[a:b], bounds[a:b], limit)
    return made

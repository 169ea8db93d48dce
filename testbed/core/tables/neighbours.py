"""Exact nearest neighbours among rows with numbers and categories, by Gower's distance (1971) on a robust scale.

The distance of two rows is a sum over columns: min(1, |a - b|) for numbers, placed on the release's `Scale`, and 0 or 1
for categories. Two missing values have distance 0, a missing and a known one distance 1. The search first computes a
lower bound for every row, from one byte a column. Only rows that could still be nearest are then summed in float64, by
the definition, so the result is exact.

Between equally near rows a hash of both rows' values and the seed chooses. This is random, but depends neither on the
order of rows nor gives everybody the same released row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from testbed.core import Column, Table
from testbed.core.executor import IN_TURN, spread_of_rows
from testbed.core.tables.compiled import FAR, STEPS, search, search_each
from testbed.core.tables.rows import row_keys
from testbed.core.tables.scale import Scale

Array = npt.NDArray[Any]
LEAST, MOST, GAP = -0.1, 1.15, 255
"""The smallest and the largest place that a byte can hold, in widths; and the byte of a missing value."""
MOST_BYTES = 65535 // FAR
"""Columns whose steps can be summed in two bytes; further columns count as equal in the lower bound."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows prepared for the search: bytes `low` (q, n) for lower bounds, and exact values `exact` (n, p).

    The first `categories` columns of `low` are categories. `keys` (n,) are hashes of the rows.
    """

    low: Array
    categories: int
    exact: Array
    widths: Array
    """(p,): 1 for a number on its scale, 0 for a column whose values are only equal or different."""
    keys: Array

    @staticmethod
    def of(table: Table, scale: Scale, seed: int) -> Rows:
        n, p = len(table), len(table.columns)
        exact = np.empty((n, p), np.float64)
        widths = np.zeros(p)
        low: tuple[list[Array], list[Array]] = [], []
        for j, (column, values) in enumerate(zip(table.columns, table.values, strict=True)):
            if column.kind == "categorical":
                exact[:, j] = values
                low[0].append((values & 0xFF).astype(np.uint8))
            else:
                axis = scale.axes[column.name]
                exact[:, j] = axis.places(values)
                widths[j] = 1.0 if axis.width else 0.0
                low[1].append(_in_steps(exact[:, j], widths[j]))
        bytes_ = np.stack([*low[0], *low[1]][:MOST_BYTES]) if p else np.empty((0, n), np.uint8)
        return Rows(bytes_, min(len(low[0]), MOST_BYTES), exact, widths, row_keys(table, seed))


def _in_steps(places: Array, width: float) -> Array:
    """Places as bytes: the number of steps from `LEAST`, rounded down, with far values cut off.

    Rounding and cutting off increase a distance by less than one step. The steps between two numbers, minus one, are
    therefore a lower bound of their distance. If only equality counts, all numbers get the same byte.
    """
    if width == 0:
        return np.where(np.isnan(places), GAP, 0).astype(np.uint8)
    steps = np.floor((np.clip(places, LEAST, MOST) - LEAST) * STEPS)
    return np.where(np.isnan(places), GAP, steps).astype(np.uint8)


def _searched(work: Callable[[Any, Table], Any], shared: Any, release: Table) -> list[tuple[Array, ...]]:
    """`work(shared, part)` for every part of the release, in order: rows found, distances, hashes and ties.

    The rows found are numbered as in the whole release.
    """
    spread = spread_of_rows()
    if spread is IN_TURN:
        return [work(shared, release)]
    parts = [p for p in np.array_split(np.arange(len(release)), spread.workers) if len(p)]
    done = dict(spread(work, shared, [release.take(p) for p in parts]))
    return [(done[i][0] + p[0], *done[i][1:]) for i, p in enumerate(parts)]


def nearest(
    targets: Table, release: Table, scale: Scale, seed: int, k: int = 1, root: bool = False
) -> tuple[Array, Array, Array]:
    """The k nearest released rows of each target (n, k), their distances (n, k), and whether chance settled a tie (n,).

    With `root`, each column counts by the square root of its distance. A row that differs in one column only is then
    nearer than a row that differs a little in all columns.

    Rows are compared in the targets' columns. Ties are settled by all columns of the release: otherwise, among rows
    that agree in the targets' columns, the first in the file would be taken.
    """
    parts = _searched(_nearest_in, (targets, scale, seed, k, root), release)
    found, distance, hashes = (np.concatenate(p, 1) for p in list(zip(*parts, strict=True))[:3])
    k = min(k, len(release))
    if len(parts) == 1:
        return found, distance, parts[0][3]
    order = np.lexsort((hashes, distance), axis=1)  # stable: the first of equal rows
    chosen, others = order[:, :k], order[:, k:]
    last = np.take_along_axis(distance, chosen, 1)[:, -1:]
    tied = (np.take_along_axis(distance, others, 1) == last).any(1)
    for _, own, _, own_tied in parts:
        tied |= own_tied & (own[:, -1:] == last)[:, 0]
    return np.take_along_axis(found, chosen, 1), np.take_along_axis(distance, chosen, 1), tied


def _nearest_in(shared: Any, release: Table) -> tuple[Array, ...]:
    targets, scale, seed, k, root = shared
    pool = Rows.of(release.select(tuple(c.name for c in targets.columns)), scale, seed)
    asked = Rows.of(targets, scale, seed + 1)
    rows = (pool.low, pool.categories, pool.exact, pool.widths, row_keys(release, seed))
    made = _answers(len(targets), k := min(k, len(release)))
    tied = np.zeros(len(targets), np.bool_)
    search(*rows, np.ascontiguousarray(asked.low.T), asked.exact, asked.keys, k, root, *made, tied)
    return *made, tied


def _answers(m: int, k: int) -> tuple[Array, Array, Array]:
    """Room for k rows found for each of m rows, their distances and their hashes."""
    return np.zeros((m, k), np.int64), np.full((m, k), np.inf), np.zeros((m, k), np.uint64)


def nearest_without_each(
    targets: Table, release: Table, secrets: tuple[Column, ...], scale: Scale, seed: int
) -> tuple[Array, Array]:
    """The nearest released row by all columns except the secret (n, secrets), and whether chance settled a tie.

    The targets' own values of a secret do not influence the result for it; `tests/test_conformance.py` replaces them
    to check this.
    """
    parts = _searched(_nearest_without_each_in, (targets, secrets, scale, seed), release)
    found, distance, hashes, tied = (np.stack(p) for p in zip(*parts, strict=True))
    best = np.lexsort((hashes, distance), axis=0)[:1]
    nearest_ = np.take_along_axis(distance, best, 0)
    equal = distance == nearest_
    return np.take_along_axis(found, best, 0)[0], (equal & tied).any(0) | (equal.sum(0) > 1)


def _nearest_without_each_in(shared: Any, release: Table) -> tuple[Array, ...]:
    targets, secrets, scale, seed = shared
    pool, asked = Rows.of(release, scale, seed), Rows.of(targets, scale, seed)
    names = [c.name for c in release.columns]
    left_out = np.array([names.index(s.name) for s in secrets], dtype=np.int64)
    # The hash that settles ties must not depend on the secret either.
    keys = np.stack([row_keys(targets.select(tuple(n for n in names if n != s.name)), seed + 1) for s in secrets])
    rows = (pool.low, pool.categories, pool.exact, pool.widths, pool.keys)
    made = _answers(len(targets), len(left_out))
    tied = np.zeros(made[0].shape, np.bool_)
    shared_ = np.ascontiguousarray(asked.low.T), asked.exact, np.ascontiguousarray(keys.T), left_out
    search_each(*rows, *shared_, *made, tied)
    return *made, tied


def gaps(rows: Table, others: Table, scale: Scale) -> tuple[Array, ...]:
    """For each column the root of its distance between each row and each other: (rows, others), single precision."""
    found: list[Array] = []
    for column, one, other in zip(rows.columns, rows.values, others.values, strict=True):
        if column.kind == "categorical":
            found.append((one[:, None] != other).astype(np.float32))
            continue
        axis = scale.axes[column.name]
        a, b = axis.places(one)[:, None], axis.places(other)[None, :]
        missing = np.isnan(a), np.isnan(b)
        apart = np.minimum(np.abs(a - b), 1.0) if axis.width else (a != b).astype(float)
        apart = np.where(missing[0] | missing[1], missing[0] != missing[1], apart)
        found.append(np.sqrt(apart).astype(np.float32))
    return tuple(found)

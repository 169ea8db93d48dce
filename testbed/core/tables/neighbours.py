"""Exact nearest neighbours among rows with numbers and categories, by Gower's distance (1971) on a robust scale.

The distance of two rows is a sum over columns: min(1, |a - b|) for numbers, placed on the release's `Scale`, and 0 or 1
for categories. Two missing values have distance 0, a missing and a known one distance 1. The search first computes a
lower bound for every row, from one byte a column. Only rows that could still be nearest are then summed in float64, by
the definition, so the result is exact.

Between equally near rows a hash of both rows' values and the seed chooses. This is random, but depends neither on the
order of rows nor gives everybody the same released row.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from testbed.core import Column, Table
from testbed.core.executor import IN_TURN, spread_of_rows
from testbed.core.tables.rows import mix, row_keys
from testbed.core.tables.scale import Scale

Array = npt.NDArray[Any]
BLOCK = 2048
"""Rows whose lower bounds are computed together."""
STEPS = 200
"""Steps in one width of a column, in which a byte counts a number's place."""
LEAST, MOST, GAP = -0.1, 1.15, 255
"""The smallest and the largest place that a byte can hold, in widths; and the byte of a missing value."""
FAR = STEPS + 1
"""The steps between two different categories, and at most between two numbers. It is one more than `STEPS`, because
rounding may lose one step."""
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


@numba.njit(cache=True, nogil=True)
def _gap(a: float, b: float, width: float) -> float:  # pragma: no cover - compiled
    if a != a or b != b:
        return 0.0 if a != a and b != b else 1.0
    if width == 0.0:
        return 0.0 if a == b else 1.0
    d = abs(a - b) / width
    return d if d < 1.0 else 1.0


@numba.njit(cache=True, nogil=True)
def _limit(bound: float, columns: int, p: int) -> int:  # pragma: no cover - compiled
    """The largest sum of steps at which a row may still be as near as `bound`: one step a column may be lost."""
    most = STEPS * (bound + 1e-5 + p * 2e-6) + columns
    return 65535 if most > 65535 else int(most)


@numba.njit(cache=True, nogil=True)
def _bounds(
    low: Any, categories: int, asked: Any, start: int, stop: int, total: Any, limit: int
) -> bool:  # pragma: no cover - compiled
    """Writes into `total` the steps from each row of a block to the row asked about.

    Returns False if the categories alone already put every row above the limit.
    """
    n = stop - start
    for r in range(n):
        total[r] = np.uint16(0)
    for c in range(low.shape[0]):
        if c == categories and c > 0:
            least = np.uint16(65535)
            for r in range(n):
                least = min(least, total[r])
            if least > limit:
                return False
        q, column = asked[c], low[c, start:stop]
        if c < categories:
            for r in range(n):
                total[r] = np.uint16(total[r] + np.uint16(FAR) * np.uint16(column[r] != q))
        else:
            for r in range(n):
                v = column[r]
                total[r] = np.uint16(total[r] + np.uint16(min(np.uint8(max(v, q) - min(v, q)), np.uint8(FAR))))
    return True


@numba.njit(cache=True, nogil=True)
def _exact(a: Any, b: Any, widths: Any, skipped: int, bound: float, root: bool) -> float:  # pragma: no cover - compiled
    """The distance by its definition, without column `skipped`; the sum stops once it is above `bound`."""
    total = 0.0
    for j in range(a.shape[0]):
        if j != skipped:
            gap = _gap(a[j], b[j], widths[j])
            total += math.sqrt(gap) if root else gap
            if total > bound:
                return total
    return total


@numba.njit(cache=True, parallel=True)
def _search(
    low: Any,
    categories: int,
    exact: Any,
    widths: Any,
    keys: Any,
    a_low: Any,
    a_exact: Any,
    a_keys: Any,
    k: int,
    root: bool,
) -> Any:  # pragma: no cover - compiled
    m, n, p = a_exact.shape[0], exact.shape[0], exact.shape[1]
    found = np.zeros((m, k), np.int64)
    distance = np.full((m, k), np.inf)
    hashed = np.zeros((m, k), np.uint64)
    tied = np.zeros(m, np.bool_)
    for i in numba.prange(m):
        total = np.empty(BLOCK, np.uint16)
        best, hashes, outside = distance[i], hashed[i], 0
        asked, limit = a_low[:, i].copy(), 65535
        for start in range(0, n, BLOCK):
            stop = min(n, start + BLOCK)
            if not _bounds(low, categories, asked, start, stop, total, limit):
                continue
            for r in range(start, stop):
                if total[r - start] > limit:
                    continue
                bound = best[k - 1]
                d = _exact(exact[r], a_exact[i], widths, -1, bound, root)
                if d > bound:
                    continue
                h = mix(keys[r] ^ a_keys[i])
                if d == bound and h >= hashes[k - 1]:
                    outside += 1
                    continue
                place = k - 1
                while place > 0 and (best[place - 1] > d or (best[place - 1] == d and hashes[place - 1] > h)):
                    best[place], hashes[place], found[i, place] = (
                        best[place - 1],
                        hashes[place - 1],
                        found[i, place - 1],
                    )
                    place -= 1
                best[place], hashes[place], found[i, place] = d, h, r
                outside = outside + 1 if best[k - 1] == bound else 0
                limit = _limit(best[k - 1], low.shape[0], p)
        tied[i] = outside > 0
    return found, distance, hashed, tied


@numba.njit(cache=True, parallel=True)
def _search_each(
    low: Any, categories: int, exact: Any, widths: Any, keys: Any, a_low: Any, a_exact: Any, a_keys: Any, out: Any
) -> Any:  # pragma: no cover - compiled
    """For each column in `out`, the nearest row by all other columns; all are found in one pass over the rows."""
    m, n, p, s = a_exact.shape[0], exact.shape[0], exact.shape[1], out.shape[0]
    found = np.zeros((m, s), np.int64)
    distance, hashed = np.full((m, s), np.inf), np.zeros((m, s), np.uint64)
    tied = np.zeros((m, s), np.bool_)
    for i in numba.prange(m):
        total = np.empty(BLOCK, np.uint16)
        best, hashes, gaps = distance[i], hashed[i], np.empty(p)
        asked, limit = a_low[:, i].copy(), 65535
        for start in range(0, n, BLOCK):
            stop = min(n, start + BLOCK)
            # Leaving out a column makes the distance at most 1 smaller.
            if not _bounds(low, categories, asked, start, stop, total, limit):
                continue
            for r in range(start, stop):
                if total[r - start] > limit:
                    continue
                whole = 0.0
                for j in range(p):
                    gaps[j] = _gap(exact[r, j], a_exact[i, j], widths[j])
                    whole += gaps[j]
                changed = False
                for t in range(s):
                    if whole - gaps[out[t]] > best[t] + 1e-9:
                        continue
                    d = _exact(exact[r], a_exact[i], widths, out[t], best[t], False)
                    if d > best[t]:
                        continue
                    h = mix(keys[r] ^ mix(a_keys[t, i]))
                    if d == best[t]:
                        tied[i, t] = True
                        if h >= hashes[t]:
                            continue
                    else:
                        tied[i, t] = False
                        changed = True
                    best[t], hashes[t], found[i, t] = d, h, r
                if changed:
                    limit = _limit(best.max() + 1.0, low.shape[0], p)
    return found, distance, hashed, tied


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
    return _search(*rows, asked.low, asked.exact, asked.keys, min(k, len(release)), root)


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
    return _search_each(*rows, asked.low, asked.exact, keys, left_out)


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

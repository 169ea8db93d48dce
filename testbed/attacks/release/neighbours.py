"""Exact nearest neighbours among mixed-type rows, by Gower's distance (1971) with ranges taken from the release.

Per column the distance is min(1, |a - b| / range) for numbers and 0 or 1 for categories; both missing is 0, one
missing is 1. Every row is first bounded from below, by counts of differing categories (bytes) or by the whole sum in
float32; only what could win is summed in float64, by the definition. Nothing is approximate.

Ties are settled by a hash of both rows' contents and the seed: by chance, and yet neither by the order of rows nor
by the same released row for everybody.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from testbed.core import Column, Table
from testbed.matching import mix, row_keys
from testbed.spread import IN_TURN, spread_of_rows

Array = npt.NDArray[Any]
BLOCK = 2048
MISSING = 5.0
"""Where a missing number is put in units of the range: further than 1 from every number, which lie in [-1, 2]."""
MOST_BYTES = 255
"""Differing categories are counted in a byte."""


# --- rows made ready ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scale:
    """Where each numeric column of the release begins, and its range; fixed from the release once."""

    origins: dict[str, float]
    ranges: dict[str, float]

    @staticmethod
    def of(release: Table) -> Scale:
        origins: dict[str, float] = {}
        ranges: dict[str, float] = {}
        for column, values in zip(release.columns, release.values, strict=True):
            if column.kind == "numeric":
                known = values[~np.isnan(values)]
                origins[column.name] = float(known.min()) if len(known) else 0.0
                width = float(known.max() / 2 - known.min() / 2) * 2 if len(known) else 0.0
                # What is too narrow to divide by counts as no range at all: it only tells equal from different.
                ranges[column.name] = width if width > np.finfo(float).tiny else 0.0
        return Scale(origins, ranges)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows ready to be searched: `near` (p, n) float32 for bounds, `low` (q, n) bytes of codes, `exact` (n, p)."""

    near: Array
    low: Array
    exact: Array
    widths: Array
    """(p,): a number's range, 0 where equality is all that counts."""
    keys: Array

    @staticmethod
    def of(table: Table, scale: Scale, seed: int) -> Rows:
        n, p = len(table), len(table.columns)
        near, exact = np.empty((p, n), np.float32), np.empty((n, p), np.float64)
        widths = np.zeros(p)
        low: list[Array] = []
        for j, (column, values) in enumerate(zip(table.columns, table.values, strict=True)):
            exact[:, j] = values
            if column.kind == "categorical":
                near[j] = values
                low.append((values & 0xFF).astype(np.uint8))
            else:
                widths[j] = scale.ranges[column.name]
                near[j] = _in_ranges(values, scale.origins[column.name], widths[j])
        bytes_ = np.stack(low[:MOST_BYTES]) if low else np.empty((0, n), np.uint8)
        return Rows(near, bytes_, exact, widths, row_keys(table, seed))


def _in_ranges(values: Array, origin: float, width: float) -> Array:
    """Numbers as multiples of the range from the release's smallest on; what lies a range outside is put there."""
    if width == 0:
        placed = np.where(values == origin, 0.0, 2.0)
    else:
        with np.errstate(over="ignore"):
            placed = np.clip(values / width - origin / width, -1.0, 2.0)
    return np.where(np.isnan(values), MISSING, placed)


# --- the search -----------------------------------------------------------------------------------------


@numba.njit(cache=True, nogil=True)
def _gap(a: float, b: float, width: float) -> float:  # pragma: no cover - compiled
    if a != a or b != b:
        return 0.0 if a != a and b != b else 1.0
    if width == 0.0:
        return 0.0 if a == b else 1.0
    d = abs(a - b) / width
    return d if d < 1.0 else 1.0


@numba.njit(cache=True, nogil=True, fastmath=True)
def _bounds(near: Any, asked: Any, start: int, stop: int, total: Any) -> None:  # pragma: no cover - compiled
    """The distances of a block in float32: right but for rounding."""
    for r in range(stop - start):
        total[r] = np.float32(0.0)
    for c in range(near.shape[0]):
        q = asked[c]
        column = near[c, start:stop]
        for r in range(stop - start):
            total[r] += min(abs(column[r] - q), np.float32(1.0))


@numba.njit(cache=True, nogil=True)
def _differing(low: Any, asked: Any, start: int, stop: int, count: Any, most: int) -> int:  # pragma: no cover
    """How many categories differ at least, by row of a block; returns how many rows stay at or below `most`."""
    for r in range(stop - start):
        count[r] = np.uint8(0)
    for c in range(low.shape[0]):
        q = asked[c]
        column = low[c, start:stop]
        for r in range(stop - start):
            count[r] += np.uint8(column[r] != q)
    left = 0
    for r in range(stop - start):
        left += count[r] <= most
    return left


@numba.njit(cache=True, nogil=True)
def _exact(a: Any, b: Any, widths: Any, skipped: int, bound: float) -> float:  # pragma: no cover - compiled
    """The distance by definition, without one column; abandoned once it is above the bound."""
    total = 0.0
    for j in range(a.shape[0]):
        if j != skipped:
            total += _gap(a[j], b[j], widths[j])
            if total > bound:
                return total
    return total


@numba.njit(cache=True, nogil=True)
def _candidates(
    near: Any, low: Any, asked: Any, asked_low: Any, start: int, stop: int, bound: float, total: Any, count: Any
) -> bool:  # pragma: no cover - compiled
    """Bound a block's rows from below, in `count` (returns True) or in `total` (returns False)."""
    if low.shape[0] and bound < near.shape[0]:
        left = _differing(low, asked_low, start, stop, count, int(bound + 1e-9))
        if left * 8 < stop - start:
            return True
    _bounds(near, asked, start, stop, total)
    return False


@numba.njit(cache=True, parallel=True)
def _search(
    near: Any, low: Any, exact: Any, widths: Any, keys: Any, a_near: Any, a_low: Any, a_exact: Any, a_keys: Any, k: int
) -> Any:  # pragma: no cover - compiled
    m, n, p = a_exact.shape[0], exact.shape[0], exact.shape[1]
    found = np.zeros((m, k), np.int64)
    distance = np.full((m, k), np.inf)
    hashed = np.zeros((m, k), np.uint64)
    tied = np.zeros(m, np.bool_)
    slack = 1e-5 + p * 2e-6
    for i in numba.prange(m):
        total, count = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.uint8)
        best, hashes, outside = distance[i], hashed[i], 0
        asked, asked_low = a_near[:, i].copy(), a_low[:, i].copy()
        for start in range(0, n, BLOCK):
            stop = min(n, start + BLOCK)
            by_count = _candidates(near, low, asked, asked_low, start, stop, best[k - 1], total, count)
            for r in range(start, stop):
                bound = best[k - 1]
                if (count[r - start] if by_count else total[r - start]) > bound + slack:
                    continue
                d = _exact(exact[r], a_exact[i], widths, -1, bound)
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
        tied[i] = outside > 0
    return found, distance, hashed, tied


@numba.njit(cache=True, parallel=True)
def _search_each(
    near: Any,
    low: Any,
    exact: Any,
    widths: Any,
    keys: Any,
    a_near: Any,
    a_low: Any,
    a_exact: Any,
    a_keys: Any,
    out: Any,
) -> Any:  # pragma: no cover - compiled
    """For each column in `out` the nearest row by all other columns, in one pass over the rows."""
    m, n, p, s = a_exact.shape[0], exact.shape[0], exact.shape[1], out.shape[0]
    found = np.zeros((m, s), np.int64)
    distance, hashed = np.full((m, s), np.inf), np.zeros((m, s), np.uint64)
    tied = np.zeros((m, s), np.bool_)
    slack = 1e-5 + p * 2e-6
    for i in numba.prange(m):
        total, count = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.uint8)
        best, hashes, gaps = distance[i], hashed[i], np.empty(p)
        asked, asked_low = a_near[:, i].copy(), a_low[:, i].copy()
        worst = np.inf
        for start in range(0, n, BLOCK):
            stop = min(n, start + BLOCK)
            # Leaving a column out takes at most 1 off the distance.
            by_count = _candidates(near, low, asked, asked_low, start, stop, worst + 1.0, total, count)
            for r in range(start, stop):
                if (count[r - start] if by_count else total[r - start]) > worst + 1.0 + slack:
                    continue
                whole = 0.0
                for j in range(p):
                    gaps[j] = _gap(exact[r, j], a_exact[i, j], widths[j])
                    whole += gaps[j]
                changed = False
                for t in range(s):
                    if whole - gaps[out[t]] > best[t] + 1e-9:
                        continue
                    d = _exact(exact[r], a_exact[i], widths, out[t], best[t])
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
                    worst = best.max()
    return found, distance, hashed, tied


# --- in one piece or in parts ---------------------------------------------------------------------------


def _searched(work: Callable[[Any, Table], Any], shared: Any, release: Table) -> list[tuple[Array, ...]]:
    """`work(shared, part)` of every part, in order: found, distances, hashes and ties; found as rows of the whole."""
    spread = spread_of_rows()
    if spread is IN_TURN:
        return [work(shared, release)]
    parts = [p for p in np.array_split(np.arange(len(release)), spread.workers) if len(p)]
    done = dict(spread(work, shared, [release.take(p) for p in parts]))
    return [(done[i][0] + p[0], *done[i][1:]) for i, p in enumerate(parts)]


def nearest(targets: Table, release: Table, scale: Scale, seed: int, k: int = 1) -> tuple[Array, Array, Array]:
    """The k nearest released rows of each target (n, k), their distances (n, k), and whether a tie was settled (n,).

    Both tables have the same columns, of which the release's `scale` may know more.
    """
    parts = _searched(_nearest_in, (targets, scale, seed, k), release)
    found, distance, hashes = (np.concatenate(p, 1) for p in list(zip(*parts, strict=True))[:3])
    k = min(k, len(release))
    if len(parts) == 1:
        return found, distance, parts[0][3]
    order = np.lexsort((hashes, distance), axis=1)  # stable: of rows alike the first
    chosen, others = order[:, :k], order[:, k:]
    last = np.take_along_axis(distance, chosen, 1)[:, -1:]
    tied = (np.take_along_axis(distance, others, 1) == last).any(1)
    for _, own, _, own_tied in parts:
        tied |= own_tied & (own[:, -1:] == last)[:, 0]
    return np.take_along_axis(found, chosen, 1), np.take_along_axis(distance, chosen, 1), tied


def _nearest_in(shared: Any, release: Table) -> tuple[Array, ...]:
    targets, scale, seed, k = shared
    pool, asked = Rows.of(release, scale, seed), Rows.of(targets, scale, seed + 1)
    rows = (pool.near, pool.low, pool.exact, pool.widths, pool.keys)
    return _search(*rows, asked.near, asked.low, asked.exact, asked.keys, min(k, len(release)))


def nearest_without_each(
    targets: Table, release: Table, secrets: tuple[Column, ...], scale: Scale, seed: int
) -> tuple[Array, Array]:
    """For each secret the nearest released row by all columns but that one: (n, secrets), and whether tied.

    The targets' own values of a secret cancel out of the answer for it; `tests/test_conformance.py` replaces them.
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
    # A key must not depend on the secret either.
    keys = np.stack([row_keys(targets.select(tuple(n for n in names if n != s.name)), seed + 1) for s in secrets])
    rows = (pool.near, pool.low, pool.exact, pool.widths, pool.keys)
    return _search_each(*rows, asked.near, asked.low, asked.exact, keys, left_out)

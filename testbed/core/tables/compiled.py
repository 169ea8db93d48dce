"""The compiled part of the search for nearest neighbours.

Loops over one row are compiled by themselves, and only loops over rows run in parallel: that takes half as long to
compile. Rows asked about are (n, columns) here, so that each is contiguous.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from testbed.core.tables.rows import mix

BLOCK = 2048
"""Rows whose lower bounds are computed together."""
STEPS = 200
"""Steps in one width of a column, in which a byte counts a number's place."""
FAR = STEPS + 1
"""The steps between two different categories, and at most between two numbers. It is one more than `STEPS`, because
rounding may lose one step."""


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


@numba.njit(cache=True, nogil=True)
def _search_row(
    low: Any,
    categories: int,
    exact: Any,
    widths: Any,
    keys: Any,
    asked: Any,
    a_exact: Any,
    a_key: Any,
    k: int,
    root: bool,
    found: Any,
    best: Any,
    hashes: Any,
) -> bool:  # pragma: no cover - compiled
    """Writes the k nearest rows of one row, their distances and hashes. Returns whether chance settled a tie."""
    n, p, outside, limit = exact.shape[0], exact.shape[1], 0, 65535
    total = np.empty(BLOCK, np.uint16)
    for start in range(0, n, BLOCK):
        stop = min(n, start + BLOCK)
        if not _bounds(low, categories, asked, start, stop, total, limit):
            continue
        for r in range(start, stop):
            if total[r - start] > limit:
                continue
            bound = best[k - 1]
            d = _exact(exact[r], a_exact, widths, -1, bound, root)
            if d > bound:
                continue
            h = mix(keys[r] ^ a_key)
            if d == bound and h >= hashes[k - 1]:
                outside += 1
                continue
            place = k - 1
            while place > 0 and (best[place - 1] > d or (best[place - 1] == d and hashes[place - 1] > h)):
                best[place], hashes[place], found[place] = best[place - 1], hashes[place - 1], found[place - 1]
                place -= 1
            best[place], hashes[place], found[place] = d, h, r
            outside = outside + 1 if best[k - 1] == bound else 0
            limit = _limit(best[k - 1], low.shape[0], p)
    return outside > 0


@numba.njit(cache=True, parallel=True)
def search(
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
    found: Any,
    distance: Any,
    hashed: Any,
    tied: Any,
) -> None:  # pragma: no cover - compiled
    """Writes, for each row asked, the k nearest rows, their distances and hashes, and whether chance settled a tie."""
    for i in numba.prange(a_exact.shape[0]):
        tied[i] = _search_row(
            low,
            categories,
            exact,
            widths,
            keys,
            a_low[i],
            a_exact[i],
            a_keys[i],
            k,
            root,
            found[i],
            distance[i],
            hashed[i],
        )


@numba.njit(cache=True, nogil=True)
def _search_row_each(
    low: Any,
    categories: int,
    exact: Any,
    widths: Any,
    keys: Any,
    asked: Any,
    a_exact: Any,
    a_keys: Any,
    out: Any,
    found: Any,
    best: Any,
    hashes: Any,
    tied: Any,
) -> None:  # pragma: no cover - compiled
    """Writes, for one row and each column in `out`, the nearest row by all other columns; in one pass over the rows."""
    n, p, s, limit = exact.shape[0], exact.shape[1], out.shape[0], 65535
    total, gaps = np.empty(BLOCK, np.uint16), np.empty(p)
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
                gaps[j] = _gap(exact[r, j], a_exact[j], widths[j])
                whole += gaps[j]
            changed = False
            for t in range(s):
                if whole - gaps[out[t]] > best[t] + 1e-9:
                    continue
                d = _exact(exact[r], a_exact, widths, out[t], best[t], False)
                if d > best[t]:
                    continue
                h = mix(keys[r] ^ mix(a_keys[t]))
                if d == best[t]:
                    tied[t] = True
                    if h >= hashes[t]:
                        continue
                else:
                    tied[t] = False
                    changed = True
                best[t], hashes[t], found[t] = d, h, r
            if changed:
                limit = _limit(best.max() + 1.0, low.shape[0], p)


@numba.njit(cache=True, parallel=True)
def search_each(
    low: Any,
    categories: int,
    exact: Any,
    widths: Any,
    keys: Any,
    a_low: Any,
    a_exact: Any,
    a_keys: Any,
    out: Any,
    found: Any,
    distance: Any,
    hashed: Any,
    tied: Any,
) -> None:  # pragma: no cover - compiled
    """Writes, for each row asked and each column in `out`, the nearest row by all other columns."""
    for i in numba.prange(a_exact.shape[0]):
        _search_row_each(
            low,
            categories,
            exact,
            widths,
            keys,
            a_low[i],
            a_exact[i],
            a_keys[i],
            out,
            found[i],
            distance[i],
            hashed[i],
            tied[i],
        )

"""Which rows of a large release may be near copies of somebody? A cheap look at all of them, before the exact search.

All pairs of a large release cannot be compared. If rows were drawn at random, near copies would be missed, and the more
so the larger the release is. So all rows are looked up by several random sets of columns. Numbers are put into bins,
and each set has so many columns that two strangers seldom agree. A row that finds somebody under many of these sets is
promising.

The look-up knows nobody's membership, so a test on members among the people found stays exact.
"""

from __future__ import annotations

import numpy as np

from testbed.core import Array, Table
from testbed.core.randomness import keyed_rng
from testbed.core.tables.rows import row_keys

SETS, BINS = 12, 8
"""Random sets of columns, and bins of equal weight for a number, whose edges are drawn anew for each set."""
SPARE = 4.0
"""Bits by which a set of columns tells more than it takes to tell one person from all: strangers agree 1 time in 16."""
EDGES = 20_000
"""Most rows from which bins and the bits of a column are taken."""
FACTOR = np.uint64(0x9E3779B97F4A7C15)


def promise(release: Table, pool: Table, seed: int) -> Array:
    """For each released row (n,): under how many sets of columns somebody in the pool has the same values."""
    rng = keyed_rng(seed, "promising rows")
    hits = np.zeros(len(release), np.int64)
    sample = np.argsort(row_keys(pool, seed), kind="stable")[:EDGES]
    wanted = np.log2(max(2, len(pool))) + SPARE
    for _ in range(SETS):
        keys = np.zeros(len(pool), np.uint64), np.zeros(len(release), np.uint64)
        bits = 0.0
        for j in rng.permutation(len(pool.columns)).tolist():
            if bits >= wanted:
                break
            own, released = pool.values[j], release.values[j]
            if pool.columns[j].kind == "numeric":
                edges = _edges(own[sample], rng)
                own, released = _binned(own, edges), _binned(released, edges)
            bits += _bits(own[sample])
            keys = tuple(
                (key ^ codes.astype(np.int64).view(np.uint64)) * FACTOR + (key >> np.uint64(29))
                for key, codes in zip(keys, (own, released), strict=True)
            )
        known = np.sort(keys[0])
        place = np.minimum(np.searchsorted(known, keys[1]), len(known) - 1)
        hits += known[place] == keys[1]
    return hits


def _edges(values: Array, rng: np.random.Generator) -> Array:
    """Edges of bins that hold about as many values each, moved by a random part of a bin."""
    known = values[~np.isnan(values)]
    if not len(known):
        return np.empty(0)
    return np.unique(np.quantile(known, (np.arange(BINS) + rng.random()) / BINS))


def _binned(values: Array, edges: Array) -> Array:
    return np.where(np.isnan(values), -1, np.searchsorted(edges, values, "right"))


def _bits(codes: Array) -> float:
    """-log2 of the chance that two people agree in the column."""
    _, counts = np.unique(codes, return_counts=True)
    return -float(np.log2(((counts / len(codes)) ** 2).sum()))

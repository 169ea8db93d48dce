"""Hashes of rows: rows with equal values have equal keys."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from testbed.core import Table
from testbed.core.tables.index import Array


@numba.njit(cache=True, nogil=True)
def mix(x: Any) -> Any:  # pragma: no cover - compiled
    """One round of splitmix64's finaliser (Steele et al. 2014)."""
    x = x ^ (x >> np.uint64(30))
    x = x * np.uint64(0xBF58476D1CE4E5B9)
    x = x ^ (x >> np.uint64(27))
    x = x * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def row_keys(table: Table, seed: int) -> Array:
    """A hash (n,) uint64 of each row, which depends only on the seed and on the row's values."""
    keys = np.full(len(table), seed, dtype=np.uint64)
    with np.errstate(over="ignore"):
        for values in table.values:
            numbers = values.astype(np.float64) + 0.0
            numbers[np.isnan(numbers)] = np.nan
            keys = _mix_all(keys + np.uint64(0x9E3779B97F4A7C15), numbers.view(np.uint64))
    return keys


@numba.njit(cache=True, nogil=True)
def _mix_all(keys: Any, bits: Any) -> Any:  # pragma: no cover - compiled
    made = np.empty_like(keys)
    for i in range(keys.shape[0]):
        made[i] = mix(keys[i] ^ mix(bits[i]))
    return made


def in_order(table: Table) -> Table:
    """The table with its rows in an order that follows from values alone: by their hashes, then those of the person."""
    keys = row_keys(table, 0)
    person = np.unique(table.persons, return_inverse=True)[1]
    theirs = np.zeros(person.max(initial=-1) + 1, np.uint64)
    np.add.at(theirs, person, keys)
    return table.take(np.lexsort((theirs[person], keys)))


def numbered(*tables: Table) -> list[Array]:
    """A number for each row of each table, (n,) a table: rows have the same one if all values are equal.

    Rows are compared by 128-bit hashes.
    """
    pairs = [np.stack([row_keys(t, seed) for seed in (1, 2)], 1) for t in tables]
    joined = np.concatenate(pairs)
    order = np.lexsort((joined[:, 1], joined[:, 0]))
    new = np.r_[True, (np.diff(joined[order].view(np.int64), axis=0) != 0).any(1)]
    number = np.empty(len(joined), np.int64)
    number[order] = np.cumsum(new) - 1
    return np.split(number, np.cumsum([len(t) for t in tables])[:-1])

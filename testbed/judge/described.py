# pyright: strict
"""Judging claims about groups of a client's people, and about values that somebody there has."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from testbed.core import Array, Cell, Cohort, Evidence, Group, Groups, Values
from testbed.judge.arrays import flat

Key = tuple[int, int]


def groups(claim: Groups, truth: Mapping[Key, Cohort], view: Cell, group: Group) -> Evidence:
    """Evidence that each group has exactly as many people of each class as the claim says.

    Every group is an item of its own: the groups of one tree share its people, so where one has more than claimed
    another has fewer, and to take them as independent widens no interval too little.
    """
    right: list[float] = []
    for key, people in truth.items():
        bounds, counts = claim.bounds.get(key), claim.counts.get(key)
        if bounds is None or counts is None:
            continue
        inside = within(people.x, bounds)
        held = np.stack([(inside & (people.y == c)).sum(1) for c in range(counts.shape[1])], 1)
        right += (held == counts).all(1).astype(float).tolist()
    return Evidence.rows(view, group, success=right, requested=len(right))


def within(x: Array, bounds: Array) -> Array:
    """Who of the records (n, features) belongs to which group: (k, n) bool, for bounds (k, features, 2)."""
    records = flat(x)[None]
    return ((records >= bounds[:, None, :, 0]) & (records < bounds[:, None, :, 1])).all(2)


def values(claim: Values, truth: Mapping[Key, Cohort], view: Cell, group: Group) -> Evidence:
    """Evidence that somebody at the client has each claimed value, to the last digit of a 32-bit float."""
    right: list[float] = []
    for key, people in truth.items():
        if key not in claim.columns:
            continue
        records = flat(people.x).astype(np.float32)
        pairs = zip(claim.columns[key].tolist(), claim.values[key].astype(np.float32), strict=True)
        right += [float((records[:, column] == value).any()) for column, value in pairs]
    return Evidence.rows(view, group, success=right, requested=len(right))

# pyright: strict, reportMissingTypeStubs=false
"""Judging membership claims: scores of records that were used and of records that were not, and named clients."""

from __future__ import annotations

import numpy as np

from testbed.core import Array, Cell, Evidence, Scores, Sources
from testbed.judge.groups import by_group, groups


def scores(claim: Scores, used: Array, view: Cell, persons: Array | None = None) -> Evidence:
    """Evidence with the score of each record; success is NaN, because statistics chooses the threshold later.

    `used` (n,) bool says whether each record was used, in the question's order. Records of one of the `persons` (n,)
    are one cluster; without `persons` each record is its own. Raises `ValueError` unless there is one finite score a
    record.
    """
    values = np.asarray(claim.values, dtype=float)
    if values.shape != used.shape or not np.isfinite(values).all():
        raise ValueError("a membership attack must give one finite score per record")
    index = np.arange(len(used))
    person = index if persons is None else np.unique(persons, return_inverse=True)[1]
    parts = [
        Evidence.rows(view, group, score=values[mask], item=index[mask], cluster=person[mask])
        for group, mask in groups(used)
    ]
    return Evidence.join(*parts)


def sources(claim: Sources, holder: Array, used: Array, view: Cell, persons: Array) -> Evidence:
    """Evidence that the claim names the right client for each record; `holder` (n,) is the right one.

    A control is held by nobody: its `holder` is a client drawn for it.
    """
    return by_group(view, used, (claim.clients == holder).astype(float), persons)

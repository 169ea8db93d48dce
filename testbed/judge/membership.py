# pyright: strict, reportMissingTypeStubs=false
"""Judges claims about membership: evidence about records that were used and records that were not."""

from __future__ import annotations

import numpy as np

from testbed.core import Array, Cell, Evidence, Scores, Sources
from testbed.judge.groups import by_group, groups


def scores(claim: Scores, used: Array, view: Cell, persons: Array | None = None) -> Evidence:
    """Scores of pooled records, `used` (n,) bool in the question's order. Success is left to the threshold.

    Records of one of the `persons` (n,) hang together; without them each record stands for itself.

    Raises `ValueError` for a score that is not finite or not given.
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
    """Is the client named the one that holds each record? Of controls, the one that might have held them."""
    return by_group(view, used, (claim.clients == holder).astype(float), persons)

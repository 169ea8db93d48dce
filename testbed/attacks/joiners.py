"""Whoever joined between two rounds, from the difference of two histograms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from testbed.core import Array, Parameters
from testbed.core.defence import Defence
from testbed.models.summaries import HISTOGRAM, PEOPLE, middles

Ends = tuple[Array, Array]
"""The lowest and the highest value that each count (columns, bins) can have."""


def ends(told: Parameters, defences: Sequence[Defence] | None) -> Ends:
    """Where each count can lie: by the number of all people, and by what a known defence says of a count not told."""
    counts, people = np.asarray(told[HISTOGRAM], np.float64), float(told[PEOPLE][0])
    hidden = np.isnan(counts)
    low, high = np.where(hidden, 0.0, counts), np.where(hidden, people, counts)
    for one in defences or ():
        if (limits := one.before(told)) is not None:
            low, high = np.maximum(low, limits[0][HISTOGRAM]), np.minimum(high, limits[1][HISTOGRAM])
    if not hidden.any():
        return low, high
    # All counts of a column add up to the people: what the other cells leave bounds each hidden one.
    least = people - (high.sum(1, keepdims=True) - high)
    most = people - (low.sum(1, keepdims=True) - low)
    return np.where(hidden, np.maximum(low, least), low), np.where(hidden, np.minimum(high, most), high)


def joiner(before: Ends, after: Ends, joined: float) -> Array:
    """The record (columns,) of the one person who joined, or left; of several, their mean.

    The bins into which the person can have come are those that may have grown by one while no other one had to change.
    Under noise there may be none; then it is the bin that grew most.
    """
    low, high = after[0] - before[1], after[1] - before[0]
    if joined < 0:
        low, high = -high, -low
    places = middles(low.shape[1])
    grown = np.clip((low + high) / 2, 0, None)
    if abs(joined) != 1:
        total = grown.sum(1, keepdims=True)
        return np.where(total[:, 0] > 0, (grown * places).sum(1) / np.where(total[:, 0] > 0, total[:, 0], 1), 0.5)
    must = (low > 0).sum(1, keepdims=True) + (high < 0).sum(1, keepdims=True)
    own = (low > 0).astype(int) + (high < 0)
    possible = (low <= 1) & (high >= 1) & (must == own)
    sure = possible & (low == 1)
    possible = np.where(sure.any(1, keepdims=True), sure, possible)
    best = (low + high) == (low + high).max(1, keepdims=True)
    chosen = np.where(possible.any(1, keepdims=True), possible, best)
    return (chosen * places).sum(1) / chosen.sum(1)


def people(told: Mapping[str, Array]) -> float:
    """The number of people behind these statistics."""
    return float(told[PEOPLE][0])

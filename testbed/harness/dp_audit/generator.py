"""Audit of a generator's claim of differential privacy: a valid lower bound on epsilon from many fits.

The generator is fitted on two worst-case neighbours: a table of equal records, and the same table with one record that
is like no other. A claim of epsilon must hold for them too. Annamalai et al. 2024 (USENIX Security) audit synthesizers
in the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from testbed.core import Array
from testbed.findings import statistics
from testbed.findings.statistics import Interval

Fit = Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]
"""A function that fits a generator on a table and returns a release."""


@dataclass(frozen=True, slots=True)
class Audit:
    """The result of an audit: the lower bound, and the largest one that so many runs can show (`ceiling`)."""

    bound: Interval
    ceiling: float
    scores: tuple[Array, Array]
    """The number of released cells with the record's values, by run: for fits with the record, and without it."""


def audit(
    fit: Fit, common: dict[str, str], record: dict[str, str], people: int, runs: int, rng: np.random.Generator
) -> Audit:
    """The result of `runs` fits with the record and as many without it.

    A run's score is the number of released cells with the record's values. The first half of the runs sets the
    threshold with the highest bound on epsilon. The second half gives the bound at this threshold, so the bound is
    valid at its level.
    """
    base = pd.DataFrame([common] * people)
    with_record = pd.concat([base, pd.DataFrame([record])], ignore_index=True)
    scores = [
        np.array([_held(fit(table, rng), record) for _ in range(runs)], dtype=float) for table in (with_record, base)
    ]
    half = runs // 2
    threshold = max(
        np.unique(np.concatenate([s[:half] for s in scores])),
        key=lambda t: (
            statistics.epsilon_lower(
                int((scores[0][:half] > t).sum()), half, int((scores[1][:half] > t).sum()), half
            ).value
        ),
    )
    said = [int((s[half:] > threshold).sum()) for s in scores]
    bound = statistics.epsilon_lower(said[0], runs - half, said[1], runs - half)
    return Audit(bound, statistics.epsilon_ceiling(runs - half, runs - half), (scores[0], scores[1]))


def _held(release: pd.DataFrame, record: dict[str, str]) -> int:
    return sum(int((release[name] == value).sum()) for name, value in record.items())

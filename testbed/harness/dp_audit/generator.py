"""Auditing a generator's claim of differential privacy: worst-case neighbours, many fits, a valid lower bound.

The neighbours are a table of equal records and the same table with one record that nobody resembles; a claim of
epsilon must hold for them too (Annamalai et al. 2024, USENIX Security, audit synthesizers in the same way).
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


@dataclass(frozen=True, slots=True)
class Audit:
    """What the runs showed: the bound, and the largest one that so many runs could have shown."""

    bound: Interval
    ceiling: float
    scores: tuple[Array, Array]
    """How often the record's values stand in the release, by run: with the record, and without."""


def audit(
    fit: Fit, common: dict[str, str], record: dict[str, str], people: int, runs: int, rng: np.random.Generator
) -> Audit:
    """Fit `runs` times with the record and as often without; half of the runs set the threshold, the others decide.

    The score of a run is how many released cells hold the record's values. The threshold that bounds epsilon best on
    the first half is taken as it is to the second, so that the bound holds at its level.
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

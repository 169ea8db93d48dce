# pyright: strict
"""Settings against each other: differences with a correction for their number, letters, and who is dominated."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from testbed.findings import statistics
from testbed.findings.comparison.schema import Difference
from testbed.findings.measures import estimate
from testbed.findings.plan import FEWEST_RUNS
from testbed.findings.schema import Measure, Risk, Unmeasured
from testbed.findings.statistics import Interval

MOST_SETTINGS = 30
"""Up to so many settings are all compared with each other; more of them are compared with the reference only."""
SURE = 0.05
"""The error rate of all pairs of one risk together."""


@dataclass(frozen=True, slots=True)
class Point:
    """A setting's figure of one risk: by seed, and over all runs."""

    name: str
    by_seed: Mapping[int, Interval]
    over_all: Interval | None
    runs: int


def subtracted(one: Point, other: Point) -> tuple[Measure, float | None]:
    """One figure minus another with its interval, and the p-value: over paired runs, or of two single runs."""
    both = sorted(set(one.by_seed) & set(other.by_seed))
    if len(both) >= FEWEST_RUNS:
        found, p = statistics.paired_difference([one.by_seed[s] for s in both], [other.by_seed[s] for s in both])
        return estimate("excess", found, "run"), p
    if one.over_all is None or other.over_all is None or max(one.runs, other.runs) > 1:
        needs = f"{FEWEST_RUNS} runs or more of both settings with the same seeds"
        return Unmeasured(unmeasured="few_pairs", needs=needs), None
    found, p = statistics.difference(one.over_all, other.over_all)
    return estimate("excess", found, "record"), p


def differences(risk: Risk, points: Sequence[Point], reference: str | None) -> list[Difference]:
    """The differences between all pairs, Holm-adjusted over them; of many settings only those with the reference."""
    first = next((p for p in points if p.name == reference), None)
    if len(points) <= MOST_SETTINGS:
        pairs = list(itertools.combinations(points, 2))
    else:
        pairs = [(p, first) for p in points if p is not first] if first is not None else []
    measured = [(one, other, *subtracted(one, other)) for one, other in pairs]
    known = [p for *_, p in measured if p is not None]
    adjusted = iter(statistics.holm(np.array(known)).tolist() if known else [])
    return [
        Difference(
            risk=risk,
            one=one.name,
            other=other.name,
            difference=measure,
            p=p,
            adjusted_p=None if p is None else next(adjusted),
        )
        for one, other, measure, p in measured
    ]


def letters(points: Sequence[Point], found: Sequence[Difference]) -> dict[str, str]:
    """The letters of settings that were all compared with each other, the smallest figure first; else none."""
    names = [p.name for p in sorted(points, key=lambda p: p.over_all.value if p.over_all else 2.0)]
    if not 2 <= len(names) <= MOST_SETTINGS:
        return {}
    distinct = [(d.one, d.other) for d in found if d.adjusted_p is not None and d.adjusted_p < SURE]
    return statistics.letters(names, distinct) or {}


def dominated(points: Sequence[tuple[str, float, float]]) -> set[str]:
    """The names among (name, excess, utility) to which another is no worse in both and better in one."""
    worse: set[str] = set()
    best_below = float("-inf")  # the highest utility among those that leak less
    for _, same in itertools.groupby(sorted(points, key=lambda p: (p[1], -p[2])), key=lambda p: p[1]):
        equal = list(same)
        best = equal[0][2]
        worse |= {name for name, _, use in equal if best_below >= use or best > use}
        best_below = max(best_below, best)
    return worse

"""What a report says of each column: how near its released values are to real people's, and how many are copies."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from testbed.core import Array, Release, Split, Table
from testbed.core.tables.index import person_numbers
from testbed.findings import measures, statistics
from testbed.findings.schema import Estimate, Measure, Unmeasured
from testbed.harness.release.utility import likeness

LEVEL = 0.95
ONE_OF_A_KIND = Unmeasured(unmeasured="small_group", needs="more people with a value that nobody else has")


@dataclass(frozen=True, slots=True)
class ByColumn:
    """`likeness`: 1 minus the distance between released and real values. `copies`: the share of the original's
    one-of-a-kind values that stand in the release; `control_copies`: the same for the control's."""

    likeness: Measure
    copies: Measure
    control_copies: Measure


def by_column(split: Split, release: Release, min_cell: int) -> dict[str, ByColumn]:
    """The view of each column by its name. A share of fewer than `min_cell` people is not given."""
    members, controls = split.members, split.controls
    assert isinstance(members, Table)
    assert controls is None or isinstance(controls, Table)
    found: dict[str, ByColumn] = {}
    for j, column in enumerate(members.columns):
        released, own = release.table.values[j], members.values[j]
        others = None if controls is None else controls.values[j]
        real = own if others is None else others
        value = likeness(column.kind, released, real)
        arms = [(own, members)] + ([] if controls is None else [(controls.values[j], controls)])
        alone = _one_of_a_kind(arms)
        copies = [
            _share(np.isin(values[rows], released), min_cell) for (values, _), rows in zip(arms, alone, strict=True)
        ]
        found[column.name] = ByColumn(
            _estimate(value, _margin(column.kind, released, real), len(released)),
            copies[0],
            copies[1] if len(copies) > 1 else measures.NO_CONTROL,
        )
    return found


def _one_of_a_kind(arms: list[tuple[Array, Table]]) -> list[Array]:
    """For each group, one row of each person's values that nobody else of either group has; gaps are no values."""
    values = np.concatenate([v for v, _ in arms]).astype(float)
    persons = [person_numbers(table.persons) for _, table in arms]
    before = np.cumsum([0, *(int(p.max(initial=-1)) + 1 for p in persons)])
    person = np.concatenate([p + n for p, n in zip(persons, before, strict=False)])
    group = np.repeat(np.arange(len(arms)), [len(v) for v, _ in arms])
    row = np.concatenate([np.arange(len(v)) for v, _ in arms])
    known = ~np.isnan(values) & (values != -1)
    codes = np.unique(values[known], return_inverse=True)[1]
    pairs, first = np.unique(np.stack([codes, person[known]]), axis=1, return_index=True)
    alone = np.bincount(pairs[0])[pairs[0]] == 1
    chosen = np.flatnonzero(known)[first[alone]]
    return [row[chosen[group[chosen] == i]] for i in range(len(arms))]


def _share(hit: Array, min_cell: int) -> Measure:
    if len(hit) < min_cell:
        return ONE_OF_A_KIND
    return measures.estimate("rate", statistics.wilson(float(hit.sum()), len(hit)), "person")


def _estimate(value: float, margin: float, n: int) -> Estimate:
    value = min(max(value, 0.0), 1.0)  # a difference of two rounded sums may leave the range by its last digit
    low, high = max(0.0, value - margin), min(1.0, value + margin)
    return Estimate(
        metric="fidelity", value=value, low=low, high=high, level=LEVEL, method="uniform band", unit="row", n=n
    )


def _margin(kind: str, released: Array, real: Array) -> float:
    """The error of the distance between two samples: by Dvoretzky, Kiefer and Wolfowitz for numbers (Massart 1990), by
    Weissman et al. (2003) for categories."""
    alpha = (1 - LEVEL) / 2  # for each of the two samples
    if kind == "numeric":
        return sum(math.sqrt(math.log(2 / alpha) / (2 * len(v))) for v in (released, real))
    levels = len(np.unique(np.concatenate([released, real])))
    return sum(math.sqrt((levels * math.log(2) - math.log(alpha)) / (2 * len(v))) for v in (released, real))

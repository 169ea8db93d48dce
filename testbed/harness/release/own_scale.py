"""Released numbers in other units: brought to the scale of the real people, so that copies are found there as well.

A constant added to every number, months in place of years, or standardised columns hide everybody from a search that
measures in the original's units. Whoever knows the population can undo this: the ranks of the released numbers stay.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from testbed.core import Array, Release, Table
from testbed.findings.statistics.intervals import scipy_stats
from testbed.harness.release.setting import Setting

MOVED = 0.1
"""The distance between the distributions of released and real numbers from which on a column is brought back."""
FAR_IN_SAMPLING = 2.5
"""Two samples of one distribution are further apart than this, times the root of 1/n + 1/m, once in 130,000 draws."""
SAMPLE = 20_000
"""Most numbers of either side that are compared: evenly spaced ones of the sorted column."""


def on_the_real_scale(setting: Setting) -> Setting | None:
    """The setting with each moved column mapped to the real people's numbers of the same rank; None if none has moved.

    A column has moved if Kolmogorov and Smirnov's distance between released and real numbers is above `MOVED` and what
    sampling explains. Original and control are taken together, so the mapping knows nobody's membership.
    """
    controls = setting.controls
    if controls is None:
        return None
    values: list[Array] = []
    for column, released, *real in zip(
        setting.members.columns, setting.release.table.values, setting.members.values, controls.values, strict=True
    ):
        people = np.concatenate(real)
        moved = column.kind == "numeric" and _moved(numbers(released), numbers(people))
        values.append(by_rank(released, numbers(people)) if moved else released)
    if all(one is other for one, other in zip(values, setting.release.table.values, strict=True)):
        return None
    table = setting.release.table
    return replace(setting, release=Release(Table(table.columns, tuple(values), table.persons)))


def numbers(values: Array) -> Array:
    """The values that are no gaps, in ascending order."""
    held = values.astype(float)
    return np.sort(held[~np.isnan(held)])


def _moved(released: Array, real: Array) -> bool:
    if not len(released) or not len(real):
        return False
    one, other = (v[np.linspace(0, len(v) - 1, min(len(v), SAMPLE)).astype(int)] for v in (released, real))
    chance = FAR_IN_SAMPLING * np.sqrt(1 / len(one) + 1 / len(other))
    return bool(scipy_stats.ks_2samp(one, other, method="asymp").statistic > max(MOVED, chance))


def by_rank(released: Array, real: Array) -> Array:
    """Each released number replaced by the real number at its rank, ties at their middle; gaps stay."""
    held = released.astype(float)
    ranked = numbers(released)
    sides = [np.searchsorted(ranked, held, side) for side in ("left", "right")]
    place = (sides[0] + sides[1] - 1) / 2 / max(1, len(ranked) - 1)
    mapped = real[np.clip(np.rint(place * (len(real) - 1)), 0, len(real) - 1).astype(int)]
    return np.where(np.isnan(held), np.nan, mapped)

"""A robust scale for differences within a numeric column: neither one odd cell nor a heavy tail changes it.

Gower (1971) divides a difference by the column's range. A single absurd value, or the largest one in a column of costs,
makes that range so wide that all other numbers seem equal. Here the unit is taken from the middle 90 % of the release:
it is the range that a uniform column with the same middle would have. For columns with long tails, differences of ranks
are used instead (Podani 1999).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from testbed.core import Array, Table

MIDDLE, SHARE = (0.05, 0.95), 0.9
"""The quantiles between which the middle lies, and the share of cells in it."""
TAILS = (0.01, 0.99)
"""The quantiles whose distance says how long the tails are."""
LIGHT, HEAVY = 1.5, 2.4
"""Two limits on the distance between the tails, in units. Up to the first, numbers are measured in the unit (a normal
column has 1.3). From the second on, they are measured by ranks (a log-normal column with a standard deviation of 1.5
has 2.5). In between, both are mixed."""
OUTSIDE = 1.0
"""The distance beyond the middle, in units, at which a number is cut off when it is measured in the unit."""


@dataclass(frozen=True, slots=True)
class Axis:
    """The scale of one numeric column of the release.

    `known` (k,) are its distinct values, `ranks` (k,) their places by rank. `low` and `width` are the start and the
    unit of the linear scale, and `own` in [0, 1] is its weight; the weight of ranks is 1 - `own`. The width is 0 for a
    column with one value: numbers are then equal or not.
    """

    known: Array
    ranks: Array
    low: float
    width: float
    own: float

    @staticmethod
    def of(released: Array) -> Axis:
        known, counts = np.unique(released[~np.isnan(released)], return_counts=True)
        if len(known) < 2:
            return Axis(known, np.zeros(len(known)), 0.0, 0.0, 0.0)
        after = np.cumsum(counts)
        # Without the smallest and the largest cell: in a small release they would be the quantiles themselves.
        inner = np.maximum(np.minimum(after, after[-1] - 1) - 1, 0)
        inner = inner if inner[-1] > 0 else after
        middles = (after - counts / 2) / after[-1]
        low, high = (_quantile(middles, inner, q) for q in MIDDLE)
        wide = min((high - low) / SHARE, middles[-1] - middles[0]) if high > low else middles[-1] - middles[0]
        ranks = (middles - low) / wide
        low, high = (_quantile(known, inner, q) for q in MIDDLE)
        width = min(float(high / 2 - low / 2) / SHARE, float(known[-1] / 2 - known[0] / 2)) * 2
        if not np.finfo(float).tiny < width < np.inf:
            return Axis(known, ranks, 0.0, 1.0, 0.0)
        least, most = (_quantile(known, inner, q) for q in TAILS)
        with np.errstate(over="ignore"):
            reach = most / width - least / width
        own = float(np.clip((HEAVY - reach) / (HEAVY - LIGHT), 0.0, 1.0))
        return Axis(known, ranks, low, width, own)

    def places(self, values: Array) -> Array:
        """Each number's place (n,) on the scale: the difference of two places is the distance. NaN if missing."""
        if self.width == 0:
            return values
        places = np.zeros(len(values))
        if self.own < 1:
            places += (1 - self.own) * np.interp(values, self.known, self.ranks)
        if self.own > 0:
            with np.errstate(over="ignore"):
                linear = np.clip(values / self.width - self.low / self.width, -OUTSIDE, 1 + OUTSIDE)
            places += self.own * linear
        places[np.isnan(values)] = np.nan
        return places


def _quantile(values: Array, after: Array, share: float) -> float:
    """The quantile of the values (k,) at this share; `after` (k,) counts the cells up to and including each value."""
    return float(values[np.searchsorted(after, share * after[-1], "left")])


@dataclass(frozen=True, slots=True)
class Scale:
    """The scales of all numeric columns by name, computed once from the release."""

    axes: dict[str, Axis]

    @staticmethod
    def of(release: Table) -> Scale:
        return Scale(
            {
                column.name: Axis.of(values)
                for column, values in zip(release.columns, release.values, strict=True)
                if column.kind == "numeric"
            }
        )

"""How far apart two numbers of a column are: a robust scale, which no odd cell and no heavy tail can move.

Gower (1971) divides a difference by the column's range. One absurd cell makes that range so wide that all other
numbers are equal, and in a column of costs the largest one does. Here the unit comes from the middle 90 % of the
release: it is the range that an even column with this middle would have. Where the tails reach far, a number's place
among the released ones (its rank; Podani 1999) takes over.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from testbed.core import Array, Table

MIDDLE, SHARE = (0.05, 0.95), 0.9
TAILS = (0.01, 0.99)
LIGHT, HEAVY = 1.5, 2.4
"""The distance between the tails, in units: up to the first (a normal column has 1.3) numbers are measured in the unit,
from the second on (a log-normal one with a standard deviation of 1.5 has 2.5) by ranks alone, in between by both."""
OUTSIDE = 1.0
"""So many widths beyond the middle a number's own unit is cut off."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One numeric column of the release. `known` (k,) are its different values, `ranks` (k,) their places in widths.

    `own` in [0, 1] is the share of the column's own unit in a place; the rest is that of ranks. A column of one value
    has no `width`: there it is only told whether numbers are equal.
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
        # Without the outermost cell of either side, which in a small release would be the quantile itself.
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
        """Each number's place (n,), of which differences are distances; NaN for a gap."""
        if self.width == 0:
            return values
        made = np.zeros(len(values))
        if self.own < 1:
            made += (1 - self.own) * np.interp(values, self.known, self.ranks)
        if self.own > 0:
            with np.errstate(over="ignore"):
                linear = np.clip(values / self.width - self.low / self.width, -OUTSIDE, 1 + OUTSIDE)
            made += self.own * linear
        made[np.isnan(values)] = np.nan
        return made


def _quantile(values: Array, after: Array, share: float) -> float:
    """The value below which that share of cells lies, where `after` (k,) counts the cells up to each value."""
    return float(values[np.searchsorted(after, share * after[-1], "left")])


@dataclass(frozen=True, slots=True)
class Scale:
    """The axis of each numeric column, fixed from the release once."""

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

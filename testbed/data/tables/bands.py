"""Generalised releases: numbers in bands (40-44, [35, 40[, 90+), as ARX and sdcMicro write them.

Where the release holds bands, original and control are put into the same bands: they are compared at the level on which
the release speaks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from testbed.core import Array
from testbed.data.tables.cells import Texts
from testbed.data.tables.quantities import Parsed

FEWEST = 2
MOSTLY = 0.9
"""The smallest share of the released numbers that are bands, in a generalised column."""

MOST_GAP = 0.5
"""Numbers between two bands belong to the lower one, if the gap is at most this share of that band's width."""


def ends(parsed: Parsed, numbers: list[float]) -> tuple[float, float]:
    """The lower and the upper end of what a text says; a plain number is its own."""
    if parsed.shape == "range":
        return min(numbers), max(numbers)
    return (-np.inf if parsed.open == "<" else numbers[0], np.inf if parsed.open == ">" else numbers[0])


def coarsened(
    texts: Mapping[str, Texts],
    known: Mapping[str, Mapping[str, float]],
    spans: Mapping[str, Mapping[str, tuple[float, float]]],
    parsed: Mapping[str, Parsed],
) -> dict[str, Array] | None:
    """The column by table with original and control in the bands of the release; None if it has no bands.

    `known` and `spans` hold the value and the two ends of each text, by table. Bands that overlap are left as they are.
    """
    released, mine = spans["synthetic"], known["synthetic"]
    counted = texts["synthetic"].counted()
    wide = {t for t, s in released.items() if s[0] < s[1]}
    ranges = [t for t in wide if parsed[t].shape == "range"]
    if len(wide) < FEWEST or sum(counted[t] for t in wide) < MOSTLY * sum(counted[t] for t in mine):
        return None
    if not ranges and len(wide) < len(mine):  # numbers beside a limit of detection
        return None
    order = sorted({(*released[t], mine[t]) for t in wide})
    lows, highs, middles = (np.array(column) for column in zip(*order, strict=True))
    bands = Bands(lows, highs, middles, all(parsed[t].after for t in ranges))
    if (bands.highs[:-1] > bands.lows[1:]).any():
        return None
    found: dict[str, Array] = {}
    for role, own in texts.items():
        values = own.values(known[role])
        if role != "synthetic":
            is_band = np.array(
                [*(spans[role].get(t, (0, 0))[0] < spans[role].get(t, (0, 0))[1] for t in own.different), 0]
            )
            values = np.where(is_band[own.index] > 0, values, bands.of(values))
        found[role] = values
    return found


class Bands(NamedTuple):
    """Bands in ascending order. If `after`, the lower end of a band belongs to the band before."""

    lows: Array
    highs: Array
    middles: Array
    after: bool

    def of(self, numbers: Array) -> Array:
        """Numbers replaced by the middle of their band; numbers outside every band stay."""
        place = np.searchsorted(self.lows, numbers, "left" if self.after else "right") - 1
        inside = (place >= 0) & ~np.isnan(numbers)
        place = np.clip(place, 0, len(self.lows) - 1)
        gap = np.r_[self.lows[1:] - self.highs[:-1], 0.0]
        narrow = gap <= MOST_GAP * (self.highs - self.lows)  # as between 40-44 and 45-49
        narrow[-1] = False
        inside &= narrow[place] | (numbers <= self.highs[place])
        return np.where(inside, self.middles[place], numbers)

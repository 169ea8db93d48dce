"""Numbers of original and release that hardly meet, as if in other units or codes: nothing would be compared."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from testbed.core import Array

APART = 0.8
"""Kolmogorov and Smirnov's distance from which on numbers hardly meet."""
ALIKE = 0.5
"""Original and control must be nearer than this, so that the column is one that people share at all."""
SCALED, FACTOR = 0.15, 1.5
"""Above this distance, and with medians so many times apart, numbers are in other units if a factor explains it all."""
EXPLAINED = 0.08
"""The greatest distance that remains after the factor."""
CHANCE, USUAL = 2.0, 1.3
"""Distances of two samples of one distribution, times the root of 1/n + 1/m: hardly ever above the first, and seldom
above the second."""
FEWEST = 20
"""The fewest numbers of each table."""


def hardly_meet(values: Mapping[str, Array]) -> bool:
    """Whether released numbers lie elsewhere than the original's, although those of the control do not."""
    original, released = (_sorted(values[role]) for role in ("original", "synthetic"))
    control = _sorted(values["control"]) if "control" in values else np.empty(0)
    if min(len(original), len(released)) < FEWEST:
        return False
    if len(control) >= FEWEST and distance(original, control) > ALIKE:
        return False
    far = distance(original, released)
    sampling = np.sqrt(1 / len(original) + 1 / len(released))
    if far <= max(SCALED, CHANCE * sampling):
        return False
    return far > APART or _scaled(original, released, max(EXPLAINED, USUAL * sampling))


def _scaled(original: Array, released: Array, most: float) -> bool:
    """Whether one factor explains the difference: the numbers are the same ones in another unit."""
    one, other = float(np.median(original)), float(np.median(released))
    if one * other <= 0 or 1 / FACTOR < other / one < FACTOR:
        return False
    return distance(original * (other / one), released) < most


def distance(one: Array, other: Array) -> float:
    """Kolmogorov and Smirnov's distance between two sorted samples."""
    both = np.concatenate([one, other])
    below = [np.searchsorted(v, both, "right") / len(v) for v in (one, other)]
    return float(np.abs(below[0] - below[1]).max())


def _sorted(values: Array) -> Array:
    return np.sort(values[~np.isnan(values)])

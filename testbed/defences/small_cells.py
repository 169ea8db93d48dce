"""Suppression of small cells: no count, quantile or step of a curve stands for fewer than some number of people."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from testbed.core import Array
from testbed.core.defence import Bounds, Disclosure
from testbed.defences.registry import defence
from testbed.models.summaries import HISTOGRAM, LEVELS, PEOPLE, QUANTILES, SURVIVAL, TIMES


def before(update: Mapping[str, Array], *, least: int = 10) -> Bounds:
    """A count that is not told was below `least`; all other numbers are as they were."""
    low = {name: np.asarray(values, np.float64) for name, values in update.items()}
    high = dict(low)
    if HISTOGRAM in low:
        hidden = np.isnan(low[HISTOGRAM])
        high[HISTOGRAM] = np.where(hidden, least - 1, low[HISTOGRAM])
        low[HISTOGRAM] = np.where(hidden, 0, low[HISTOGRAM])
    return low, high


@defence(where="statistics", bounds=before)
def small_cells(*, seed: int, least: int = 10) -> Disclosure:
    """Tell no count below `least`, zero included, as statistical offices do.

    Quantiles are told if `least` people lie on either side, so the minimum and the maximum are not. A step of a
    survival curve is told once the curve has fallen by the share of `least` people since the last one told. A
    heuristic: a larger count still shows that one person joined.
    """

    def change(told: dict[str, Array], rng: np.random.Generator) -> dict[str, Array]:
        made = dict(told)
        if HISTOGRAM in told:
            made[HISTOGRAM] = np.where(told[HISTOGRAM] < least, np.nan, told[HISTOGRAM])
        if QUANTILES in told:
            people = float(told[PEOPLE][0])
            beside = np.minimum(LEVELS, 1 - np.array(LEVELS)) * people
            made[QUANTILES] = np.where(beside < least, np.nan, told[QUANTILES])
        if SURVIVAL in told:
            kept = _spaced(told[SURVIVAL], least / float(told[PEOPLE][0]))
            made |= {TIMES: told[TIMES][kept], SURVIVAL: told[SURVIVAL][kept]}
        return made

    return change


def _spaced(survival: Array, drop: float) -> Array:
    """The numbers of the steps at which a curve has fallen by `drop` or more since the last such step."""
    kept: list[int] = []
    last = 1.0
    for place, value in enumerate(survival.tolist()):
        if last - value >= drop - 1e-9:  # a curve's rounding
            kept.append(place)
            last = value
    return np.array(kept, dtype=int)

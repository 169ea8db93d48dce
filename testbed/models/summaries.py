# pyright: strict
"""Statistics that hospitals send to a coordinator: histograms, quantiles and survival curves, as named arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from testbed.core import Array, Parameters, Unavailable

Statistic = Literal["histograms", "quantiles", "curves"]
STATISTICS: tuple[Statistic, ...] = ("histograms", "quantiles", "curves")
PEOPLE, HISTOGRAM, QUANTILES, TIMES, SURVIVAL = "people", "histogram", "quantiles", "times", "survival"
"""The names of the arrays.

- `people` (1,): the number of people.
- `histogram` (columns, bins): how many people have a value in each bin of each column, NaN if it is not told. Bins are
  of equal width between 0 and 1.
- `quantiles` (columns, levels): each column's quantiles at `LEVELS`, NaN if one is not told.
- `times` and `survival` (steps,): a Kaplan-Meier curve. The second is the share that survives the first.
"""
LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Minimum, quartiles and maximum."""


def histograms(x: Array, bins: int) -> dict[str, Array]:
    """The histogram of each column of the records (n, columns), whose values lie in [0, 1]."""
    places = np.minimum((np.asarray(x, np.float64) * bins).astype(int), bins - 1)
    counts = np.stack([np.bincount(column, minlength=bins) for column in places.T]).astype(np.float64)
    return {PEOPLE: np.array([len(x)], np.float64), HISTOGRAM: counts}


def quantiles(x: Array) -> dict[str, Array]:
    """The quantiles of each column of the records (n, columns), as NumPy and R compute them by default."""
    made = np.quantile(np.asarray(x, np.float64), LEVELS, axis=0).T
    return {PEOPLE: np.array([len(x)], np.float64), QUANTILES: made}


def curve(times: Array, died: Array) -> dict[str, Array]:
    """The Kaplan-Meier curve of people who died at these times, or were last seen alive then (n,).

    Somebody who was last seen at the time of a death was still at risk of it.
    """
    at = np.unique(times[died == 1]).astype(np.float64)
    deaths = np.array([((times == t) & (died == 1)).sum() for t in at], np.float64)
    at_risk = np.array([(times >= t).sum() for t in at], np.float64)
    survival = np.cumprod(1 - deaths / at_risk)
    return {PEOPLE: np.array([len(times)], np.float64), TIMES: at, SURVIVAL: survival}


def survival_at(told: Parameters, times: Array) -> Array:
    """The share that survives each of these times (n,), by a curve's steps."""
    steps = np.concatenate([[1.0], told[SURVIVAL]])
    return steps[np.searchsorted(told[TIMES], times, side="right")]


def pooled(parts: Sequence[Parameters]) -> dict[str, Array]:
    """The hospitals' statistics as one: counts are added, curves are averaged by the number of people.

    A count that one of them does not tell is not told of all. Quantiles cannot be pooled, and are left out.
    """
    people = np.array([float(p[PEOPLE][0]) for p in parts])
    made: dict[str, Array] = {PEOPLE: np.array([people.sum()])}
    if all(HISTOGRAM in p for p in parts):
        made[HISTOGRAM] = np.sum([p[HISTOGRAM] for p in parts], axis=0)
    if all(SURVIVAL in p for p in parts):
        made[TIMES] = np.unique(np.concatenate([p[TIMES] for p in parts]))
        each = np.stack([survival_at(p, made[TIMES]) for p in parts])
        made[SURVIVAL] = (people / people.sum()) @ each
    return made


def middles(bins: int) -> Array:
    """The middle of each bin (bins,)."""
    return (np.arange(bins) + 0.5) / bins


def told_of(parameters: Parameters | None, name: str) -> Mapping[str, Array]:
    """The arrays of a message. Raises `Unavailable` unless this statistic and the number of people are among them."""
    if parameters is None or name not in parameters or PEOPLE not in parameters:
        raise Unavailable(f"no_{name}", f"a message with an array {name!r}, and the number of people")
    return parameters

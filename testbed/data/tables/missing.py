"""Numeric codes for missing values: recurring values far outside a column, such as 99999, -9 or the year 1900.

They are read as missing. Otherwise two people with a code would seem similar, and a guess of the code would count as a
correct guess. If a real value is taken for a code by mistake, little is lost: it still equals itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from testbed.core import Array, Column

RECURS, SHARE = 3, 0.002
"""The smallest number and the smallest share of cells, over all tables, in which a code must stand."""
FAR, APART = 3.0, 1.0
"""The smallest distances of a code from the column's median and from the nearest other number, in column widths."""
NINES_APART = 0.25
"""The smallest distance from the nearest other number, in widths, for values that look like codes (99, 888, 99.9) and
for dates. They need no distance from the median."""
OUTERMOST = 64
"""The number of cells at each end of a column that are searched: a recurring code is among them."""
MOST_NEGATIVE, VARIED = 3, 5
"""Negative codes: at most so many distinct negative numbers, in a column with at least so many distinct others."""


def without_codes(column: Column, values: dict[str, Array]) -> bool:
    """Replaces codes for missing values by NaN in all tables (`values` is changed); returns whether there were any."""
    if column.kind == "categorical":
        return False
    codes = codes_for_missing(list(values.values()), column.date)
    for role, own in values.items() if len(codes) else ():
        values[role] = np.where(np.isin(own, codes), np.nan, own)
    return bool(len(codes))


def codes_for_missing(parts: Sequence[Array], dates: bool = False) -> Array:
    """The codes (k,) for missing values in one column, given its cells in each table: numbers, or `dates` in days."""
    cells = np.concatenate(parts)
    cells = cells[~np.isnan(cells)]
    least = max(RECURS, SHARE * len(cells))
    outer, seen = np.unique(_outermost(cells), return_counts=True)
    recurring = [float(v) for v in outer[seen >= RECURS] if (cells == v).sum() >= least]
    if not recurring:
        return np.empty(0)
    codes = [] if dates else _negative(cells, recurring)
    middle = float(np.median(cells))
    for value in sorted(set(recurring) - set(codes), key=lambda v: -abs(v - middle)):
        if _is_far(value, cells[~np.isin(cells, [*codes, value])], dates):
            codes.append(value)
    return np.array(codes)


def _outermost(cells: Array) -> Array:
    if len(cells) <= 2 * OUTERMOST:
        return cells
    ends = np.partition(cells, (OUTERMOST, len(cells) - OUTERMOST))
    return np.concatenate([ends[:OUTERMOST], ends[-OUTERMOST:]])


def _negative(cells: Array, recurring: list[float]) -> list[float]:
    """Negative codes: a few recurring whole numbers below zero in a column that is otherwise zero or positive."""
    below = np.unique(cells[cells < 0])
    others = cells[cells >= 0]
    if not 0 < len(below) <= MOST_NEGATIVE or len(others) <= len(cells) / 2 or len(np.unique(others[:1000])) < VARIED:
        return []
    return below.tolist() if set(below.tolist()) <= set(recurring) and (below == np.round(below)).all() else []


def _is_far(value: float, rest: Array, dates: bool) -> bool:
    """Whether a value lies far outside the rest of its column, with no ordinary number near it."""
    if len(rest) < RECURS:
        return False
    low, middle, high = (float(q) for q in np.quantile(rest, [0.05, 0.5, 0.95]))
    with np.errstate(over="ignore"):
        width = (high - low) / 0.9 or float(rest.max() - rest.min())
        if not 0 < width < np.inf:
            return False
        inside = rest[np.abs(rest - middle) < abs(value - middle)]
        nearest = np.abs(inside - value).min() if len(inside) else 0.0
    text = f"{value:.12g}".replace(".", "")
    nines = value > high and len(text) > 1 and set(text) in ({"9"}, {"8"}, {"7"})
    if (nines or dates) and len(inside) == len(rest):
        return nearest >= NINES_APART * width
    return nearest >= APART * width and abs(value - middle) >= FAR * width

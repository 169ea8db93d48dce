"""Numeric codes for missing: values far outside a column that recur, as 99999, -9 or the year 1900 do for "not known".

Left among the numbers they would be measurements: any two people with a code would be alike, and a guess of the code
would be a correct guess. They are gaps. Little is lost where a real value is taken for a code: it still equals itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from testbed.core import Array, Column

RECURS, SHARE = 3, 0.002
"""A code stands in so many cells of all tables together at least, and in this share of them."""
FAR, APART = 3.0, 1.0
"""A code lies so many widths of the column from its median, and so many from the nearest number that is none."""
NINES_APART = 0.25
"""The same for what is written as a code is (99, 999, 888, 77, 99.9), and for a date: one day that recurs by itself."""
OUTERMOST = 64
"""So many cells at each end of a column are looked at: a code that recurs is among them."""
MOST_NEGATIVE, VARIED = 3, 5
"""Different negative numbers that may be codes, and different other numbers, none negative, that must stand beside."""


def without_codes(column: Column, values: dict[str, Array]) -> bool:
    """Turns codes for missing into gaps, in all tables alike; returns whether there were any."""
    if column.kind == "categorical":
        return False
    codes = codes_for_missing(list(values.values()), column.date)
    for role, own in values.items() if len(codes) else ():
        values[role] = np.where(np.isin(own, codes), np.nan, own)
    return bool(len(codes))


def codes_for_missing(parts: Sequence[Array], dates: bool = False) -> Array:
    """The codes (k,) of one column of numbers, or of `dates` in days, given its cells in each table."""
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
    """Negative codes: a few whole numbers below zero in a column that is else zero or positive."""
    below = np.unique(cells[cells < 0])
    others = cells[cells >= 0]
    if not 0 < len(below) <= MOST_NEGATIVE or len(others) <= len(cells) / 2 or len(np.unique(others[:1000])) < VARIED:
        return []
    return below.tolist() if set(below.tolist()) <= set(recurring) and (below == np.round(below)).all() else []


def _is_far(value: float, rest: Array, dates: bool) -> bool:
    """Does a value lie far outside the rest of its column, with nothing but other odd cells near it or beyond?"""
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

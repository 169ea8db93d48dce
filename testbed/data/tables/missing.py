"""Numeric codes for missing values: recurring values far outside a column, such as 99999, -9 or the year 1900.

They are read as missing. Otherwise two people with a code would seem similar, and a guess of the code would count as a
correct guess. If a real value is taken for a code by mistake, little is lost: it still equals itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from testbed.core import Array, Column

RECURS, SHARE = 3, 0.002
"""The smallest number and the smallest share of cells, over all tables, in which a code must stand."""
FAR, APART = 3.0, 1.0
"""The smallest distances of a code from the column's median and from the nearest other number, in column widths."""
CODE_APART = 0.25
"""The smallest distance from the nearest other number, in widths, for values that look like codes (99, 888, 0) and for
dates. They need no distance from the median."""
LOOKS_LIKE_A_CODE = re.compile(r"9+[6-9]|88+|77+")
"""The digits of numbers that are often codes, such as 99, 998 or 888.8."""
STEPS = 3.0
"""The smallest distance of a code of zero from the smallest other number, in steps between neighbouring numbers."""
MOST_ZEROS = 0.25
"""The largest share of cells in which zero may be a code that is not far out: a beginning (day 0) stands in more."""
OUTERMOST = 64
"""The number of cells at each end of a column that are searched: a recurring code is among them."""
TOGETHER = 4
"""The largest number of codes that may lie close to each other, such as 997, 998 and 999."""
EXPECTED, AS_VARIED = 20, 0.5
"""A code of one table alone: cells of another table that should have it, but do not; and the smallest number of
distinct values of the first table, as a share of the second's."""
MOST_NEGATIVE, VARIED = 3, 5
"""Negative codes: at most so many distinct negative numbers, in a column with at least so many distinct others.
`VARIED` is also the fewest other numbers of a table with a code, if another table has as many: a table that was rounded
to tens holds few."""


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
    recurring = _recurring(cells, least)
    if not recurring:
        return np.empty(0)
    codes = [] if dates else _negative(cells, recurring)
    middle = float(np.median(cells))
    for outwards in (1, -1):
        side = [v for v in recurring if outwards * (v - middle) > 0 and v not in codes]
        codes += _at_one_end(sorted(side, key=lambda v: -abs(v - middle)), cells, codes, dates)
    if not dates:
        codes += [v for v in recurring if v not in codes and _in_one_table_alone(v, cells, parts)]
    return np.array([v for v in codes if not _is_coarse(v, codes, parts, dates)])


def _at_one_end(recurring: list[float], cells: Array, known: list[float], dates: bool) -> list[float]:
    """The codes among the recurring values at one end of a column, the outermost first. `known` are codes already."""
    found: list[float] = []
    start = 0
    while start < len(recurring):
        for stop in range(start + 1, min(start + TOGETHER, len(recurring)) + 1):
            group = recurring[start:stop]  # 998 and 999 are codes together, although they are close to each other
            if _is_far(group[-1], cells[~np.isin(cells, [*known, *found, *group])], dates, int((cells == 0).sum())):
                found += group
                start = stop
                break
        else:
            start += 1
    return found


def _in_one_table_alone(value: float, cells: Array, parts: Sequence[Array]) -> bool:
    """Whether a value is the code of one table: zero below all numbers, or nines above, that another table never has.

    The other table's people would have it too, if it were a measurement. A table that was rounded has far fewer
    different numbers than the other.
    """
    if not ((value == 0 and cells.min() == 0) or (_like_a_code(value) and cells.max() == value)):
        return False
    known = [own[~np.isnan(own)] for own in parts]
    held = [own for own in known if (own == value).sum() >= RECURS]
    lacking = [own for own in known if not (own == value).any()]
    return any(
        (one == value).mean() * len(other) >= EXPECTED
        and len(np.unique(one)) >= AS_VARIED * len(np.unique(other[: len(one)])) >= AS_VARIED * VARIED
        for one in held
        for other in lacking
    )


def _is_coarse(value: float, codes: list[float], parts: Sequence[Array], dates: bool) -> bool:
    """Whether a value is a number of a coarsely written table, as 10 is where all numbers were rounded to tens."""
    different = max(len(np.unique(own[~np.isnan(own) & ~np.isin(own, codes)])) for own in parts)
    for own in parts if different >= VARIED else ():
        others = own[~np.isnan(own) & (own != value)]
        n = len(np.unique(others))
        rare = n == 1 and len(others) > (own == value).sum()  # a code beside a column of one number
        if (own == value).any() and n < VARIED and not rare and not _is_far(value, others, dates):
            return True
    return False


def _recurring(cells: Array, least: float) -> list[float]:
    """The values near the ends of a column that stand in `least` cells or more, ascending.

    A value that fills an end, and is negative or looks like a code, is set aside. What lies behind it is looked at
    too: -9 may hide -8, and 999 may hide 998.
    """
    found: list[float] = []
    rest = cells
    while len(rest):
        outer, seen = np.unique(_outermost(rest), return_counts=True)
        found += [float(v) for v in outer[seen >= RECURS] if (rest == v).sum() >= least]
        crowding = [v for v in outer[seen >= OUTERMOST / 2].tolist() if v < 0 or _like_a_code(v)]
        if not crowding:
            break
        rest = rest[~np.isin(rest, crowding)]
    return sorted(set(found))


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


def _is_far(value: float, rest: Array, dates: bool, zeros: int = 0) -> bool:
    """Whether a value lies far outside the rest of its column, with no ordinary number near it.

    `zeros` is the number of cells with the value, if it is zero.
    """
    if len(rest) < RECURS:
        return False
    low, middle, high = (float(q) for q in np.quantile(rest, [0.05, 0.5, 0.95]))
    with np.errstate(over="ignore"):
        width = (high - low) / 0.9 or float(rest.max() - rest.min())
        if not 0 < width < np.inf:
            return False
        inside = rest[np.abs(rest - middle) < abs(value - middle)]
        nearest = np.abs(inside - value).min() if len(inside) else 0.0
    if dates and len(inside) == len(rest):
        # One of three dates is a date, and no code: the others must be many.
        return bool(nearest >= CODE_APART * width) and len(np.unique(rest[:1000])) >= VARIED
    if nearest >= APART * width and abs(value - middle) >= FAR * width:
        return True
    rare_zero = zeros <= MOST_ZEROS * (len(rest) + zeros) and _zero_below(value, rest)
    if dates or not ((_like_a_code(value) and value > high) or rare_zero):
        return False
    beyond = rest >= value if value > middle else rest <= value
    # Single odd cells may lie beyond a code.
    return beyond.sum() < RECURS and bool(np.abs(rest[~beyond] - value).min() >= CODE_APART * width)


def _like_a_code(value: float) -> bool:
    return LOOKS_LIKE_A_CODE.fullmatch(f"{value:.12g}".replace(".", "")) is not None


def _zero_below(value: float, rest: Array) -> bool:
    """Whether a value is zero, below a column of many positive numbers and apart from them.

    A count begins at zero: there the distance to the next number is that of any two neighbours.
    """
    positive = rest[rest > 0]
    if value != 0 or len(rest) - len(positive) >= RECURS:
        return False
    different = np.unique(positive[:1000])
    return len(different) >= VARIED and bool(positive.min() >= STEPS * np.median(np.diff(different)))

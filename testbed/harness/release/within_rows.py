"""What stays of a person when a whole row is moved: intervals between dates, and ratios within a series.

Moving all dates of a person by one constant is the usual way to make dates anonymous, and one factor or constant of a
person hides a series of measurements. Every cell then differs, and each difference between two cells of the row is as
it was. So the near-copy rule looks a second time, at these differences instead of the cells.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from testbed.core import Array, Column, Release, Table
from testbed.core.tables.index import person_numbers
from testbed.harness.release.setting import Setting
from testbed.harness.release.whole_people import several

FEWEST_DATES, FEWEST_OF_A_SERIES = 3, 4
"""Date columns, and columns of one series, from which differences tell people apart."""
STEPS = (-3, -2, -1, 1, 2, 3)
"""Visits of the same person to which days are counted: the next one, the one before, and so on."""
NUMBER = re.compile(r"\d+")
TOLD = {
    "dates": " This shows in the intervals between dates, which stay if all of a person's dates are moved alike.",
    "series": " This shows in the ratios within a series of columns, which stay if a person's numbers are all scaled.",
    "order": " This shows in the numbers of a series by their size, which stay if a person's days are shuffled.",
}
"""What a finding says of the look that showed it."""


def looks(setting: Setting) -> dict[str, Setting]:
    """The setting as it looks within rows, by what was compared; only looks that the columns allow.

    Which columns belong together follows from names, kinds and gaps of all tables, so it knows nobody's membership.
    """
    if setting.controls is None:
        return {}
    found: dict[str, Setting] = {}
    dates = [i for i, c in enumerate(setting.members.columns) if c.date]
    visits = all(map(several, _tables(setting)))
    if len(dates) >= FEWEST_DATES or (dates and visits):
        first = min(dates, key=lambda i: sum(np.isnan(t.values[i]).mean() for t in _tables(setting)))
        found["dates"] = _through(setting, lambda t: _intervals(t, dates, first, visits))
    groups = _series(setting.members.columns)
    if groups:
        positive = [all((_known(t.values[i]) > 0).all() for t in _tables(setting) for i in g) for g in groups]
        found["series"] = _through(setting, lambda t: _ratios(t, groups, positive))
        found["order"] = _through(setting, lambda t: _in_order(t, groups))
    return found


def _tables(setting: Setting) -> tuple[Table, Table, Table]:
    assert setting.controls is not None
    return setting.members, setting.controls, setting.release.table


def _through(setting: Setting, change: Callable[[Table], Table]) -> Setting:
    members, controls, release = (change(t) for t in _tables(setting))
    return replace(setting, members=members, controls=controls, release=Release(release))


def _series(columns: Sequence[Column]) -> list[list[int]]:
    """The columns of each series: numbers whose names differ only in a number, such as cost_m01 to cost_m12."""
    groups: dict[str, list[int]] = {}
    for i, column in enumerate(columns):
        if column.kind == "numeric" and not column.date and NUMBER.search(column.name):
            groups.setdefault(NUMBER.sub("#", column.name), []).append(i)
    return [g for g in groups.values() if len(g) >= FEWEST_OF_A_SERIES]


def _intervals(table: Table, dates: Sequence[int], first: int, visits: bool) -> Table:
    """Each date as days since the row's `first` one, which goes; with several rows a person, the days between rows."""
    start = table.values[first]
    columns: list[Column] = []
    values: list[Array] = []
    for i, (column, held) in enumerate(zip(table.columns, table.values, strict=True)):
        if i != first:
            columns.append(replace(column, date=False))
            values.append(held - start if i in dates else held)
    if visits:
        for steps in STEPS:
            columns.append(Column(f"days to visit {steps:+d}", "numeric"))
            values.append(_until(start, table.persons, steps))
    return Table(tuple(columns), tuple(values), table.persons)


def _until(days: Array, persons: Array, steps: int) -> Array:
    """The days from each row to the person's row so many steps later, or earlier if negative; NaN if there is none."""
    person = person_numbers(persons)
    order = np.lexsort((days, person))
    here, there = (order[:-steps], order[steps:]) if steps > 0 else (order[-steps:], order[:steps])
    found = np.full(len(days), np.nan)
    found[here] = np.where(person[here] == person[there], days[there] - days[here], np.nan)
    return found


def _ratios(table: Table, groups: Sequence[Sequence[int]], positive: Sequence[bool]) -> Table:
    """Each series without its row's mean: of logarithms if all numbers are positive, else of the numbers."""
    values = list(table.values)
    for group, logs in zip(groups, positive, strict=True):
        held = np.stack([table.values[i] for i in group], 1)
        held = np.log(held) if logs else held
        known = ~np.isnan(held)
        count = known.sum(1)
        mean = np.where(known, held, 0.0).sum(1) / np.maximum(count, 1)
        for place, i in enumerate(group):
            values[i] = held[:, place] - mean
    return Table(table.columns, tuple(values), table.persons)


def _in_order(table: Table, groups: Sequence[Sequence[int]]) -> Table:
    """The numbers of each series of a row in ascending order, gaps last."""
    values = list(table.values)
    for group in groups:
        for i, held in zip(group, np.sort(np.stack([table.values[i] for i in group], 1), 1).T, strict=True):
            values[i] = held
    return Table(table.columns, tuple(values), table.persons)


def _known(values: Array) -> Array:
    return values[~np.isnan(values)]

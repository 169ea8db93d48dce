"""A person's rows taken together: families, visits and series whose single rows are near nobody.

A copied family may be moved so far that each member's row is as near to strangers, while ages, heights and numbers of
all its members together are still its own. So the near-copy rule also compares people, with one row for each.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from testbed.core import Array, Column, Release, Table
from testbed.core.tables.index import person_numbers
from testbed.harness.release.setting import Setting

MOST_CATEGORIES = 6
"""The categories of a column, the most frequent among real people, of which a person's rows are counted."""


def several(table: Table) -> bool:
    """Do people have several rows?"""
    return len(np.unique(table.persons)) < len(table)


def look(setting: Setting) -> Setting | None:
    """The setting with one row for each person, or None unless people have several rows in all tables.

    Numbers and dates become their mean, least and greatest; of a category, the person's rows are counted.
    """
    if setting.controls is None or not all(map(several, (setting.members, setting.controls, setting.release.table))):
        return None
    common = _common(setting.members, setting.controls)
    members, controls, release = (
        _gathered(table, common) for table in (setting.members, setting.controls, setting.release.table)
    )
    return replace(setting, members=members, controls=controls, release=Release(release))


def _common(*people: Table) -> list[Array]:
    """The most frequent codes of each column of categories; none of a column of numbers."""
    found: list[Array] = []
    for column, *values in zip(people[0].columns, *(t.values for t in people), strict=True):
        known, counts = np.unique(np.concatenate(values), return_counts=True)
        often = known[np.argsort(-counts, kind="stable")[:MOST_CATEGORIES]]
        found.append(often if column.kind == "categorical" else known[:0])
    return found


def _gathered(table: Table, common: list[Array]) -> Table:
    person = person_numbers(table.persons)
    order = np.argsort(person, kind="stable")
    _, starts = np.unique(person[order], return_index=True)
    columns = [Column("rows", "numeric")]
    values: list[Array] = [np.diff([*starts, len(order)]).astype(float)]
    for column, codes, cells in zip(table.columns, common, table.values, strict=True):
        own = cells[order]
        if column.kind == "categorical":
            columns += [Column(f"{column.name} ({n + 1})", "numeric") for n in range(len(codes))]
            values += [np.add.reduceat((own == code).astype(float), starts) for code in codes]
            continue
        known = ~np.isnan(own)
        count = np.add.reduceat(known.astype(float), starts)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.round(np.add.reduceat(np.where(known, own, 0.0), starts) / count, 9)
        columns += [replace(column, name=f"{column.name} ({what})", date=False) for what in ("mean", "least", "most")]
        values += [mean, np.fmin.reduceat(own, starts), np.fmax.reduceat(own, starts)]
    return Table(tuple(columns), tuple(values), table.persons[order][starts])

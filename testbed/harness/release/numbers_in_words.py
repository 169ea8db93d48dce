# pyright: strict
"""Columns of texts that hold numbers, compared by these numbers as well.

A column may be declared a category, or may be taken for one, though its texts hold quantities (`84 (fasting)`). Two
different texts are equally far apart then, and people whose numbers were moved a little are not found. So the near-copy
rule looks a second time, with the first two numbers of each text in place of the text.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from testbed.core import Array, Column, Release, Table
from testbed.harness.release.setting import Setting


def look(setting: Setting) -> Setting | None:
    """The setting with numbers in place of texts; None if no column's texts hold numbers.

    Which columns these are follows from the texts of all tables, so it knows nobody's membership.
    """
    if setting.controls is None or not any(c.numbers for c in setting.members.columns):
        return None
    members, controls, release = (_read(t) for t in (setting.members, setting.controls, setting.release.table))
    return replace(setting, members=members, controls=controls, release=Release(release))


def _read(table: Table) -> Table:
    columns: list[Column] = []
    values: list[Array] = []
    for column, codes in zip(table.columns, table.values, strict=True):
        if not column.numbers:
            columns.append(column)
            values.append(codes)
            continue
        numbers = np.array(
            [*column.numbers, [np.nan] * len(column.numbers[0])]
        )  # a missing value has code -1, the last
        for place in range(numbers.shape[1]):
            if not np.isnan(numbers[:, place]).all():
                columns.append(Column(column.name + f" ({place + 1})" * (place > 0), "numeric"))
                values.append(numbers[codes, place])
    return Table(tuple(columns), tuple(values), table.persons)

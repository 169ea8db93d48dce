"""Rows as numbers for tree ensembles, which use only the order of values."""

from __future__ import annotations

import numpy as np

from testbed.core import Array, Table


def ranked(table: Table, release: Table) -> Array:
    """Features (n, p) float32: a number's rank among the released ones in [0, 1], or -1 if missing; a category's code.

    Equal values have equal ranks, so that memorised values are recognised.
    """
    columns: list[Array] = []
    for column, values, released in zip(table.columns, table.values, release.values, strict=True):
        if column.kind == "categorical":
            columns.append(values.astype(np.float32))
            continue
        known = np.sort(released[~np.isnan(released)])
        place = np.searchsorted(known, values, "left") + np.searchsorted(known, values, "right")
        columns.append(np.where(np.isnan(values), -1.0, place / max(1, 2 * len(known))).astype(np.float32))
    return np.stack(columns, 1) if columns else np.zeros((len(table), 1), np.float32)

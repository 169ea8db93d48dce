"""Scales that the release writes the other way round, such as 5 for never: turned back, so that copies are found.

Where some columns were turned, their correlations with the others have changed sign. Where all of them were, nothing in
the release shows it if the scales are symmetric, so copies are looked for both ways.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from testbed.core import Array, Release, Table
from testbed.core.tables.rows import row_keys
from testbed.harness.release.own_scale import by_rank, numbers
from testbed.harness.release.setting import Setting

SURE = 4.0
"""Standard deviations by which a column's correlations must agree better with the original once it is turned."""
MOST_COLUMNS, SAMPLE = 500, 5000
"""The most columns, and the most rows of each side, of which correlations are compared."""
LEVELS = (3, 11)
"""The fewest and the most values of a scale."""
FEWEST_SCALES = 4
"""Scales from which a release is also looked at with all of them turned."""


def looks(setting: Setting) -> list[Setting]:
    """The setting with columns turned back by their correlations, and with all scales turned; those that differ.

    Original and control are taken together, so this knows nobody's membership.
    """
    if setting.controls is None:
        return []
    table = setting.release.table
    real = tuple(np.concatenate(pair) for pair in zip(setting.members.values, setting.controls.values, strict=True))
    numeric = [i for i, c in enumerate(table.columns) if c.kind == "numeric" and not c.date]
    turned = _contrary(table, real, numeric) if FEWEST_SCALES <= len(numeric) <= MOST_COLUMNS else set[int]()
    scales = {i for i in numeric if _is_scale(table.values[i]) and _is_scale(real[i])}
    choices = [turned, turned ^ scales if len(scales) >= FEWEST_SCALES else set[int]()]
    return [
        _with(setting, choice, scales, real) for n, choice in enumerate(choices) if choice and choice not in choices[:n]
    ]


def _contrary(table: Table, real: tuple[Array, ...], numeric: list[int]) -> set[int]:
    """The columns whose correlations with most others surely have the other sign in the release."""
    people = Table(table.columns, real, np.arange(len(real[0])))
    released, known = (_correlations(t, numeric) for t in (table, people))
    agreement = released * known
    side = np.linalg.eigh(agreement)[1][:, -1] < 0
    weight = np.abs(agreement).sum(1)
    smaller = side if weight[side].sum() <= weight[~side].sum() else ~side
    across = agreement[:, ~smaller].sum(1)
    noise = np.sqrt((known[:, ~smaller] ** 2).sum(1) / min(len(table), SAMPLE))
    return {
        i for i, one, gap, usual in zip(numeric, smaller, across, noise, strict=True) if one and gap < -SURE * usual
    }


def _correlations(table: Table, columns: list[int]) -> Array:
    """Correlations (k, k) of the columns' ranks in a sample of rows, without those of a column with itself."""
    rows = np.argsort(row_keys(table, 5), kind="stable")[:SAMPLE]
    ranks = np.empty((len(columns), len(rows)))
    for place, i in enumerate(columns):
        held = table.values[i][rows].astype(float)
        held = np.where(np.isnan(held), np.nanmedian(held) if (~np.isnan(held)).any() else 0.0, held)
        ranks[place] = np.unique(held, return_inverse=True)[1]
    ranks -= ranks.mean(1, keepdims=True)
    ranks /= np.maximum(np.sqrt((ranks**2).sum(1, keepdims=True)), 1e-12)
    found = ranks @ ranks.T
    np.fill_diagonal(found, 0.0)
    return found


def _is_scale(values: Array) -> bool:
    known = np.unique(values[~np.isnan(values)])
    return LEVELS[0] <= len(known) <= LEVELS[1] and bool((known % 1 == 0).all())


def _with(setting: Setting, turned: set[int], scales: set[int], real: tuple[Array, ...]) -> Setting:
    table = setting.release.table
    values = list(table.values)
    for i in turned:
        back = -values[i].astype(float)
        values[i] = np.nanmin(real[i]) + np.nanmax(real[i]) + back if i in scales else by_rank(back, numbers(real[i]))
    return replace(setting, release=Release(Table(table.columns, tuple(values), table.persons)))

"""The chance that a fresh person has the same whole row as a real person. It is asked even of a single copied row.

Other people agree with the person in some columns. An agreement counts -log2 of the share of people who have that
value: its bits. The number of other people falls quickly as the bits rise. The fall, continued to the bits of all
columns, gives the chance that a fresh person has the same row. If two real people share a row that should be as
improbable, the model does not hold for this table, and no row counts as improbable.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from testbed.core import Array, Table
from testbed.core.tables.rows import numbered, row_keys
from testbed.harness.release.copies import naming
from testbed.harness.release.grids import alike

ALLOWED = 0.01
"""If fewer coincidences than this are expected in the whole release, a single one is not believed to be chance."""
MOST_ASKED, MOST_OTHERS = 50, 50_000
"""Most people whose rows are tested, and most other people whose rows are compared with them."""
SEEN = 3
"""The fall is continued from the number of bits that this many other people reach."""


def improbable(release: Table, members: Table, controls: Table | None) -> tuple[int, int]:
    """Numbers of members and of controls whose row is in the release and would hardly be anybody else's by chance."""
    release, members, controls = alike(release, members, controls)
    tables = [members] if controls is None else [members, controls]
    kept = tuple(c.name for c in members.columns if c.name not in naming(tables))
    if not kept:
        return 0, 0
    groups = [t.select(kept) for t in tables]
    parts = numbered(release.select(kept), *groups)
    numbers = np.concatenate(parts[1:])
    persons = persons_apart(*groups)
    held = _people_with(numbers, persons)[numbers]
    stands = np.isin(numbers, parts[0]) & (held == 1)
    if not stands.any():
        return 0, 0
    keys = np.concatenate([row_keys(g, 0) for g in groups])
    pool = np.argsort(keys, kind="stable")[:MOST_OTHERS]
    cells = _cells(groups, pool)
    is_member = np.arange(len(numbers)) < len(members)

    def beyond_chance(asked: Array, people: int) -> int:
        """The number of these rows' people whom a release of this size would hardly reproduce by chance."""
        asked = asked[np.unique(persons[asked], return_index=True)[1]]
        asked = asked[np.argsort(keys[asked], kind="stable")][:MOST_ASKED]
        own = _cells(groups, asked)
        return sum(
            len(release) * people * chance_of_all(cells[numbers[pool] != numbers[row]], own[i]) < ALLOWED
            for i, row in enumerate(asked)
        )

    if beyond_chance(np.flatnonzero(held == 2), len(numbers)):
        return 0, 0
    found = [beyond_chance(np.flatnonzero(stands & group), int(group.sum())) for group in (is_member, ~is_member)]
    return found[0], found[1]


def chance_of_all(others: Array, row: Array, shared: Array | None = None) -> float:
    """The chance that a fresh person has the whole row (p,), estimated from other people's rows (n, p).

    With `shared` (p,) bool it is the chance of an agreement in any columns that has as many bits as these columns.

    Beyond the median, the number of other people is assumed to fall with each bit at the rate observed up to `SEEN`
    people. If the fall becomes steeper, the result is an upper bound.
    """
    n = len(others)
    if n < 2 * SEEN:
        return 1.0
    agree = others == row
    bits = -np.log2((agree.sum(0) + 1) / (n + 1))
    found = np.sort(agree @ bits)
    middle, reached = float(found[n // 2]), float(found[-SEEN])
    wanted = float(bits.sum() if shared is None else bits[shared].sum())
    if wanted < reached:
        return float((found >= wanted).mean())
    share = float((found >= reached).mean())
    if reached <= middle:
        return share
    fall = np.log2(0.5 / min(share, 0.5)) / (reached - middle)
    return float(share * 2.0 ** (-fall * (wanted - reached)))


def chance_of_agreement(asked: Table, pool: Table, nearest: Array, person: Array) -> Array:
    """The chance (n,) that a fresh person agrees with the nearest real person as much as each row does, in bits.

    `nearest` (n,) are rows of the pool, and `person` (m,) is the person of each row of the pool. The chance is computed
    for the rows that agree in the most bits. For all others it is set to 1.
    """
    rows = _cells([asked], np.arange(len(asked)))
    theirs = _cells([pool], nearest)
    agree = rows == theirs
    sample = np.argsort(row_keys(pool, 0), kind="stable")[:MOST_OTHERS]
    others = _cells([pool], sample)
    rarity = _bits(others, theirs)
    most = np.argsort(-(agree * rarity).sum(1), kind="stable")[:MOST_ASKED]
    found = np.ones(len(asked))
    for i in most:
        left = others[person[sample] != person[nearest[i]]]
        found[i] = chance_of_all(left, theirs[i], agree[i])
    return found


def _bits(others: Array, rows: Array) -> Array:
    """The bits of each cell (n, p) of these rows: -log2 of the share of other people with that value."""
    made = np.empty(rows.shape)
    for j in range(rows.shape[1]):
        known, counts = np.unique(others[:, j], return_counts=True)
        place = np.minimum(np.searchsorted(known, rows[:, j]), len(known) - 1)
        made[:, j] = -np.log2((np.where(known[place] == rows[:, j], counts[place], 0) + 1) / (len(others) + 1))
    return made


def persons_apart(*groups: Table) -> Array:
    """The number of each row's person, over all groups. A person who is in two groups counts as two."""
    made: list[Array] = []
    start = 0
    for group in groups:
        person, names = pd.factorize(group.persons)
        made.append(person + start)
        start += len(names)
    return np.concatenate(made)


def _people_with(numbers: Array, persons: Array) -> Array:
    """The number of people who have each row, indexed by the row's number."""
    size = int(numbers.max()) + 1
    if persons.max() == len(persons) - 1:  # everybody has one row
        return np.bincount(numbers, minlength=size)
    once = np.unique(numbers.astype(np.int64) * (int(persons.max()) + 1) + persons) // (int(persons.max()) + 1)
    return np.bincount(once, minlength=size)


def _cells(groups: list[Table], rows: Array) -> Array:
    """The cells (n, p) of these rows of all groups, as numbers. Equal values, and missing ones, have equal numbers."""
    made = np.empty((len(rows), len(groups[0].columns)))
    starts = np.cumsum([0, *map(len, groups)])
    for group, start, stop in zip(groups, starts, starts[1:], strict=False):
        here = (rows >= start) & (rows < stop)
        for j, values in enumerate(group.values):
            made[here, j] = values[rows[here] - start]
    return np.where(np.isnan(made), -np.inf, made)

"""Can this person's whole row stand in the release by chance? Asked of each one that does, from the first on.

Other people agree with a person in some of their columns, and each agreement is worth its column's surprise, in bits.
How many others reach so many bits falls off quickly. The fall, continued to the bits of all columns, gives the chance
that a fresh person has the same row. Two real people who share a row that should be as improbable refute this.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from testbed.core import Array, Table
from testbed.core.tables.rows import numbered, row_keys
from testbed.harness.release.copies import alike, naming

ALLOWED = 0.01
"""Expected coincidences in a whole release below which a single one is not believed to be chance."""
MOST_ASKED, MOST_OTHERS = 50, 50_000
"""People of whom this is asked, and others whose rows are compared with theirs."""
SEEN = 3
"""The bits that so many others reach are where the fall is continued from."""


def improbable(release: Table, members: Table, controls: Table | None) -> tuple[int, int]:
    """How many members, and how many controls, stand in the release with rows that chance would hardly give anybody."""
    release, members, controls = alike(release, members, controls)[0]
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
        """How many of these rows' people a release of this size would hardly reproduce by chance."""
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
    """The chance that a fresh person has the whole row (p,), told from what other people's rows (n, p) share with it.

    With `shared` (p,) bool it is the chance of as many bits as these columns have, in whatever columns.

    From the median of the others on, their number falls with each bit at least as fast as it has fallen up to the bits
    that some of them reach; where the fall becomes steeper this is an upper bound.
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
    """The chance that a fresh person agrees with the nearest real one in as many columns as each row does (n,).

    `nearest` (n,) are rows of the pool, `person` (m,) says whose each of the pool's rows is. It is told for the rows
    that agree in the most bits, and 1 for all others.
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
    """-log2 of the share of others who have each cell (n, p) of these rows."""
    made = np.empty(rows.shape)
    for j in range(rows.shape[1]):
        known, counts = np.unique(others[:, j], return_counts=True)
        place = np.minimum(np.searchsorted(known, rows[:, j]), len(known) - 1)
        made[:, j] = -np.log2((np.where(known[place] == rows[:, j], counts[place], 0) + 1) / (len(others) + 1))
    return made


def persons_apart(*groups: Table) -> Array:
    """A number for the person behind each row of all groups; who stands in two groups is two persons."""
    made: list[Array] = []
    start = 0
    for group in groups:
        person, names = pd.factorize(group.persons)
        made.append(person + start)
        start += len(names)
    return np.concatenate(made)


def _people_with(numbers: Array, persons: Array) -> Array:
    """How many people have each row, by the row's number."""
    size = int(numbers.max()) + 1
    if persons.max() == len(persons) - 1:  # everybody has one row
        return np.bincount(numbers, minlength=size)
    once = np.unique(numbers.astype(np.int64) * (int(persons.max()) + 1) + persons) // (int(persons.max()) + 1)
    return np.bincount(once, minlength=size)


def _cells(groups: list[Table], rows: Array) -> Array:
    """The cells (n, p) of these rows of all groups, as numbers that are equal where the values are; gaps too."""
    made = np.empty((len(rows), len(groups[0].columns)))
    starts = np.cumsum([0, *map(len, groups)])
    for group, start, stop in zip(groups, starts, starts[1:], strict=False):
        here = (rows >= start) & (rows < stop)
        for j, values in enumerate(group.values):
            made[here, j] = values[rows[here] - start]
    return np.where(np.isnan(made), -np.inf, made)

"""Rows of unique people that stand in a release as they are, and whether chance explains them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats as scipy_stats

from testbed.core import Array, Table
from testbed.core.tables.rows import numbered
from testbed.findings import statistics


@dataclass(frozen=True, slots=True)
class Copies:
    """Unique people whose whole row stands in the release, and what chance says of it."""

    members: int
    """Persons among the members (or controls) with a row that nobody else of either group has."""
    controls: int
    members_reproduced: int
    controls_reproduced: int
    p_value: float
    whole_table: bool
    """The release equals the original as a multiset, and has 20 or more distinct rows."""
    by_chance: int = 0
    """Upper 95 % bound on the unique members that as many fresh people would reproduce by chance (see `_hit`)."""
    controls_by_chance: int = 0
    """The same bound for unique controls."""
    text: str = ""
    """The column of free text that was compared by itself; "" where whole rows were."""


DISTINCT_ROWS = 20
NEARLY_ALL = 0.95
"""The share of different values in a column by which it names its rows and describes nobody."""
MOST_DECIMALS = 8
WORDS = 3


def copies(release: Table, members: Table, controls: Table | None) -> Copies:
    """Are unique people of the original reproduced more often than unique people who were not in it?

    Under the null that the release does not depend on who was in the original, group labels are exchangeable:
    of the unique people reproduced, the number that are members is hypergeometric. Exact for any group sizes.

    Numbers are compared as exactly as the coarser of release and people writes them: a copy is one with numbers of 32
    bits, with fewer decimals, rounded or cut off, or with noise beyond the original's. Where columns name their rows
    (numbers given to records, pseudonyms), rows are compared with them and without, and those of free text by
    themselves as well. Of all comparisons the smallest p-value counts, times their number.
    """
    spelt = alike(release, members, controls)
    tables = [members] if controls is None else [members, controls]
    every, names = tuple(c.name for c in members.columns), naming(tables)
    kept = tuple(name for name in every if name not in names)
    rows = [_compared(*those, columns=asked) for asked in dict.fromkeys((every, kept or every)) for those in spelt]
    texts = _free_text(members, names) if len(every) > 1 else []
    found = rows + [replace(_compared(*spelt[0], columns=(name,)), text=name) for name in texts]
    best = min(found, key=lambda c: (c.p_value, -c.members_reproduced))
    return replace(best, p_value=min(1.0, len(found) * best.p_value), whole_table=any(c.whole_table for c in rows))


def _compared(release: Table, members: Table, controls: Table | None, columns: tuple[str, ...]) -> Copies:
    release, members = release.select(columns), members.select(columns)
    controls = None if controls is None else controls.select(columns)
    parts = numbered(release, members) if controls is None else numbered(release, members, controls)
    released, original = parts[:2]
    others = parts[2] if controls is not None else np.empty(0, np.int64)
    size = 1 + max(int(p.max(initial=0)) for p in parts)
    # How many people have a row; one person may have it several times.
    held = np.zeros(size, np.int64)
    for rows, table in ((original, members), (others, controls)):
        if table is not None:
            person = np.unique(table.persons, return_inverse=True)[1]
            held += np.bincount(np.unique(np.stack([rows, person]), axis=1)[0], minlength=size)
    stands = np.bincount(released, minlength=size) > 0

    def unique_people(rows: Array, table: Table | None, reproduced: bool) -> int:
        if table is None:
            return 0
        alone = held[rows] == 1
        return len(np.unique(table.persons[alone & stands[rows] if reproduced else alone]))

    found = unique_people(original, members, True)
    found_control = unique_people(others, controls, True)
    people = _people_in(members)
    control_people = 0 if controls is None else _people_in(controls)
    p = 1.0 if controls is None else statistics.labels_by_chance(found, found + found_control, people, control_people)
    twice = int((held == 2).sum())
    same = len(release) == len(members) and bool((np.sort(released) == np.sort(original)).all())
    return Copies(
        unique_people(original, members, False),
        unique_people(others, controls, False),
        found,
        found_control,
        p,
        same and len(np.unique(original)) >= DISTINCT_ROWS,
        _hit(twice, people, people + control_people, len(release)),
        _hit(twice, control_people, people + control_people, len(release)),
    )


def _hit(twice: int, members: int, people: int, drawn: int) -> int:
    """Upper 95 % bound on the unique members that `drawn` fresh people reproduce, where two people share `twice` rows.

    The rows of one person alone are a share 2 `twice` / `people` of the population (Good 1953, Biometrika 40); for
    `twice` Poisson's upper 95 % bound is taken.
    """
    bound = float(scipy_stats.chi2.ppf(0.95, 2 * (twice + 1))) / 2
    return int(scipy_stats.poisson.ppf(0.95, drawn * min(1.0, 2 * bound / people) * members / people))


def _people_in(table: Table) -> int:
    return len(np.unique(table.persons))


def alike(release: Table, members: Table, controls: Table | None) -> list[tuple[Table, Table, Table | None]]:
    """The tables with each number as exact as both the release and all people have it: rounded, and else cut off."""
    tables = [release, members, *([] if controls is None else [controls])]
    values = [list(t.values) for t in tables]
    cut: dict[int, list[Array]] = {}
    for j, column in enumerate(release.columns):
        if column.kind != "numeric":
            continue
        released, people = values[0][j], [own[j] for own in values[1:]]
        decimals = [_decimals([released]), _decimals(people)]
        if decimals[0] == decimals[1] and decimals[0] <= MOST_DECIMALS:
            continue
        coarser = min(decimals)
        if coarser <= MOST_DECIMALS:
            if decimals[0] < decimals[1]:
                cut[j] = [_cut_off(own, coarser, np.floor if column.date else np.trunc) for own in people]
            for own in values:
                own[j] = np.round(own[j], coarser)
        elif _in_32_bits([released]) != _in_32_bits(people):
            for own in values:
                own[j] = own[j].astype(np.float32).astype(np.float64)
    spelt = [values]
    if any(not np.array_equal(new, values[1 + i][j], True) for j, own in cut.items() for i, new in enumerate(own)):
        people = [[cut[j][i] if j in cut else v for j, v in enumerate(own)] for i, own in enumerate(values[1:])]
        spelt.append([values[0], *people])
    made = [[replace(t, values=tuple(own)) for t, own in zip(tables, those, strict=True)] for those in spelt]
    return [(m[0], m[1], None if controls is None else m[2]) for m in made]


def _cut_off(values: Array, decimals: int, how: Callable[[Array], Array]) -> Array:
    """Values with what is beyond so many decimals left away; what a float falls short of a decimal by is no matter."""
    scale = 10.0**decimals
    return np.round(how(np.round(values * scale, 6)) / scale, decimals)


def _free_text(people: Table, names: set[str]) -> list[str]:
    """Of the columns that name their rows those that hold sentences: three words and more, as most have."""
    return [
        column.name
        for column in people.columns
        if column.name in names
        and column.kind == "categorical"
        and column.levels
        and np.median([len(str(level).split()) for level in column.levels]) >= WORDS
    ]


def _decimals(values: Sequence[Array]) -> int:
    """How many decimals write all of these numbers; more than `MOST_DECIMALS` where none of so few do."""
    decimals = 0
    for own in values:
        known = own[np.isfinite(own)]
        for part in (known[:1000], known):  # most columns are told by their first thousand
            while decimals <= MOST_DECIMALS and (np.round(part, decimals) != part).any():
                decimals += 1
    return decimals


def _in_32_bits(values: Sequence[Array]) -> bool:
    with np.errstate(over="ignore"):
        return all(bool((v.astype(np.float32) == v)[np.isfinite(v)].all()) for v in values)


def naming(tables: Sequence[Table]) -> set[str]:
    """Columns of text or whole numbers that differ in nearly all rows of each table."""
    found: set[str] = set()
    for j, column in enumerate(tables[0].columns):
        values = [t.values[j] for t in tables]
        if column.date or (column.kind == "numeric" and _decimals(values) > 0):
            continue
        if all(len(v) >= DISTINCT_ROWS and len(np.unique(v)) >= NEARLY_ALL * len(v) for v in values):
            found.add(column.name)
    return found

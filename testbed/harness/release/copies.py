"""Rows of unique people that a release reproduces unchanged, and whether chance explains them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats as scipy_stats

from testbed.core import Array, Table
from testbed.core.tables.rows import numbered
from testbed.findings import statistics
from testbed.harness.release.grids import decimals, spellings


@dataclass(frozen=True, slots=True)
class Copies:
    """Unique people whose whole row is in the release, and how many of them chance explains."""

    members: int
    """Unique members: persons with a row that nobody else of either group has. `controls` counts unique controls."""
    controls: int
    members_reproduced: int
    controls_reproduced: int
    p_value: float
    whole_table: bool
    """True if the release has the same rows as the original, each as often, and 20 or more distinct rows."""
    by_chance: int = 0
    """Upper 95 % bound on the unique members that a release of this size would reproduce by chance, if it were drawn
    afresh from the population (see `_hit`)."""
    controls_by_chance: int = 0
    """The same bound for unique controls."""
    text: str = ""
    """The column of free text that was compared alone; "" if whole rows were compared."""
    comparisons: int = 1
    """How many comparisons were made; the p-value is multiplied by their number."""


DISTINCT_ROWS = 20
"""Rows that a table needs for `whole_table` (distinct ones), and for a column to name its rows."""
NEARLY_ALL = 0.95
"""Share of distinct values from which a column names its rows and describes nobody."""
WORDS = 3
"""Median number of words from which a column is free text."""


def copies(release: Table, members: Table, controls: Table | None) -> Copies:
    """Counts of unique people reproduced in the release, and the p-value that members are reproduced more often.

    The null hypothesis is that the release does not depend on who was in the original. Group labels are then
    exchangeable, so the number of members among the unique people reproduced is hypergeometric. The test is exact for
    any group sizes.

    Numbers are compared on the coarser grid of release and people. So a row is still a copy if its numbers were stored
    in 32 bits, rounded, put into bands, or have noise in decimals that the original does not have. Some columns only
    name their rows (record numbers, pseudonyms): rows are compared with and without them, and columns of free text
    alone as well. The smallest p-value of all comparisons counts, multiplied by their number.
    """
    tables = [members] if controls is None else [members, controls]
    every, names = tuple(c.name for c in members.columns), naming(tables)
    kept = tuple(name for name in every if name not in names)
    asked = list(dict.fromkeys((every, kept or every)))
    rows = [_compared(*those, columns=c) for those in spellings(release, members, controls) for c in asked]
    texts = _free_text(members, names) if len(every) > 1 else []
    found = rows + [replace(_compared(release, members, controls, columns=(name,)), text=name) for name in texts]
    best = min(found, key=lambda c: (c.p_value, -c.members_reproduced))
    p = min(1.0, len(found) * best.p_value)
    return replace(best, p_value=p, whole_table=any(c.whole_table for c in rows), comparisons=len(found))


def _compared(release: Table, members: Table, controls: Table | None, columns: tuple[str, ...]) -> Copies:
    release, members = release.select(columns), members.select(columns)
    controls = None if controls is None else controls.select(columns)
    parts = numbered(release, members) if controls is None else numbered(release, members, controls)
    released, original = parts[:2]
    others = parts[2] if controls is not None else np.empty(0, np.int64)
    size = 1 + max(int(p.max(initial=0)) for p in parts)
    # The number of people who have each row. One person may have a row several times and counts once.
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
    """Upper 95 % bound on the unique members that `drawn` fresh people reproduce by chance.

    `twice` is the number of rows that exactly two people have. A share of about 2 `twice` / `people` of the population
    has a row that is unique among these people (Good 1953, Biometrika 40). `twice` itself is replaced by Poisson's
    upper 95 % bound.
    """
    bound = float(scipy_stats.chi2.ppf(0.95, 2 * (twice + 1))) / 2
    return int(scipy_stats.poisson.ppf(0.95, drawn * min(1.0, 2 * bound / people) * members / people))


def _people_in(table: Table) -> int:
    return len(np.unique(table.persons))


def _free_text(people: Table, names: set[str]) -> list[str]:
    """The columns of free text, among those that name their rows: half of the values have three words or more."""
    return [
        column.name
        for column in people.columns
        if column.name in names
        and column.kind == "categorical"
        and column.levels
        and np.median([len(str(level).split()) for level in column.levels]) >= WORDS
    ]


def naming(tables: Sequence[Table]) -> set[str]:
    """Columns of text or whole numbers that differ in nearly all rows of each table."""
    found: set[str] = set()
    for j, column in enumerate(tables[0].columns):
        values = [t.values[j] for t in tables]
        if column.date or (column.kind == "numeric" and decimals(np.concatenate(values)) > 0):
            continue
        if all(len(v) >= DISTINCT_ROWS and len(np.unique(v)) >= NEARLY_ALL * len(v) for v in values):
            found.add(column.name)
    return found

"""Rows of unique people that stand in a release as they are, and whether chance explains them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from testbed import stats
from testbed.core import Array, Table
from testbed.matching import numbered


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


DISTINCT_ROWS = 20


def copies(release: Table, members: Table, controls: Table | None) -> Copies:
    """Are unique people of the original reproduced more often than unique people who were not in it?

    Under the null that the release does not depend on who was in the original, group labels are exchangeable:
    of the unique people reproduced, the number that are members is hypergeometric. Exact for any group sizes.
    """
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
    p = 1.0 if controls is None else stats.labels_by_chance(found, found + found_control, people, control_people)
    same = len(release) == len(members) and bool((np.sort(released) == np.sort(original)).all())
    return Copies(
        unique_people(original, members, False),
        unique_people(others, controls, False),
        found,
        found_control,
        p,
        same and len(np.unique(original)) >= DISTINCT_ROWS,
    )


def _people_in(table: Table) -> int:
    return len(np.unique(table.persons))

"""People who have several rows: an attacker adds up the rows of a person, so verdicts are about people."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from testbed.core import Array, Cohort, Evidence
from testbed.core.randomness import keyed_rng

MOST_UNUSED = 0.2
"""Share of the members' rows that may be left out; above it an audit says that somebody who uses them may see more."""


def several_rows(people: Cohort) -> bool:
    """Whether some people have several rows."""
    return len(np.unique(people.persons)) < len(people)


def as_many_rows(persons: Array, used: Array, seed: int) -> Array:
    """Which rows (n,) bool count, so that members and controls have equally many rows a person.

    A mean over few rows varies more than a mean over many. If controls had more rows than members, members would be
    above the controls' threshold by chance. People of both groups are ordered by their number of rows. A person counts
    with the smaller of the two numbers at this place of the order; which of the rows is drawn at random.
    """
    _, person = np.unique(persons, return_inverse=True)
    rows = np.bincount(person)
    member = np.zeros(len(rows), bool)
    member[person] = used
    if member.all() or not member.any():
        return np.ones(len(persons), bool)
    rng = keyed_rng(seed, "rows that count")
    wanted = rows.copy()
    for side in (member, ~member):
        own = np.flatnonzero(side)[rng.permutation(side.sum())]
        own = own[np.argsort(rows[own], kind="stable")]
        place = (np.arange(len(own)) + 0.5) / len(own)
        other = np.sort(rows[~side])
        wanted[own] = np.minimum(rows[own], other[(place * len(other)).astype(int)])
    order = rng.permutation(len(persons))
    order = order[np.argsort(person[order], kind="stable")]
    number = np.empty(len(persons), int)
    number[order] = np.arange(len(persons)) - np.repeat(np.cumsum(rows) - rows, rows)
    return number < wanted[person]


def one_each(rows: Evidence, counted: Array | None) -> Evidence:
    """One row for each person in each cell, the mean over the rows that are `counted`. Of single rows: as it is."""
    if counted is None:
        return rows
    made = rows.where(counted[rows.item.astype(int)]).of_clusters()
    asked = int(((made.view == "true") & (made.group == "used")).sum())
    return replace(made, requested=asked, performed=asked)


def mostly(mine: Array, persons: Array) -> Array:
    """Rows (n,) of the people of whose rows more than half are in a group `mine` (n,) bool."""
    _, person = np.unique(persons, return_inverse=True)
    return (np.bincount(person, mine) / np.bincount(person) > 0.5)[person]


def left_out(counted: Array | None, used: Array) -> bool:
    """Whether more of the members' rows are left out than may be."""
    return counted is not None and float((~counted[used]).mean()) > MOST_UNUSED

"""An index of a table: how many people satisfy a conjunction of conditions, and who they are.

Each column is sorted once. A conjunction is counted by a walk over the rows that satisfy its rarest condition. The slow
definition, against which this is tested, is `Table.matching`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from testbed.core import Condition, Table

Array = npt.NDArray[Any]
EQUAL, AT_MOST, AT_LEAST, MISSING = 0, 1, 2, 3
_OPS = {"eq": EQUAL, "le": AT_MOST, "ge": AT_LEAST, "missing": MISSING}


def person_numbers(persons: Array) -> Array:
    """The number (n,) of each row's person, from 0, in the order of their first rows. It does not depend on names."""
    _, first, person = np.unique(persons, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[person]


def people_with(values: Array, persons: Array) -> tuple[Array, Array]:
    """The distinct values, and the number of people who have each."""
    _, first = np.unique(persons, return_index=True)
    if len(first) == len(persons):
        levels, counts = np.unique(values, return_counts=True)
        return levels, counts
    levels, code = np.unique(values, return_inverse=True)
    who = np.unique(persons, return_inverse=True)[1]
    pairs = np.unique(code.astype(np.int64) * len(first) + who)
    return levels, np.bincount(pairs // len(first), minlength=len(levels))


@dataclass(frozen=True, slots=True)
class Index:
    """The index of a table with p columns and n rows; matches are counted in persons.

    `values` (p, n) are the columns, `order` (p, n) their row numbers by ascending value, `ranked` (p, n) the values in
    that order, `known` (p,) how many are not missing, and `person` (n,) the number of the person of each row.
    """

    values: Array
    order: Array
    ranked: Array
    known: Array
    person: Array

    @staticmethod
    def of(table: Table) -> Index:
        p, n = len(table.columns), len(table)
        values = np.empty((p, n))
        order, ranked = np.empty((p, n), np.int32), np.empty((p, n))
        known = np.empty(p, np.int64)
        for j, (column, given) in enumerate(zip(table.columns, table.values, strict=True)):
            values[j] = given
            if column.kind == "categorical":
                values[j][given == -1] = np.nan  # missing is always NaN, which sorts last
            order[j] = np.argsort(values[j], kind="stable")
            ranked[j] = values[j][order[j]]
            known[j] = n - np.isnan(values[j]).sum()
        return Index(values, order, ranked, known, person_numbers(table.persons))

    @property
    def several(self) -> bool:
        """Whether any person has several rows."""
        return self.people < len(self.person)

    @property
    def people(self) -> int:
        """The number of persons."""
        return int(self.person.max(initial=-1)) + 1

    @property
    def _data(self) -> tuple[Array, Array, Array, Array, Array, bool]:
        return self.values, self.order, self.ranked, self.known, self.person, self.several

    def counts(self, conjunctions: Sequence[Sequence[Condition]], most: int | None = None) -> Array:
        """The number of persons who satisfy each conjunction (m,); counting may stop at `most`."""
        limit = self.values.shape[1] if most is None else most
        return _count_all(*self._data, *_flat(conjunctions), limit)

    def matches(self, conjunctions: Sequence[Sequence[Condition]], most: int) -> tuple[Array, Array]:
        """The number of persons who satisfy each conjunction (m,), and these persons, conjunction after conjunction.

        If a conjunction has more than `most`, its number is -1, and its persons are left out.
        """
        counts, persons = _match_all(*self._data[:-1], *_flat(conjunctions), most, self.people)
        return counts, persons[np.arange(most) < counts[:, None]]


def _flat(conjunctions: Sequence[Sequence[Condition]]) -> tuple[Array, Array, Array, Array]:
    """Columns, operations and bounds of all conditions as flat arrays, and where each conjunction starts."""
    starts = np.cumsum([0, *(len(c) for c in conjunctions)])
    flat = [condition for c in conjunctions for condition in c]
    columns = np.array([c.column for c in flat], dtype=np.int64)
    ops = np.array([_OPS[c.op] for c in flat], dtype=np.int64)
    bounds = np.array([c.value for c in flat], dtype=np.float64)
    return columns, ops, bounds, starts


@numba.njit(cache=True, nogil=True)
def _holds(value: float, op: int, bound: float) -> bool:  # pragma: no cover - compiled
    if op == EQUAL:
        return value == bound
    if op == AT_MOST:
        return value <= bound
    if op == AT_LEAST:
        return value >= bound
    return value != value


@numba.njit(cache=True, nogil=True)
def count(
    values: Any,
    order: Any,
    ranked: Any,
    known: Any,
    person: Any,
    several: bool,
    columns: Any,
    ops: Any,
    bounds: Any,
    limit: int,
) -> int:  # pragma: no cover - compiled
    """The number of persons with a row that satisfies one conjunction, at most `limit`.

    `several` says that some persons have several rows.
    """
    first, last, through = _shortest(values, ranked, known, columns, ops, bounds)
    if columns.shape[0] == 1 and not several:
        return min(limit, last - first)
    found = 0
    met = {np.int64(-1)}
    for at in range(first, last):
        row = order[columns[through], at]
        if not _fits(values, row, columns, ops, bounds, through):
            continue
        if several:
            if person[row] in met:
                continue
            met.add(person[row])
        found += 1
        if found >= limit:
            break
    return found


@numba.njit(cache=True, nogil=True)
def _shortest(values: Any, ranked: Any, known: Any, columns: Any, ops: Any, bounds: Any) -> Any:  # pragma: no cover
    """The condition that fewest rows satisfy: first and last position in its column's order, and its number."""
    first, last, through = 0, values.shape[1] + 1, 0
    for c in range(columns.shape[0]):
        j = columns[c]
        whole = ranked[j, : known[j]]
        low, high = 0, known[j]
        if ops[c] == MISSING:
            low, high = known[j], values.shape[1]
        if ops[c] == EQUAL or ops[c] == AT_LEAST:
            low = np.searchsorted(whole, bounds[c], "left")
        if ops[c] == EQUAL or ops[c] == AT_MOST:
            high = np.searchsorted(whole, bounds[c], "right")
        if high - low < last - first:
            first, last, through = low, high, c
    return first, last, through


@numba.njit(cache=True, nogil=True)
def _fits(values: Any, row: int, columns: Any, ops: Any, bounds: Any, through: int) -> bool:  # pragma: no cover
    """Whether a row satisfies all conditions except number `through`, which is known to hold."""
    for c in range(columns.shape[0]):
        if c != through and not _holds(values[columns[c], row], ops[c], bounds[c]):
            return False
    return True


@numba.njit(cache=True, parallel=True)
def _count_all(
    values: Any,
    order: Any,
    ranked: Any,
    known: Any,
    person: Any,
    several: bool,
    columns: Any,
    ops: Any,
    bounds: Any,
    starts: Any,
    limit: int,
) -> Any:  # pragma: no cover - compiled
    made = np.empty(starts.shape[0] - 1, np.int64)
    for i in numba.prange(starts.shape[0] - 1):
        a, b = starts[i], starts[i + 1]
        made[i] = count(values, order, ranked, known, person, several, columns[a:b], ops[a:b], bounds[a:b], limit)
    return made


@numba.njit(cache=True, nogil=True)
def _match_all(
    values: Any,
    order: Any,
    ranked: Any,
    known: Any,
    person: Any,
    columns: Any,
    ops: Any,
    bounds: Any,
    starts: Any,
    most: int,
    people: int,
) -> Any:  # pragma: no cover - compiled
    """Counts (m,), with -1 if above `most`, and persons (m, most), of which the first `count` are filled in."""
    made = starts.shape[0] - 1
    counts, found = np.zeros(made, np.int64), np.zeros((made, most), np.int64)
    last_met = np.full(people, -1, np.int64)
    for i in range(made):
        part = slice(starts[i], starts[i + 1])
        first, last, through = _shortest(values, ranked, known, columns[part], ops[part], bounds[part])
        for at in range(first, last):
            row = order[columns[part][through], at]
            who = person[row]
            if last_met[who] == i or not _fits(values, row, columns[part], ops[part], bounds[part], through):
                continue
            if counts[i] == most:
                counts[i] = -1
                break
            last_met[who] = i
            found[i, counts[i]] = who
            counts[i] += 1
    return counts, found

"""Which rows of an original stand in a table or in an array of a file: by several cells that agree in one row.

A person counts as found if three cells or more agree, and if they tell enough, after the discount for dependent
columns. Enough is the larger of two sizes. The first is log2(rows of the original x rows of the table) + 10 bits: if
cells were independent, one table in a thousand would hold such a person by chance. The second is measured in the
original itself, where other people agree as well: the bits that 1 % of people share with the person most alike, and
log2(10 x rows of the table) more, so that again one table in a thousand exceeds it if the tail halves with each bit;
and never less than 5 bits above the two people who are most alike, plus what more rows than people explain.

Many rows together need less. If rows agree in all columns that both tables have, chance explains about
2 (n2 + 1) rows of the table / rows of the original of them, with n2 combinations that two people share (Good 1953).
This assumes no independence. If more agree than a Poisson number of that mean exceeds once in a thousand tables, all
of them count as found.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import poisson

from testbed.core import Array
from testbed.data import fingerprints
from testbed.harness.artefact.originals import Column, Original, folded

SURE = 10.0
"""Bits beyond what the number of comparisons explains."""
FEWEST_CELLS = 3
RARELY, ALIKE = 0.001, 0.01
ABOVE = 5.0
"""Bits above those that the two most alike people share."""
EMPTY = -2
"""The level of an empty cell; -1 is that of a value which the column does not have."""
SAMPLE = 3_000
COVERED = 0.9
"""Share of a field's cells that must be values of the column, to take the field for it by its place."""
TELLS_LITTLE = 4.0
"""Bits of a column's average cell below which the field's place in the table decides."""
MOST_PAIRS = 2_000_000
"""Pairs of rows that are compared at once."""
KEYS = 6
"""Columns by which candidates are looked for, those that tell most first."""
MOST_FIELDS = 300
"""Columns of a file's table that are compared: the first ones."""


@dataclass(frozen=True, slots=True)
class Fields:
    """The columns of a table in a file: as numbers (NaN: none), as folded texts or None, and by name if known."""

    numbers: list[Array]
    texts: list[list[str] | None]
    names: tuple[str, ...] | None = None
    tolerance: float = 1e-9

    @property
    def rows(self) -> int:
        return len(self.numbers[0]) if self.numbers else 0


def of_columns(columns: list[list[Any]], names: tuple[str, ...] | None = None) -> Fields:
    """The fields of a table of plain values."""
    texts = [[_text(v) for v in column] for column in columns[:MOST_FIELDS]]
    numbers = [np.array([_number(t) for t in column]) for column in texts]
    return Fields(numbers, [list(map(folded, column)) for column in texts], names)


def of_array(values: Array) -> Fields:
    """The fields of an array (n, d)."""
    kind = values.dtype
    tolerance = 3e-7 if kind.kind == "f" and kind.itemsize == 4 else 1e-9
    wide = np.asarray(values[:, :MOST_FIELDS], dtype=np.float64)
    return Fields([wide[:, j] for j in range(wide.shape[1])], [None] * wide.shape[1], None, tolerance)


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, bool):
        return "1.0" if value else "0.0"
    return fingerprints.text_of(value) if not isinstance(value, list | dict | tuple) else str(value)


def _number(text: str) -> float:
    if not text or not (text[-1].isdigit() or text[-1] == "."):
        return np.nan
    try:
        return float(text.replace(",", ".") if text.count(",") == 1 and "." not in text else text)
    except ValueError:
        return np.nan


def levels(column: Column, numbers: Array, texts: list[str] | None, tolerance: float) -> Array:
    """The level (m,) of the original's column that each value of a field is; -1 where it is none."""
    found = np.full(len(numbers), -1, dtype=np.int64)
    known = np.flatnonzero(np.isfinite(column.numbers))
    if len(known):
        order = known[np.argsort(column.numbers[known])]
        ordered = column.numbers[order]
        place = (
            np.clip(np.searchsorted(ordered, numbers), 1, len(ordered) - 1)
            if len(ordered) > 1
            else np.zeros(len(numbers), int)
        )
        lower = np.abs(numbers - ordered[np.maximum(place - 1, 0)]) <= np.abs(numbers - ordered[place])
        nearest = np.where(lower, np.maximum(place - 1, 0), place)
        with np.errstate(invalid="ignore"):
            near = np.abs(numbers - ordered[nearest]) <= tolerance * np.maximum(1.0, np.abs(ordered[nearest]))
        found[near] = order[nearest[near]]
    if texts is None:
        found[np.isnan(numbers)] = EMPTY
    else:
        for i in np.flatnonzero(found < 0):
            if not texts[i]:
                found[i] = EMPTY
            elif (level := column.forms.get(texts[i])) is not None:
                found[i] = level
    return found


def aligned(original: Original, fields: Fields) -> dict[int, Array]:
    """For each column of the original that a field of the table seems to hold, the levels (m,) of that field.

    A field with the column's name holds it. The others are assigned by what their agreeing cells tell, most first.
    """
    found: dict[tuple[int, int], Array] = {}
    scores: list[tuple[float, int, int]] = []
    called = {n.casefold(): j for j, n in enumerate(fields.names or ())}
    for c, column in enumerate(original.columns):
        for j, (numbers, texts) in enumerate(zip(fields.numbers, fields.texts, strict=True)):
            held = levels(column, numbers, texts, fields.tolerance)
            there = held >= 0
            if there.sum() < 1:
                continue
            found[c, j] = held
            named = called.get(column.title.casefold()) == j
            scores.append((np.inf if named else float(column.bits[held[there]].sum()), c, j))
    assigned: dict[int, int] = {}
    for score, c, j in sorted(scores, key=lambda s: -s[0]):
        if c in assigned or j in assigned.values():
            continue
        column = original.columns[c]
        if score < np.inf and float(column.bits[column.codes[column.codes >= 0]].mean()) < TELLS_LITTLE:
            offsets = [j - original.columns[c].place for c, j in assigned.items()]
            beside = column.place + (max(set(offsets), key=offsets.count) if offsets else 0)
            there = found.get((c, beside))
            if there is not None and beside not in assigned.values() and (there != -1).mean() >= COVERED:
                j = beside
        assigned[c] = j
    return {c: found[c, j] for c, j in assigned.items()}


def among(original: Original, fields: Fields) -> set[int]:
    """The rows of the original, by number, that stand in the table."""
    held = aligned(original, fields)
    if len(held) < FEWEST_CELLS or not fields.rows:
        return set()
    order = sorted(held)
    people = _equal(original, held)
    needed = np.log2(original.rows) + np.log2(fields.rows) + SURE
    if sum(float(original.columns[c].bits.max()) for c in order) < needed:
        return people
    many, most = _by_others(original, order)
    more = max(0.0, float(np.log2(fields.rows / min(original.rows, SAMPLE))))
    needed = max(needed, many + np.log2(fields.rows * ALIKE / RARELY), most + more + ABOVE)
    for there, asked in _candidates(original, held):
        bits, cells = _told(original, held, order, there, asked)
        people |= set(asked[(bits >= needed) & (cells >= FEWEST_CELLS)].tolist())
    return people


def _by_others(original: Original, order: list[int]) -> tuple[float, float]:
    """The bits by which the most alike other person of the original agrees: exceeded for 1 % of people, and at most."""
    key = tuple(order)
    if key not in original.others:
        drawn = np.unique(np.linspace(0, original.rows - 1, min(original.rows, SAMPLE)).astype(int))
        held = {
            c: np.where(original.columns[c].codes[drawn] < 0, EMPTY, original.columns[c].codes[drawn]) for c in order
        }
        most = np.zeros(len(drawn))
        for there, asked in _candidates(original, held):
            other = original.persons[drawn[there]] != original.persons[asked]
            bits, cells = _told(original, held, order, there[other], asked[other])
            whole = cells == sum((original.columns[c].codes[asked[other]] >= 0).astype(int) for c in order)
            np.maximum.at(most, there[other][~whole], bits[~whole])  # a row that stands twice is one person's
        original.others[key] = float(np.quantile(most, 1 - ALIKE)), float(most.max())
    return original.others[key]


def _equal(original: Original, held: dict[int, Array]) -> set[int]:
    """The rows that agree in all columns that both have, if they are more than chance explains; else none."""
    common = [c for c in sorted(held) if (held[c] != -1).mean() >= COVERED]
    if len(common) < FEWEST_CELLS:
        return set()
    asked = np.stack([original.columns[c].codes for c in common], 1)
    asked = np.where(asked < 0, EMPTY, asked).astype(np.int64)
    there = np.stack([held[c] for c in common], 1).astype(np.int64)
    there = np.unique(there[(there != -1).all(1) & ((there >= 0).sum(1) >= FEWEST_CELLS)], axis=0)
    unique, first, counts = np.unique(asked, axis=0, return_index=True, return_counts=True)
    single, twice = first[counts == 1], int((counts == 2).sum())
    known = {row.tobytes() for row in there}
    found = {int(i) for i in single if asked[i].tobytes() in known}
    expected = 2 * (twice + 1) * len(next(iter(held.values()))) / len(asked)
    return found if len(unique) > 1 and poisson.sf(len(found) - 1, expected) < RARELY else set()


def _candidates(original: Original, held: dict[int, Array]) -> Iterator[tuple[Array, Array]]:
    """Pairs (row of the table, row of the original) that agree on one of the columns that tell most, or on two."""
    keys = sorted(held)[:KEYS]
    for place, c in enumerate(keys):
        second = keys[(place + 1) % len(keys)]
        one, other = held[c], original.columns[c].codes
        with_one, with_other = held[second], original.columns[second].codes
        width = len(original.columns[second].bits)
        both = np.where((one < 0) | (with_one < 0), -1, one * width + with_one)
        both_other = np.where((other < 0) | (with_other < 0), -2, other * width + with_other)
        for left, right in ((one, other), (both, both_other)):
            if (pairs := _joined(left, right)) is not None:
                yield pairs
                break


def _joined(left: Array, right: Array) -> tuple[Array, Array] | None:
    """All pairs of places with equal codes of 0 or more, or None if they are too many."""
    order = np.argsort(right, kind="stable")
    ordered = right[order]
    first, last = np.searchsorted(ordered, left, "left"), np.searchsorted(ordered, left, "right")
    counts = np.where(left >= 0, last - first, 0)
    total = int(counts.sum())
    if total > MOST_PAIRS:
        return None
    there = np.repeat(np.arange(len(left)), counts)
    within = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
    return there, order[np.repeat(first, counts) + within]


def _told(
    original: Original, held: dict[int, Array], order: list[int], there: Array, asked: Array
) -> tuple[Array, Array]:
    """What the agreeing cells of each pair tell, in bits, and how many cells agree."""
    bits, cells = np.zeros(len(there)), np.zeros(len(there), dtype=int)
    agreed: list[tuple[int, Array]] = []
    for c in order:
        column = original.columns[c]
        level = held[c][there]
        same = (level >= 0) & (level == column.codes[asked])
        less = np.zeros(len(there))
        for a, before in agreed:
            if original.discount[a, c] > 0:
                less = np.maximum(less, np.where(before, original.discount[a, c], 0.0))
        bits += np.where(same, np.maximum(0.0, column.bits[np.maximum(level, 0)] - less), 0.0)
        cells += same
        agreed.append((c, same))
    return bits, cells

"""Which rows of an original stand in a text, or in numbers without a known form: by cells that stand close together.

In a text no column is known, so each word may be any column's value. A cell therefore counts with its bits minus
log2 of the number of words beside it, and only values that few people have are looked for.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from testbed.core import Array
from testbed.harness.artefact.originals import Original, folded
from testbed.harness.artefact.rows import FEWEST_CELLS

WORD = re.compile(r"[^\s,;|\"'()\[\]{}<>=]+")
SURE = 20.0
"""Bits beyond what the number of comparisons explains. There are more than for a table, whose columns are known."""
MOST_WORDS = 6
"""Words of a value that is looked for in a text."""
RARE = 5.0
"""Bits of the values that are looked for, at least."""
SHORTEST = 3
"""Characters of a value that is looked for."""
WINDOW = 60
"""Words of a text without lines among which one row is looked for."""
MOST_TEXT = 50_000_000
"""Characters of a text that are searched for rows."""
FEW = 10
"""A value that fewer people have is kept with them, to find the row."""


@dataclass(frozen=True, slots=True)
class Index:
    """An original's values by their spellings: for each, the columns and the levels; and people by level."""

    original: Original
    forms: dict[str, list[tuple[int, int]]]
    longest: dict[str, int]
    """By its first word, the most words of a value."""
    people: list[dict[int, list[int]]]
    """By column and level, the rows of the people who have it, if they are few."""
    names: dict[str, list[int]]
    """By its spelling, the rows of a value that alone names one person."""

    def __repr__(self) -> str:
        return f"Index({len(self.forms)} spellings)"


def indexed(original: Original) -> Index:
    forms: dict[str, list[tuple[int, int]]] = defaultdict(list)
    longest: dict[str, int] = {}
    names: dict[str, list[int]] = defaultdict(list)
    people: list[dict[int, list[int]]] = []
    for place, column in enumerate(original.columns):
        rows: dict[int, list[int]] = defaultdict(list)
        counts = np.bincount(column.codes[column.codes >= 0], minlength=len(column.bits))
        for row, code in enumerate(column.codes.tolist()):
            if code >= 0 and counts[code] < FEW:
                rows[code].append(row)
        people.append(dict(rows))
        for form, level in column.forms.items():
            words = form.split()
            if len(words) > MOST_WORDS or not words:
                continue
            if column.bits[level] >= RARE and len(form) >= SHORTEST:
                forms[form].append((place, level))
                longest[words[0]] = max(longest.get(words[0], 0), len(words))
            if column.names[level] and level in rows:
                names[form] += rows[level]
                longest[words[0]] = max(longest.get(words[0], 0), len(words))
    return Index(original, dict(forms), longest, people, dict(names))


def in_text(index: Index, text: str, lines: bool) -> tuple[set[int], set[int]]:
    """The rows of the original that stand in a text, and the rows of people whose identifiers do."""
    named: set[int] = set()
    people: set[int] = set()
    units = list(_units(text[:MOST_TEXT], lines))
    needed = np.log2(max(index.original.rows, 2)) + np.log2(max(len(units), 2)) + SURE
    for words in units:
        found = _values(index, words)
        for form in found & index.names.keys():
            named |= set(index.names[form])
        if len(found) >= FEWEST_CELLS:
            people |= _rows(index, found, needed, np.log2(max(len(words), 2)))
    return people, named


def _units(text: str, lines: bool) -> Iterator[list[str]]:
    """The words of each line, or of each window of a text whose lines do not stand for themselves."""
    if lines:
        for line in text.splitlines():
            words = _words(line)
            for start in range(0, max(len(words), 1), WINDOW):
                yield words[start : start + WINDOW + WINDOW // 2]
        return
    words = _words(text)
    for start in range(0, max(len(words), 1), WINDOW // 2):
        yield words[start : start + WINDOW]


def _words(text: str) -> list[str]:
    return [w for raw in WORD.findall(text) for w in folded(raw.rstrip(".:")).split()]


def _values(index: Index, words: list[str]) -> set[str]:
    """The values of the original among some words, by their spelling."""
    found: set[str] = set()
    for place, word in enumerate(words):
        most = index.longest.get(word)
        if most is None and (number := _plain(word)) in index.longest:
            word, most = number, index.longest[number]
            found.add(word)
        for length in range(1, (most or 0) + 1):
            form = " ".join([word, *words[place + 1 : place + length]])
            if form in index.forms or form in index.names:
                found.add(form)
    return found


def _plain(word: str) -> str:
    """A number as the original's are written (1.50 and 1,5 are 1.5), else an empty text."""
    try:
        return repr(float(word.replace(",", "."))) if word[-1:].isdigit() else ""
    except ValueError:
        return ""


def _rows(index: Index, found: set[str], needed: float, many: float) -> set[int]:
    """The rows of which enough cells are among the values."""
    cells: dict[int, dict[int, int]] = defaultdict(dict)
    for form in found:
        for column, level in index.forms.get(form, ()):
            for row in index.people[column].get(level, ()):
                cells[row][column] = level
    original = index.original
    people: set[int] = set()
    for row, held in cells.items():
        if len(held) < FEWEST_CELLS:
            continue
        bits = 0.0
        before: list[int] = []
        for column in sorted(held):
            less = max((float(original.discount[a, column]) for a in before), default=0.0)
            bits += max(0.0, float(original.columns[column].bits[held[column]]) - less - many)
            before.append(column)
        if bits >= needed:
            people.add(row)
    return people


WIDTHS = (("<f8", 8), ("<f4", 4))
CLOSE = 2
"""A row's numbers lie within this many times as many numbers as it has columns."""


def in_bytes(index: Index, data: bytes) -> set[int]:
    """The rows of the original whose numbers stand close together in bytes, as numbers of 64 or 32 bits."""
    people: set[int] = set()
    for code, width in WIDTHS:
        for shift in range(width):
            count = (len(data) - shift) // width
            if count >= FEWEST_CELLS:
                people |= in_numbers(index, np.frombuffer(data, code, count, shift))
    return people


def in_numbers(index: Index, values: Array) -> set[int]:
    """The rows of the original of which enough numbers stand close together in an array without a form (m,)."""
    original = index.original
    single = values.dtype.kind == "f" and values.dtype.itemsize == 4
    columns, places, levels = [], [], []
    for place, column in enumerate(original.columns):
        known = np.flatnonzero(np.isfinite(column.numbers) & (column.bits >= RARE) & (column.numbers % 1 != 0))
        sought = column.numbers[known].astype(np.float32 if single else np.float64)
        order = np.argsort(sought)
        if not len(order):
            continue
        at = np.minimum(np.searchsorted(sought[order], values), len(order) - 1)
        hits = np.flatnonzero(sought[order][at] == values)
        columns.append(np.full(len(hits), place))
        places.append(hits)
        levels.append(known[order[at[hits]]])
    if not columns:
        return set()
    return _clusters(index, np.concatenate(columns), np.concatenate(places), np.concatenate(levels), len(values))


def _clusters(index: Index, columns: Array, places: Array, levels: Array, count: int) -> set[int]:
    original = index.original
    window = CLOSE * len(original.columns)
    many, needed = np.log2(2 * window), np.log2(max(original.rows, 2)) + np.log2(max(count, 2)) + SURE
    cells: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for column, place, level in zip(columns.tolist(), places.tolist(), levels.tolist(), strict=True):
        for row in index.people[column].get(level, ()):
            cells[row].append((place, column, level))
    people: set[int] = set()
    for row, hits in cells.items():
        hits.sort()
        for start, (first, _, _) in enumerate(hits):
            held = {c: v for p, c, v in hits[start : start + 4 * window] if p - first <= window}
            if len(held) < FEWEST_CELLS:
                continue
            bits, before = 0.0, list[int]()
            for column in sorted(held):
                less = max((float(original.discount[a, column]) for a in before), default=0.0)
                bits += max(0.0, float(original.columns[column].bits[held[column]]) - less - many)
                before.append(column)
            if bits >= needed:
                people.add(row)
                break
    return people

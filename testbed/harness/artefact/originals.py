"""A table of people, prepared to be found again in a file: its values by column, and how rare each of them is.

How much a cell tells is measured in bits: minus log2 of the probability that another person's cell is equal. The
probability of a value held once is estimated after Good (1953, Biometrika 40, 237-264): 2 (n2 + 1) / (n1 N) with n1
values held once and n2 held twice, and at most 1 / N. A value that r people hold has r / N.

Columns that depend on each other tell less together. For two columns a and c the discount is log2 of how much more
often two people agree on c if they agree on a. A cell counts with its bits minus the largest discount by a cell that
was counted before it: an upper bound of the pairwise part of the dependence (Chow and Liu 1968).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from testbed.core import Array
from testbed.core.readings import spellings
from testbed.data import fingerprints
from testbed.harness.release import identifiers, person_names

MOST_COLUMNS = 200
"""Columns that are compared: the first ones."""
SAMPLE = 3_000
"""Rows by which dependence is measured."""
FEWEST_PAIRS = 20
"""Pairs of people who agree on a column, below which dependence on it is not measured by agreement."""
SAME_ORDER = 0.95
"""Rank correlation from which one of two columns of different numbers tells nothing beside the other."""
UNIQUE = 0.95
"""Share of distinct values from which a column may hold identifiers."""
SHORTEST_IDENTIFIER, SHORTEST_DIGITS = 6, 6
SPARSE = 0.01
"""Numbers that name people are this much fewer than the range that they span, or lower."""
PUNCTUATION = re.compile(r"[^\w.+-]+")


@dataclass(frozen=True, slots=True)
class Column:
    """One column: the level (n,) of each row (-1: missing), the bits of each level, and levels by their spellings.

    `numbers` are the levels as numbers, NaN where one is none. `names` says which levels alone name one person.
    """

    title: str
    place: int
    """Its place in the table."""
    codes: Array
    bits: Array
    numbers: Array
    names: Array
    forms: dict[str, int] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Original:
    """A table of people. `discount` (c, c) is in bits: of column c, if column a agreed."""

    name: str
    columns: tuple[Column, ...]
    discount: Array
    rows: int
    persons: Array
    """The person (n,) of each row."""
    others: dict[tuple[int, ...], tuple[float, float]] = field(
        default_factory=dict[tuple[int, ...], tuple[float, float]], repr=False
    )
    """By the columns compared: the bits by which the most alike other person in the table agrees, once measured."""

    def __repr__(self) -> str:
        return f"Original({self.rows} rows, {len(self.columns)} columns)"


def folded(text: str) -> str:
    """Text without what differs between spellings of one value: case, width, accents' form, punctuation, blanks."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(PUNCTUATION.sub(" ", plain).split())


def prepared(frame: pd.DataFrame, name: str, person: str | None = None) -> Original:
    """The table with the rarity of its values. `name` is what a report calls it, `person` the column of the person."""
    read = (_column(str(title), i, frame[title]) for i, title in enumerate(frame.columns[:MOST_COLUMNS]))
    columns = [c for c in read if c is not None]
    persons = np.arange(len(frame)) if person is None else pd.factorize(frame[person])[0]
    # The column that tells most is counted first.
    columns.sort(key=lambda c: -float(np.mean(c.bits[c.codes[c.codes >= 0]])) if (c.codes >= 0).any() else 0.0)
    return Original(name, tuple(columns), _discount(columns, len(frame)), len(frame), persons)


def _column(title: str, place: int, values: Any) -> Column | None:
    """One column, or None if it tells nothing: it is empty, constant, or counts the rows."""
    if values.dtype == bool:
        values = values.astype(int)
    texts = ["" if pd.api.types.is_scalar(v) and pd.isna(v) else fingerprints.text_of(v) for v in values]
    codes, distinct = pd.factorize(np.array([t or None for t in texts], dtype=object))
    levels: list[str] = list(map(str, distinct))
    if len(levels) < 2:
        return None
    numbers = np.array([_number(t) for t in levels])
    if _counts_rows(numbers, codes):
        return None
    held = np.bincount(codes[codes >= 0], minlength=len(levels))
    total = int(held.sum())
    once, twice = int((held == 1).sum()), int((held == 2).sum())
    rare = min(1 / total, 2 * (twice + 1) / (max(once, 1) * total))
    bits = -np.log2(np.where(held == 1, rare, held / total))
    forms: dict[str, int] = {}
    for level, text in enumerate(levels):
        for spelling in {folded(s) for s in spellings(text)}:
            if spelling:
                forms.setdefault(spelling, level)
    return Column(title, place, codes, bits, numbers, _names(title, levels, numbers, held), forms)


def _number(text: str) -> float:
    try:
        return float(text) if text and text[-1].isdigit() else np.nan
    except ValueError:
        return np.nan


def _counts_rows(numbers: Array, codes: Array) -> bool:
    """Whether a column is 0, 1, 2, ... in some order: it agrees with any other count."""
    if len(numbers) < len(codes) or not np.isfinite(numbers).all():
        return False
    ordered = np.sort(numbers)
    return bool((np.diff(ordered) == ordered[1] - ordered[0]).all())


def _names(title: str, levels: list[str], numbers: Array, held: Array) -> Array:
    """Which levels (mask) name one person by themselves."""
    alone = held == 1
    none = np.zeros(len(levels), dtype=bool)
    if alone.sum() < UNIQUE * len(levels):
        return none
    found = {v for f in identifiers.scan(title, levels) if f.believed for v in f.values}
    if np.isfinite(numbers).all():
        spread = float(numbers.max() - numbers.min()) + 1
        whole = bool((numbers % 1 == 0).all()) and float(np.abs(numbers).min()) >= 10 ** (SHORTEST_DIGITS - 1)
        if whole and (len(levels) <= SPARSE * spread or identifiers.says_record(title)):
            return alone
        return alone & np.array([v in found for v in levels])
    long = np.array([len(v) >= SHORTEST_IDENTIFIER and _varied(v) for v in levels])
    called = person_names.in_column(title, levels)
    return alone & (long | np.array([v in found or v in called for v in levels]))


def _varied(text: str) -> bool:
    """Whether a text is no date or number, and holds four digits or two words of letters."""
    if len(spellings(text)) > 1 or np.isfinite(_number(text)):
        return False
    return sum(c.isdigit() for c in text) >= 4 or len(re.findall(r"[^\W\d_]{3,}", text)) >= 2


def _discount(columns: list[Column], rows: int) -> Array:
    """The discount (c, c) in bits of column c if column a agrees: 0 where none is seen."""
    drawn = np.unique(np.linspace(0, rows - 1, min(rows, SAMPLE)).astype(int))
    codes = [np.where(c.codes[drawn] < 0, len(c.bits), c.codes[drawn]).astype(np.int64) for c in columns]
    pairs = len(drawn) * (len(drawn) - 1) / 2
    agree = [_agreeing(c) for c in codes]
    found = np.zeros((len(columns), len(columns)))
    ranks = [_ranks(c, drawn) for c in columns]
    for a in range(len(columns)):
        for c in range(len(columns)):
            if a == c:
                continue
            if agree[a] >= FEWEST_PAIRS:
                both = _agreeing(codes[a] * (len(columns[c].bits) + 1) + codes[c])
                expected = agree[a] * agree[c] / pairs
                # Fewer pairs than this may agree on both by chance.
                if both > expected + 3 * np.sqrt(expected) + 2:
                    found[a, c] = np.log2(both / expected)
            elif _correlated(ranks[a], ranks[c]) > SAME_ORDER:
                found[a, c] = np.inf
    return found


def _agreeing(codes: Array) -> float:
    counts = np.unique(codes, return_counts=True)[1].astype(float)
    return float((counts * (counts - 1) / 2).sum())


def _ranks(column: Column, drawn: Array) -> Array | None:
    if not np.isfinite(column.numbers).all():
        return None
    order = np.argsort(np.argsort(column.numbers)).astype(float)
    codes = column.codes[drawn]
    return np.where(codes < 0, np.nan, order[np.maximum(codes, 0)])


def _correlated(one: Array | None, other: Array | None) -> float:
    """The size of the correlation of two columns' ranks, 0 where one holds texts."""
    if one is None or other is None:
        return 0.0
    known = np.isfinite(one) & np.isfinite(other)
    if known.sum() < FEWEST_PAIRS or not one[known].std() or not other[known].std():
        return 0.0
    return float(abs(np.corrcoef(one[known], other[known])[0, 1]))

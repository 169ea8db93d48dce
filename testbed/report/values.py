"""Which values of real people a text holds: each value is searched as what it is, not as it is spelled."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np

from testbed.core.disclosure import People
from testbed.report.searched import DATES, Searched, days, folded, tokens

SHORTEST_STRING, SHORTEST_CODE, SHORTEST_IDENTIFIER = 6, 4, 4
"""The fewest letters and digits of a text, of a code with digits in it, and of a person's identifier."""
SIGNIFICANT_DIGITS = 5
"""The fewest digits of a number."""
PART, MOST_PARTS = 6, 4
"""The fewest letters of a single word of a value (a surname), in values of at most so many words."""
GRAM = 4
"""The length of the beginnings by which most keys are dismissed; no key is shorter."""
NUMERIC = re.compile(r"[-+]?\d+(?:[.,]\d+)?(?:[eE][-+]?\d+)?")
Hit = tuple[str, Hashable]
"""A column, and what of it was found: a key, a day or a number."""


def rare(
    searched: Searched, people: People, min_cell: int, names: list[Searched], exempt: set[float], own_text: bool = False
) -> str | None:
    """The column of a value in the texts that fewer than `min_cell` people of all tables share, or None.

    `names` are the words of the testbed and of the columns, in which no value is searched. `exempt` are numbers that
    are facts of the run. `own_text` says that a person typed the text: there, identifiers of four digits count too.
    """
    looked = _Looked(searched, names, exempt, own_text)
    found: dict[Hit, list[tuple[Any, Any]]] = defaultdict(list)
    for frame in people.tables:
        for place, column in enumerate(frame.columns):
            values = frame.iloc[:, place]
            for what, rows in looked.column(values, column == people.person):
                found[str(column), what].append((frame, rows))
    for (column, _), held in found.items():
        if _people(held, people.person) < min_cell:
            return column
    return None


def _people(held: list[tuple[Any, Any]], person: str | None) -> int:
    """How many people have a value: over all tables, each person once where persons have names."""
    named: set[Hashable] = set()
    unnamed = 0
    for frame, rows in held:
        if person is not None and person in frame.columns:
            named |= set(frame[person][rows].dropna().tolist())
        else:
            unnamed += int(rows.sum())
    return len(named) + unnamed


class _Looked:
    """One text, in which the columns of all tables are looked up."""

    def __init__(self, searched: Searched, names: list[Searched], exempt: set[float], own_text: bool) -> None:
        self.searched, self.names, self.exempt, self.own_text = searched, names, exempt, own_text
        enough = [(v, d) for v, d in searched.numbers if v not in exempt and _telling(v, d, own_text)]
        text = searched.compact
        self.grams = {text[i : i + GRAM] for i in range(len(text) - GRAM + 1)}
        self.by_decimals: dict[int, Any] = {}
        for decimals in {d for _, d in enough}:
            self.by_decimals[decimals] = np.array(sorted({v for v, d in enough if d == decimals}))

    def column(self, values: Any, is_person: bool) -> Iterable[tuple[Hashable, Any]]:
        """What of a column the text holds, each with a mark for the rows that have it."""
        if values.dtype.kind in "iuf":
            yield from self._numbers(np.abs(np.asarray(values, dtype=float)))
            if is_person and self.own_text:
                yield from self._texts(values.map(_as_number, na_action="ignore"), True)
        elif values.dtype.kind == "M":
            yield from self._texts(values.map(lambda v: v.isoformat(), na_action="ignore"), is_person)
        elif values.dtype.kind not in "bcm":
            yield from self._texts(values.map(_as_text, na_action="ignore"), is_person)

    def _numbers(self, values: Any) -> Iterable[tuple[Hashable, Any]]:
        for decimals, wanted in self.by_decimals.items():
            step = 0.5 * 10.0 ** -max(decimals, -300)
            for number in wanted:
                near = np.abs(values - number) <= (step * (1 + 1e-9) if decimals > 0 else 1e-9 * max(number, 1))
                if near.any():
                    yield float(number), near

    def _texts(self, values: Any, is_person: bool) -> Iterable[tuple[Hashable, Any]]:
        hits: dict[Hashable, set[Any]] = defaultdict(set)
        numeric: dict[Any, float] = {}
        for value in values.dropna().unique():
            if NUMERIC.fullmatch(value) and not is_person and not (value[0] == "0" and value.isdigit()):
                numeric[value] = abs(float(value.replace(",", ".")))
                if not value.isdigit():
                    continue
            for what in self._held(value, is_person):
                hits[what].add(value)
        for what, spelled in hits.items():
            yield what, np.asarray(values.isin(spelled), dtype=bool)
        if numeric and self.by_decimals:
            yield from self._numbers(np.asarray(values.map(numeric), dtype=float))

    def _held(self, value: str, is_person: bool) -> list[Hashable]:
        """The keys and days of a value that the text holds."""
        plain = folded(value)
        named = {d for d in days(plain) if d in self.searched.days} if self.searched.days and _dated(plain) else set()
        return [*named, *(key for key in keys(value, is_person) if self._has(key))]

    def _has(self, key: str) -> bool:
        if key[:GRAM] not in self.grams and key[: -GRAM - 1 : -1] not in self.grams:
            return False
        if key not in self.searched.compact and key[::-1] not in self.searched.compact:
            return False
        if key.isdigit():
            short = len(key) < SIGNIFICANT_DIGITS and not self.own_text
            if short or float(key) in self.exempt:
                return False
        found = self.searched.holds(key) or (len(key) >= _backwards(key) and self.searched.holds(key[::-1]))
        return found and ((self.own_text and any(map(str.isdigit, key))) or not any(n.holds(key) for n in self.names))


def keys(value: str, is_person: bool = False) -> list[str]:
    """What of a text is looked up: its letters and digits, as a whole, in other orders, and its long words."""
    words = tokens(value)
    whole = "".join(words)
    if not whole:
        return []
    least = SHORTEST_IDENTIFIER if is_person else SHORTEST_STRING
    if any(c.isdigit() for c in whole):
        least = SHORTEST_IDENTIFIER if is_person else SIGNIFICANT_DIGITS if whole.isdigit() else SHORTEST_CODE
    made = [whole] if len(whole) >= least else []
    if len(whole) == 12 and whole.isdigit() and whole[:2] in ("18", "19", "20"):
        made.append(whole[2:])  # a national number without its century
    if 2 <= len(words) <= MOST_PARTS and whole.isalnum() and not _dated(folded(value)):
        made += ["".join([*words[1:], words[0]]), "".join([words[-1], *words[:-1]])] if len(whole) >= least else []
        made += [w for w in words if len(w) >= PART and not w.isdigit()]
    return list(dict.fromkeys(made))


def _backwards(key: str) -> int:
    """The fewest characters of a key that is looked up backwards: short runs of digits stand everywhere."""
    return 8 if key.isdigit() else SIGNIFICANT_DIGITS


def _dated(plain: str) -> bool:
    return any(pattern.search(plain) for pattern, _ in DATES)


def _as_number(value: Any) -> str:
    """A person's number as a report would write it: 1024, not 1024.0; 17.5 as it is."""
    return str(int(value)) if np.isfinite(value) and value == int(value) else repr(float(value))


def _as_text(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _telling(value: float, decimals: int, own_text: bool) -> bool:
    """Was the number written with five digits or more, and is it no round one (10,000)?"""
    if not np.isfinite(value) or decimals >= 300:
        return False
    digits = str(round(abs(value) * 10.0 ** max(decimals, 0)))
    return len(digits) >= SIGNIFICANT_DIGITS and len(digits.rstrip("0")) >= (2 if own_text else SIGNIFICANT_DIGITS - 1)

"""What each column was taken for: the guess on which every comparison stands, for the report."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from testbed.core import Array, Column
from testbed.data.tables import spellings

DIGITS = re.compile(r"\d+")
CODED = re.compile(r"([a-z]{1,4})\d[\w.\-]*$")
"""A code that begins with letters, as I21.9 and C09AA05 do."""
NUMBERED = re.compile(r"([a-z]{1,4})[-_ ]?\d+$")
"""A code of one kind, as ward W12."""
WORD = re.compile(r"[^\W\d_]{2,}")
DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
FURTHER = ["mär", "mai", "okt", "dez", "maj", "fév", "avr", "jui", "aoû", "déc", "ene", "abr", "ago", "dic"]
DAYS_AND_MONTHS = frozenset([*DAYS, *MONTHS, *FURTHER, "gen", "mag", "giu", "lug", "set", "ott"])
"""How names of days and months begin, in the large languages of Europe."""
MANY, MOST = 50, 0.5
"""More different values than this are many, and so are more than this share of them."""
FORMS, COVERED = 20, 0.8
"""Quantities are written in a few forms (their text with each number as #); so many forms cover this share of them."""
CURRENCIES = frozenset(["eur", "usd", "gbp", "chf", "sek", "dkk", "nok", "kr", "pln", "czk"])
RECURS = 2
"""Cells that each code stands in, on average, at least; measurements hardly recur."""
PREFIXES, SENTENCE = 3, 4
"""Codes begin in so many ways at least; text of so many words a cell is free text."""
COMMON_UNIT = 0.5


@dataclass(frozen=True, slots=True)
class Described:
    """One column: what it was taken for, whether the user said so, its unit, its gaps, and whether that is in doubt."""

    name: str
    kind: Literal["number", "date", "category"]
    declared: bool
    unit: str
    gaps: float
    """The share of cells without a value in all tables together, to a hundredth."""
    coded_gaps: bool
    """Whether numbers that stand for missing values were read as gaps."""
    doubtful: bool
    """Taken as a category, though it has many different values and most of them hold digits."""


def described(
    column: Column, cells: Mapping[str, Any], encoded: Mapping[str, Array], declared: bool, coded_gaps: bool
) -> Described:
    """`cells` are the columns as they were read (pandas), by table; `encoded` the arrays made of them."""
    kind: Literal["number", "date", "category"] = "category"
    if column.kind == "numeric":
        kind = "date" if column.date else "number"
    missing = [(v == -1) if column.kind == "categorical" else np.isnan(v) for v in encoded.values()]
    gaps = float(np.concatenate(missing).mean())
    texts = _texts(cells) if kind != "date" else []
    known = sum(int((~m).sum()) for m in missing)
    doubtful = kind == "category" and not declared and looks_like_quantities(texts, known)
    unit = _unit(texts) if kind == "number" else ""
    return Described(column.name, kind, declared, unit, round(gaps, 2), coded_gaps, doubtful)


def _texts(cells: Mapping[str, Any]) -> list[str]:
    """The different values of all tables that are no plain numbers, as text, sorted."""
    found: set[str] = set()
    for values in cells.values():
        if values.dtype == object or str(values.dtype) in ("string", "str"):
            try:
                different = values.dropna().unique()
            except TypeError:  # structures, which have no hash
                different = values.dropna().map(str).unique()
            found |= {v if isinstance(v, str) else str(v) for v in different}
    return sorted(found)


def looks_like_quantities(texts: list[str], cells: int) -> bool:
    """Are these different texts many, and most of them numbers, dates or measurements in a spelling that was not read?

    They stand in so many `cells`. Codes (which begin with different letters, or with one and recur), free text and
    identifiers of no fixed form are none.
    """
    texts = sorted({str(spellings.category(t)) for t in texts})
    if len(texts) <= MANY:
        return False
    with_digits = [t for t in texts if DIGITS.search(t)]
    if len(with_digits) <= MOST * len(texts):
        return False
    prefixes = [found[1] for t in with_digits if (found := CODED.match(t)) and found[1] not in DAYS_AND_MONTHS]
    if len(prefixes) > COVERED * len(with_digits) and len(set(prefixes)) >= PREFIXES:
        return False
    numbered = [found[1] for t in with_digits if (found := NUMBERED.match(t))]
    recurs = len(texts) <= cells / RECURS
    if recurs and len(numbered) > COVERED * len(with_digits) and not set(numbered) & (CURRENCIES | DAYS_AND_MONTHS):
        return False
    if float(np.median([len(WORD.findall(t)) for t in with_digits])) > SENTENCE:
        return False
    forms = Counter(WORD.sub(_dated, DIGITS.sub("#", t)) for t in with_digits)
    return sum(n for _, n in forms.most_common(FORMS)) >= COVERED * len(with_digits)


def _dated(word: re.Match[str]) -> str:
    return "day or month" if word[0][:3] in DAYS_AND_MONTHS else word[0]


def _unit(texts: list[str]) -> str:
    """The unit that most of the cells are written with."""
    units = Counter(spellings.unit(t) for t in texts)
    units.pop("", None)
    unit, count = units.most_common(1)[0] if units else ("", 0)
    return unit if count > COMMON_UNIT * len(texts) else ""

"""How each column was read, for the report: every comparison depends on it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from testbed.core import Array, Column
from testbed.data.tables import apart, spellings

DIGITS = re.compile(r"\d+")
CODED = re.compile(r"([a-z]{1,4})\d[\w.\-]*$")
"""A code that begins with letters, such as I21.9 or C09AA05."""
NUMBERED = re.compile(r"([a-z]{1,4})[-_ ]?\d+$|([a-z])\d\d\.\d{1,2}$|\d{1,4}[-_ ]?([a-z])$")
"""A code of letters and a number, such as W12 for a ward, I21.9 for a diagnosis or 12A for a room."""
WORD, OF_REMARK = re.compile(r"[^\W\d_]{2,}"), re.compile(r"[^\W\d_]{2,}(?:/[^\W\d_]+)*")
"""A word, and one of a remark, where mg/dl is one."""
DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
FURTHER = ["mär", "mai", "okt", "dez", "maj", "fév", "avr", "jui", "aoû", "déc", "ene", "abr", "ago", "dic"]
DAYS_AND_MONTHS = frozenset([*DAYS, *MONTHS, *FURTHER, "gen", "mag", "giu", "lug", "set", "ott"])
"""The first letters of names of days and months, in the most spoken languages of Europe."""
MANY, MOST = 50, 0.5
"""A column is in doubt only if it has more distinct values than this, with digits in more than this share of them."""
FORMS, COVERED = 20, 0.8
"""Quantities are written in few forms, where a form is the text with # for each number. So many forms cover at least
this share of the values."""
CURRENCIES = frozenset(["eur", "usd", "gbp", "chf", "sek", "dkk", "nok", "kr", "pln", "czk"])
RECURS = 2
"""The smallest number of cells a code stands in, on average; measurements recur less often."""
REMARK, REMARKED = 2, 12
"""Words from which on a cell with a number holds a remark; and if others do, the number of different quantities that
are more than a code has."""
PREFIXES, SENTENCE = 3, 4
"""Codes begin with at least so many different prefixes; values with more words than the second are free text."""


@dataclass(frozen=True, slots=True)
class Described:
    """How one column was read: its kind, whether the user declared it, its unit, its missing values, and any doubt."""

    name: str
    kind: Literal["number", "date", "category", "empty"]
    """`empty`: it has no value in the original or in the release, and was left out."""
    declared: bool
    unit: str
    gaps: float
    """The share of cells without a value in all tables together, rounded to a hundredth."""
    coded_gaps: bool
    """Whether numbers that stand for missing values were read as missing."""
    doubtful: bool
    """Whether it was read as a category although it has many different values and most of them hold digits."""
    notes: tuple[str, ...] = ()
    """What was done so that the tables can be compared, or what speaks against comparing them."""
    flags: frozenset[str] = frozenset()
    """Flags of `findings.validity` that this column raises."""


def described(
    column: Column,
    cells: Mapping[str, Any],
    encoded: Mapping[str, Array],
    *,
    unit: str = "",
    declared: bool = False,
    coded_gaps: bool = False,
    notes: Sequence[str] = (),
    flags: Iterable[str] = (),
) -> Described:
    """The description of one column, from its cells as read (pandas) and as encoded (arrays), both by table."""
    kind: Literal["number", "date", "category"] = "category"
    if column.kind == "numeric":
        kind = "date" if column.date else "number"
    missing = [(v == -1) if column.kind == "categorical" else np.isnan(v) for v in encoded.values()]
    gaps = float(np.concatenate(missing).mean())
    known = sum(int((~m).sum()) for m in missing)
    doubtful = kind == "category" and not declared and _doubtful(_texts(cells), known)
    raised = set(flags) | ({"kind_in_doubt"} if doubtful else set())
    if kind != "category" and apart.hardly_meet(encoded):
        raised.add("numbers_apart")
        notes = (*notes, "released numbers hardly meet those of the original: check units and codes")
    return Described(
        column.name, kind, declared, unit, round(gaps, 2), coded_gaps, doubtful, tuple(notes), frozenset(raised)
    )


SUPPRESSED = "the release writes the same sign or word in every row, so it was taken for suppressed"


def without_values(name: str, suppressed: bool = False) -> Described:
    """The description of a column without a value in the original or in the release, which is left out."""
    return Described(name, "empty", False, "", 1.0, False, False, (SUPPRESSED,) if suppressed else ())


def _doubtful(texts: Mapping[str, int], cells: int) -> bool:
    """Whether the texts, or those without a remark if they are most cells, look like quantities.

    Remarks are all different (`84 (fasting, sample late)`): among the different texts they hide the numbers.
    """
    if looks_like_quantities(sorted(texts), cells):
        return True
    plain = {t: n for t, n in texts.items() if DIGITS.search(t) and len(OF_REMARK.findall(t)) < REMARK}
    short = sum(plain.values())
    return short > MOST * cells and len(plain) < len(texts) and looks_like_quantities(sorted(plain), short, REMARKED)


def _texts(cells: Mapping[str, Any]) -> Counter[str]:
    """The distinct values of the columns of text, over all tables, and how many cells each stands in."""
    texts: Counter[str] = Counter()
    for values in cells.values():
        if values.dtype == object or str(values.dtype) in ("string", "str"):
            for text, count in values.dropna().map(str).value_counts().items():
                texts[str(text)] += int(count)
    return texts


def looks_like_quantities(texts: list[str], cells: int, many: int | None = None) -> bool:
    """Whether a category's distinct texts are probably numbers, dates or measurements in a spelling that was not read.

    There must be many texts (more than `many`, or 50), most with digits, in few forms. `cells` is the number of cells
    in which they stand. Codes (with different prefixes, or with one prefix and recurring), free text and identifiers
    without a fixed form are not quantities.
    """
    texts = sorted({str(spellings.category(t)) for t in texts})
    if len(texts) <= (MANY if many is None else many):
        return False
    with_digits = [t for t in texts if DIGITS.search(t)]
    if len(with_digits) <= MOST * len(texts):
        return False
    prefixes = [found[1] for t in with_digits if (found := CODED.match(t)) and found[1] not in DAYS_AND_MONTHS]
    if len(prefixes) > COVERED * len(with_digits) and len(set(prefixes)) >= PREFIXES:
        return False
    numbered = [found[1] or found[2] or found[3] for t in with_digits if (found := NUMBERED.match(t))]
    recurs = len(texts) <= cells / RECURS
    if recurs and len(numbered) > COVERED * len(with_digits) and not set(numbered) & (CURRENCIES | DAYS_AND_MONTHS):
        return False
    if float(np.median([len(WORD.findall(t)) for t in with_digits])) > SENTENCE:
        return False
    forms = Counter(WORD.sub(_dated, DIGITS.sub("#", t)) for t in with_digits)
    return sum(n for _, n in forms.most_common(FORMS)) >= COVERED * len(with_digits)


def _dated(word: re.Match[str]) -> str:
    return "day or month" if word[0][:3] in DAYS_AND_MONTHS else word[0]

"""Columns of numbers: which of their texts are numbers, in which units, and what each stands for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from testbed.data.tables import bands, dates, durations, numerals, quantities, spellings
from testbed.data.tables.agreed_units import units_of
from testbed.data.tables.cells import FEW_WORDS, Reading, Texts, suffice
from testbed.data.tables.quantities import Parsed, Part
from testbed.data.tables.units import CURRENCIES

EXPONENT = re.compile(r"[eE][-+]?\d{4,}")
SAMPLE = 1000
"""Texts that are tried first: unless half of them are numbers, no more are tried."""
MOST_WIDTH, FEW_BANDS = 0.8, 12
"""Ranges with a dash are codes, unless they are few or mostly narrower than this share of their upper end."""
CERTAIN = 0.9
"""The smallest share of such texts whose ends ascend, in a column of ranges."""
CLOCKS = "h"
LIKE_DURATION = re.compile(r":|\d\s*[^\W\d_][^\d]*\d|^\s*[-+]?[Pp]|^\d{3}[DWMY]$|\d[hH]$")
"""Texts that may be durations: several numbers with letters between, or P, or a colon."""
CUT_OFF = re.compile(r"\d(?:\*+|x{2,}|#+)$", re.IGNORECASE)


def as_numbers(values: Any) -> Any:
    """Text as numbers; NaN for other text, and for exponents of four digits or more, which are codes.

    pandas before 3 crashes on some of these codes (its issue 63650).
    """
    if values.dtype == object or isinstance(values.dtype, pd.StringDtype):
        values = values.mask(values.map(lambda v: isinstance(v, str) and bool(EXPONENT.search(v))))
    return pd.to_numeric(values, errors="coerce")


class Measures:
    """The texts of a column over all tables, sorted by what they say."""

    def __init__(self, texts: Mapping[str, Texts], cells: Counter[str]) -> None:
        self.texts, self.cells = texts, cells
        self.plain: dict[str, float] = {}
        """Numbers in the plainest spelling."""
        self.parsed: dict[str, Parsed] = {}
        different = list(cells)
        if not different:
            return
        floats = np.asarray(as_numbers(pd.Series(different, dtype=object)), dtype=np.float64)
        if not any("," in t for t in different):  # with a decimal comma, 1.234 may be a thousand
            self.plain = {t: v for t, v in zip(different, floats.tolist(), strict=True) if v == v}
        rest = [t for t in different if t not in self.plain]
        some = rest[:: 1 + len(rest) // SAMPLE]
        if sum(said(t) is not None for t in some) < len(some) / 2 and len(rest) > FEW_WORDS * len(self.plain):
            return
        self.parsed = {t: p for t in rest if (p := said(t)) is not None}
        self._settle_ranges()
        self._settle_clocks()

    def _settle_ranges(self) -> None:
        """A range that may be something else is one if nearly all such texts ascend and are narrow, or are few."""
        unsure = {t: p for t, p in self.parsed.items() if p.shape == "range" and not p.sure}
        if not unsure:
            return
        ends = np.array(
            [[_signed(part, numerals.value(part.numeral, ".")) for part in p.parts] for p in unsure.values()]
        )
        width = (ends[:, 1] - ends[:, 0]) / np.maximum(np.abs(ends[:, 1]), 1e-9)
        if (width >= 0).mean() >= CERTAIN and (len(unsure) <= FEW_BANDS or np.median(width) <= MOST_WIDTH):
            return
        for text, parsed in unsure.items():
            if text[0] in "([":
                self.parsed[text] = Parsed("list", parsed.parts)
            else:
                del self.parsed[text]

    def _settle_clocks(self) -> None:
        """1:40 beside 1:320 is no time."""
        lists = sum(self.cells[t] for t, p in self.parsed.items() if p.shape == "list" and ":" in t)
        clocks = {t for t, p in self.parsed.items() if ":" in t and p.shape == "one"}
        if clocks and lists > spellings.ODD * sum(self.cells[t] for t in clocks):
            again = {t: quantities.parse(t) for t in clocks}
            self.parsed |= {t: p for t, p in again.items() if p is not None}

    def lists(self) -> dict[str, Parsed]:
        """The texts that hold several numbers, all equally many."""
        sizes = Counter[int]()
        for text, parsed in self.parsed.items():
            sizes[len(parsed.parts)] += self.cells[text] * (parsed.shape == "list")
        most = sizes.most_common(1)[0][0] if sizes else 0
        return {t: p for t, p in self.parsed.items() if p.shape == "list" and len(p.parts) == most}

    def total(self, texts: Iterable[str]) -> int:
        """The number of cells that hold these texts."""
        return sum(self.cells[t] for t in texts)


def said(text: str) -> Parsed | None:
    """What a text says as number, time of day or duration."""
    if (hours := dates.clock(text)) is not None:
        return _counted(hours, CLOCKS)
    if LIKE_DURATION.search(text) and (found := durations.duration(text)):
        return _counted(*found)
    return quantities.parse(text)


def _counted(number: float, unit: str) -> Parsed:
    return Parsed("one", (Part(f"{abs(number):.12f}", number < 0, unit),))


def _signed(part: Part, number: float) -> float:
    return -number if part.negative else number


def read(name: str, texts: Mapping[str, Texts], cells: Counter[str], declared: bool) -> list[Reading] | None:
    """The numbers of a column, or None if it is none of numbers. Raises `InputError` for unclear marks."""
    if any(map(_shortened, texts.values())):
        return None
    measures = Measures(texts, cells)
    lists = measures.lists()
    numbers = [t.numbers[~np.isnan(t.numbers)] for t in texts.values() if t.numbers is not None]
    single = {t for t, p in measures.parsed.items() if p.shape != "list"} | measures.plain.keys()
    if lists and not numbers and measures.total(lists) > measures.total(single):
        others = {t: n for t, n in cells.items() if t not in lists}
        if not suffice(len(lists), measures.total(lists), others):
            return None
        size = len(next(iter(lists.values())).parts)
        columns = [{t: Parsed("one", (p.parts[i],)) for t, p in lists.items()} for i in range(size)]
        found = [_quantity(name, texts, cells, {}, column) for column in columns]
        if any(f is None for f in found):
            return None
        varied = [
            f for f in found if f is not None and len({v for a in f.values.values() for v in np.unique(a[a == a])}) > 1
        ]
        return varied or None
    others = {t: n for t, n in cells.items() if t not in single}
    different = len(single) + (len(np.unique(np.concatenate(numbers))) if numbers else 0)
    fits = suffice(different, measures.total(single) + sum(map(len, numbers)), others)
    if not (fits or (single and not others) or (declared and len(others) <= FEW_WORDS)):
        return None
    return _listed(
        _quantity(name, texts, cells, measures.plain, {t: measures.parsed[t] for t in single - measures.plain.keys()})
    )


def _cents(part: Part) -> str:
    """The decimal sign of an amount of money: a mark before three digits is one between thousands."""
    return "," if "." in part.numeral else "."


def _shortened(own: Texts) -> bool:
    """Whether nearly all cells end in stars: codes with their end cut off, as 223**, and no flags."""
    counted = own.counted()
    return sum(n for t, n in counted.items() if CUT_OFF.search(t)) > CERTAIN * max(1, counted.total())


def _listed(reading: Reading | None) -> list[Reading] | None:
    return None if reading is None else [reading]


def _quantity(
    name: str, texts: Mapping[str, Texts], cells: Counter[str], plain: Mapping[str, float], parsed: Mapping[str, Parsed]
) -> Reading | None:
    """The reading of texts that all are numbers; None where their units are none, but parts of codes."""
    agreed = units_of(texts, parsed)
    if agreed is None:
        return None
    everywhere = numerals.consensus(part.numeral for p in parsed.values() for part in p.parts)
    money = agreed.unit in CURRENCIES.values()
    known: dict[str, dict[str, float]] = {}
    ends: dict[str, dict[str, tuple[float, float]]] = {}
    for role, own in texts.items():
        mine = {t: parsed[t] for t in own.different if t in parsed}
        decimal = numerals.consensus(part.numeral for p in mine.values() for part in p.parts) or everywhere
        known[role] = {t: plain[t] for t in own.different if t in plain}
        ends[role] = {}
        for text, said_ in mine.items():
            try:
                marks = [decimal or (_cents(p) if money else "") for p in said_.parts]
                numbers = [_signed(p, numerals.value(p.numeral, m)) for p, m in zip(said_.parts, marks, strict=True)]
            except numerals.AmbiguousError:
                raise numerals.ambiguous(name, role) from None
            numbers = [agreed.converted(n, p.unit) for n, p in zip(numbers, said_.parts, strict=True)]
            known[role][text] = sum(numbers) / len(numbers)
            ends[role][text] = bands.ends(said_, numbers)
    moved = bands.coarsened(texts, known, ends, parsed)
    values = {role: own.values(known[role]) for role, own in texts.items()} if moved is None else moved
    told = (
        *agreed.told,
        *(("original and control are compared in the bands of the release",) if moved is not None else ()),
    )
    return Reading(values, False, agreed.shown(cells), told, agreed.flags)

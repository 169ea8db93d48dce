"""Numbers inside a text of one form, which nothing else reads: E2V4M3, 40+2, pH 7.15, 55°41'07"N.

If nearly all cells have the same words and signs around their numbers, the numbers in each place are a column. Codes
that recur, identifiers and telephone numbers stay categories.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from testbed.data.tables import numerals
from testbed.data.tables.cells import Reading, Texts
from testbed.data.tables.described import looks_like_quantities

NUMBER = re.compile(r"\d+(?:[.,]\d+)?")
PLACE = "\0"
ENOUGH = 20
"""The fewest different texts, if their numbers have decimals; codes have none."""
CODE = re.compile(r"^[a-z]\0$|\0\.\0|^\0-\0$")
"""A letter and a number (I21.9), two numbers with a dash (12-345), or numbers joined by full stops (10.0.0.1)."""
ADDRESS = re.compile(r"@|://|/\0$|^www\.")
"""An e-mail address, a web address, or a reference such as Patient/12."""
TAKEN_OUT = "numbers were taken out of a longer text"
MOSTLY = 0.9
"""The smallest share of the cells that must have the form."""
MOST_NUMBERS = 8
SAMPLE = 1000
"""Texts that are looked at first: unless half of them have one form, no more are looked at."""
FIXED = 6
"""Whole numbers with so many digits in all, the same in every cell, are identifiers."""


def read(texts: Mapping[str, Texts], cells: Counter[str]) -> list[Reading] | None:
    """The numbers of each place in the commonest form, or None if the column has no such form."""
    some = Counter(NUMBER.sub(PLACE, t.casefold()) for t in list(cells)[:: 1 + len(cells) // SAMPLE])
    if not some or some.most_common(1)[0][1] < some.total() / 2:
        return None
    decimals = sum("." in t or "," in t for t in cells) > len(cells) / 2
    if not looks_like_quantities(list(cells), cells.total(), ENOUGH if decimals else None):
        return None
    forms = Counter[str]()
    for text, n in cells.items():
        forms[NUMBER.sub(PLACE, text.casefold())] += n
    form, common = forms.most_common(1)[0]
    places = form.count(PLACE)
    if CODE.search(form) or ADDRESS.search(form) or common < MOSTLY * cells.total() or not 0 < places <= MOST_NUMBERS:
        return None
    found = {t: NUMBER.findall(t) for t in cells if NUMBER.sub(PLACE, t.casefold()) == form}
    if _are_identifiers(list(found.values())) or _number_people(found, texts):
        return None
    decimal = numerals.consensus(n for numbers in found.values() for n in numbers) or "."
    columns: list[Reading] = []
    for place in range(places):
        known = {t: numerals.value(numbers[place], decimal) for t, numbers in found.items()}
        if len(set(known.values())) > 1:
            values = {role: own.values(known) for role, own in texts.items()}
            columns.append(Reading(values, told=(TAKEN_OUT,)))
    return columns or None


def _number_people(found: Mapping[str, list[str]], texts: Mapping[str, Texts]) -> bool:
    """Whether one whole number in each text tells nearly every row from all others in a table, as in Person 12."""
    if any(len(numbers) != 1 or not numbers[0].isdigit() for numbers in found.values()):
        return False
    counted = [own.counted() for own in texts.values()]
    return any(len(own) >= ENOUGH and len(own) >= MOSTLY * own.total() for own in counted)


def _are_identifiers(found: list[list[str]]) -> bool:
    """Whether the numbers are whole, and together have a fixed length that is long, or zeros in front."""
    if any("." in n or "," in n for numbers in found for n in numbers):
        return False
    lengths = Counter(tuple(map(len, numbers)) for numbers in found)
    padded = sum(any(len(n) > 2 and n[0] == "0" for n in numbers) for numbers in found)
    fixed = lengths.most_common(1)[0]
    return padded > 0.02 * len(found) or (fixed[1] >= MOSTLY * len(found) and sum(fixed[0]) >= FIXED)

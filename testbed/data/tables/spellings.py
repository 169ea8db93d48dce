"""One value in its several spellings: what two files write in two ways and yet is the same, and odd cells in a column.

A category is the same with another case, with other blanks, in composed or decomposed Unicode, and a whole number with
or without decimals. A column of numbers or of dates stays one where a few cells hold a word: those are gaps.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Any

ODD = 0.1
"""The share of cells up to which words among numbers or dates are gaps."""
ENOUGH, SAMPLE = 20, 1000
"""So many different numbers or dates are a quantity, among which a word is odd; fewer may be codes."""
WHOLE = re.compile(r"([-+]?\d+)\.0+$")
QUANTITY = re.compile(
    r"(?:[<>≤≥~]=?\s*)?([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d{1,3})?)"
    r"(\s*%|\s+[^\W\d_/]{1,6}(?:/[^\W\d_]{1,6})?|\+)?$"
)


def category(value: Hashable) -> Hashable:
    """What is the same for all spellings of a category."""
    if not isinstance(value, str):
        return value
    text = value if value.isascii() else unicodedata.normalize("NFC", value)
    text = " ".join(text.split()).casefold()
    whole = WHOLE.match(text)
    return whole[1] if whole else text


def quantity(value: Any) -> float:
    """The number of a text: one alone, at a limit ("<0.5", "90+"), or with its unit; NaN of anything else."""
    found = QUANTITY.match(value.strip()) if isinstance(value, str) else None
    return float(found[1]) if found else float("nan")


def unit(text: str) -> str:
    """What follows the number, "" where nothing does."""
    found = QUANTITY.match(text.strip())
    return (found[2] or "").strip() if found else ""


def are_quantities(cells: Counter[str]) -> bool:
    """Are nearly all of these cells numbers, many different ones, of one unit?"""
    return mostly(cells, lambda text: not math.isnan(quantity(text))) and len({*map(unit, cells)} - {"", "+"}) < 2


def mostly(cells: Counter[Any], fits: Callable[[Any], bool]) -> bool:
    """Do all but a few of these cells fit, and in many values?"""
    some = list(cells)[:: 1 + len(cells) // SAMPLE]  # most columns of words are told by a thousand
    if sum(map(fits, some)) < len(some) / 2:
        return False
    fitting = {value: n for value, n in cells.items() if fits(value)}
    return len(fitting) >= ENOUGH and sum(fitting.values()) >= (1 - ODD) * cells.total()


def text(value: Any) -> str:
    """One spelling for equal values: 1.0 of a mixed column is 1."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def person(value: Any) -> str:
    """One spelling of a person's id, however a file came to write it: without blanks around it; 12.0 and 0012 as 12."""
    told = text(value).strip()
    return told.removesuffix(".0").lstrip("0") or "0" if re.fullmatch(r"\d+(?:\.0)?", told) else told

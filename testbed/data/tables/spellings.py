"""Spellings: equal values that two files write differently, and odd cells in a column.

A category is the same in another case, with other blanks, in composed or decomposed Unicode, and as a whole number with
or without decimals. A column of numbers or dates may hold words in a few cells; these cells are missing.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Any

ODD = 0.1
"""Words among numbers or dates are read as missing if they are at most this share of the cells."""
ENOUGH, SAMPLE = 20, 1000
"""The smallest number of distinct numbers or dates in a quantity, since fewer may be codes; and the number of values
that are tried first: unless half of them fit, no more are tried."""
WHOLE = re.compile(r"([-+]?\d+)\.0+$")
QUANTITY = re.compile(
    r"(?:[<>≤≥~]=?\s*)?([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d{1,3})?)"
    r"(\s*%|\s+[^\W\d_/]{1,6}(?:/[^\W\d_]{1,6})?|\+)?$"
)


def category(value: Hashable) -> Hashable:
    """A key that is equal for all spellings of a category; other values than text are returned as they are."""
    if not isinstance(value, str):
        return value
    text = value if value.isascii() else unicodedata.normalize("NFC", value)
    text = " ".join(text.split()).casefold()
    whole = WHOLE.match(text)
    return whole[1] if whole else text


def quantity(value: Any) -> float:
    """The number in a text: alone, at a limit ("<0.5", "90+") or with a unit; NaN for anything else."""
    match = QUANTITY.match(value.strip()) if isinstance(value, str) else None
    return float(match[1]) if match else float("nan")


def unit(text: str) -> str:
    """The unit that follows a number in a text, such as %, mg/l or +; empty if there is none."""
    match = QUANTITY.match(text.strip())
    return (match[2] or "").strip() if match else ""


def are_quantities(cells: Counter[str]) -> bool:
    """Whether nearly all of these cells are numbers, with many distinct values and at most one unit."""
    return mostly(cells, lambda text: not math.isnan(quantity(text))) and len({*map(unit, cells)} - {"", "+"}) < 2


def mostly(cells: Counter[Any], fits: Callable[[Any], bool]) -> bool:
    """Whether all but a few of these cells fit, with many distinct fitting values."""
    some = list(cells)[:: 1 + len(cells) // SAMPLE]  # a thousand values are enough to exclude most columns of words
    if sum(map(fits, some)) < len(some) / 2:
        return False
    fitting = {value: n for value, n in cells.items() if fits(value)}
    return len(fitting) >= ENOUGH and sum(fitting.values()) >= (1 - ODD) * cells.total()


def text(value: Any) -> str:
    """A value as text, the same for equal values: 1.0 becomes 1."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def person(value: Any) -> str:
    """A person's id as text, the same for all its spellings: without blanks around it, and 12.0 and 0012 as 12."""
    name = text(value).strip()
    return name.removesuffix(".0").lstrip("0") or "0" if re.fullmatch(r"\d+(?:\.0)?", name) else name

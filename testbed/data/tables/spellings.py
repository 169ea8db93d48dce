"""Spellings of categories and of persons: equal values that two files write differently.

A category is the same in another case, with other blanks, in composed or decomposed Unicode, and as a whole number with
or without decimals.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Hashable
from typing import Any

ODD = 0.1
"""Words among numbers or dates are read as missing if they are at most this share of the cells."""
ENOUGH = 20
"""The smallest number of distinct numbers or dates in a quantity, since fewer may be codes."""
WHOLE = re.compile(r"([-+]?\d+)\.0+$")
SUPPRESSED = re.compile(r"\*+$")
"""What anonymisation tools write in place of a suppressed cell."""


def category(value: Hashable) -> Hashable:
    """A key that is equal for all spellings of a category; other values than text are returned as they are."""
    if not isinstance(value, str):
        return value
    text = value if value.isascii() else unicodedata.normalize("NFC", value)
    text = " ".join(text.split()).casefold()
    whole = WHOLE.match(text)
    return whole[1] if whole else text


def text(value: Any) -> str:
    """A value as text, the same for equal values: 1.0 becomes 1."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def person(value: Any) -> str:
    """A person's id as text, the same for all its spellings: without blanks around it, and 12.0 and 0012 as 12."""
    name = text(value).strip()
    return name.removesuffix(".0").lstrip("0") or "0" if re.fullmatch(r"\d+(?:\.0)?", name) else name

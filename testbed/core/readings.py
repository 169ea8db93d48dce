# pyright: strict
"""How a value of a record may be written elsewhere: the gate and the scan of files look for the same spellings."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

DATE = re.compile(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})(?!\d)")
DAY_FIRST = re.compile(r"(\d{1,2})[./](\d{1,2})[./](\d{4})(?!\d)")


def spellings(value: Any) -> list[str]:
    """The texts by which a cell is looked for: its own, and for a date its common spellings."""
    text = value.isoformat() if hasattr(value, "isoformat") else str(value)
    if found := DATE.match(text):
        return [text, *days(int(found[1]), int(found[2]), int(found[3]))]
    if found := DAY_FIRST.match(text):
        one, other, year = int(found[1]), int(found[2]), int(found[3])
        return [text, *days(year, other, one), *days(year, one, other)]
    return [text]


@cache
def days(year: int, month: int, day: int) -> tuple[str, ...]:
    """The common spellings of a date: year-month-day, day.month.year, day/month/year and month/day/year."""
    spellings = [f"{year}-{month:02}-{day:02}", f"{year}/{month:02}/{day:02}"]
    for d, m in ((f"{day:02}", f"{month:02}"), (str(day), str(month))):
        spellings += [f"{d}.{m}.{year}", f"{d}/{m}/{year}", f"{m}/{d}/{year}"]
    return tuple(dict.fromkeys(spellings))

"""Durations in several units (3 d 4 h, 2:35 h, P3DT4H, 1 year 2 months) and ages as DICOM writes them (045Y)."""

from __future__ import annotations

import re

from testbed.data.tables import units
from testbed.data.tables.numerals import SIGNS, decimal_sign, value

ISO = re.compile(
    r"([-+]?)P(?=.)(?:([\d.,]+)Y)?(?:([\d.,]+)M)?(?:([\d.,]+)W)?(?:([\d.,]+)D)?"
    r"(?:T(?:([\d.,]+)H)?(?:([\d.,]+)M)?(?:([\d.,]+)S)?)?$"
)
CLOCK = re.compile(
    r"([-+])?(?:(\d+)\s*(?:[^\W\d_]{1,6})?[.,]?\s+)?(\d{1,3}):([0-5]\d)(?::([0-5]\d(?:[.,]\d+)?))?"
    r"\s*(?:h|hrs?|hours?|std\.?|stunden|tim|timmar|hh:mm)?$",
    re.IGNORECASE,
)
MINUTES = re.compile(r"(\d{1,3}):([0-5]\d(?:[.,]\d+)?)\s*(?:min|m|mm:ss)?$")
"""Minutes and seconds, with decimals or the unit to tell them from hours."""
FRENCH = re.compile(r"(\d{1,3})\s?h\s?([0-5]\d)$", re.IGNORECASE)
"""Hours and minutes as 2h35."""
DICOM = re.compile(r"(\d{3})([DWMY])$")
DICOM_UNITS = {"D": "d", "W": "wk", "M": "mo", "Y": "a"}
PIECE = re.compile(r"\s*(?:(?:and|und|et|y|e|och|og|en|i|,|;)\s+)?(\d+(?:[.,]\d+)?)\s*([^\W\d_]+(?:\(s\))?)\.?,?")
SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "wk": 604800.0, "mo": 2629800.0, "a": 31557600.0}
INSIDE = {"m": "min", "mn": "min", "j": "d", "t": "d", "mon": "mo"}
"""Letters whose meaning is clear only beside other units, as in 3d 4h 5m."""


def duration(text: str) -> tuple[float, str] | None:
    """A duration and its unit: h for clocks, d for all else, or what an age of one unit says; None for other text.

    Numbers with one unit alone, such as 5 days, are read as quantities.
    """
    text = text.translate(SIGNS).strip()
    if match := DICOM.match(text):
        return float(match[1]), DICOM_UNITS[match[2]]
    if match := ISO.match(text.upper()):
        amounts = [value(a, ".") if a else 0.0 for a in match.groups()[1:]]
        seconds = sum(a * SECONDS[u] for a, u in zip(amounts, ("a", "mo", "wk", "d", "h", "min", "s"), strict=True))
        return (-1 if match[1] == "-" else 1) * seconds / SECONDS["d"], "d"
    if match := CLOCK.match(text):
        hours = 24.0 * int(match[2] or 0) + int(match[3]) + int(match[4]) / 60
        hours += float((match[5] or "0").replace(",", ".")) / 3600
        return (-1 if match[1] == "-" else 1) * hours, "h"
    if match := MINUTES.match(text):
        return int(match[1]) + float(match[2].replace(",", ".")) / 60, "min"
    if match := FRENCH.match(text):
        return int(match[1]) + int(match[2]) / 60, "h"
    return _worded(text)


def _worded(text: str) -> tuple[float, str] | None:
    place, seconds, seen = 0, 0.0, list[str]()
    while place < len(text):
        match = PIECE.match(text, place)
        if not match or not decimal_sign(match[1]):
            return None
        word = match[2].casefold()
        unit = units.times().get(word) or INSIDE.get(word)
        if unit is None or unit in seen:
            return None
        seen.append(unit)
        seconds += value(match[1], ".") * SECONDS[unit]
        place = match.end()
    return (seconds / SECONDS["d"], "d") if len(seen) > 1 else None

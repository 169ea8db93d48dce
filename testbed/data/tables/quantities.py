"""What a cell of numbers says: one number with its limit, unit and flag, a range, or several numbers.

Nothing is decided here about a column: `parse` reads one cell, and `columns` asks all cells together.
"""

from __future__ import annotations

import functools
import re
from typing import Literal, NamedTuple

from testbed.data.tables import units
from testbed.data.tables.numerals import NUMERAL, SIGNS, decimal_sign

LIMIT = (
    r"(?:(?:<=?|>=?|=<|=>|≤|≥|~|≈|±|=)|(?:(?:ca|circa|approx|c|about|approximately|etwa|ungefähr|env|environ|cirka"
    r"|less than|more than|under|over|below|above|up to|bis zu|bis|unter|über|mindestens|from|ab|från|upp till"
    r"|at least|at most|max|min)\b\.?))"
)
BELOW = re.compile(r"<|=<|≤|less|under|below|up to|bis|unter|at most|max|upp till", re.IGNORECASE)
ABOVE = re.compile(r">|≥|more|over|above|über|mindestens|from|at least|min|från|ab ", re.IGNORECASE)
LESS = re.compile(r"less|under|below|younger|jünger|weniger|moins|yngre", re.IGNORECASE)
BEFORE = (
    r"(?:US\$|R\$|[€$£¥₺₴₹]|kr\.?(?=\d)"
    r"|(?:EUR|USD|GBP|CHF|SEK|DKK|NOK|PLN|CZK|HUF|RON|JPY|CAD|AUD|SFr|Fr|kr|zł|Kč|Rs)\b\.?)"
)
"""Currencies that stand before their number."""
ONE = re.compile(
    rf"(?P<limit>{LIMIT})?\s*(?P<sign>[-+])?\s*(?P<before>{BEFORE})?\s*(?P<inner>[-+])?(?P<numeral>{NUMERAL})"
    r"\s*(?P<rest>\D.*|)$",
    re.IGNORECASE,
)
FLAG = re.compile(
    r"^(?:\((?:[HLAN]{1,2}|(?i:high|low)|[+*!-]{1,3})\)|\[(?:[HLAN]{1,2})\]|\*{1,3}|\+{1,3}|!{1,2}|[↑↓]{1,2}|[†‡#§])$"
    r"|^(?:HH?|LL?|AA?|N|(?i:high|low|abnormal|abn|krit|crit))$"
)
"""What laboratories write behind a number: high, low, abnormal."""
UNIT = re.compile(
    r"(?:(?:log10|lg)\s|[x×*·]?\s?10\s?(?:(?:\*\*?|\^|[eE])\s?-?\d{1,2}|[⁰¹²³⁴-⁹⁻]+|(?:3|6|9|12)(?=/))(?=[\s/]|$)|(?=/?[^\W\d_]|[%‰°\"'\[{(]|/\[))"
    r"(?:[^\W\d_]|[²³⁻¹_%‰°\"\[\]{}'()]|(?<=[^\W\d_\]\"])\^?-?[1-4](?!\d)|/\{?1[.,]73[\s_]?m\^?[2²]\}?|/\d{1,4}(?=\s?[^\W\d_])"
    r"|[/.*^:·-](?=[^\W\d_]|[%\[{°(]|$)|\s(?=[^\W\d_]|[/(]))*\.?$"
)
OPEN_END = re.compile(
    r"(?:\b(?:and|or|und|u\.|oder|et|ou|och|eller|y|o|e|og|en|of)\s+)?"
    r"\b(?:over|above|older|more|less|under|below|younger|up|älter|mehr|jünger|weniger|plus|moins|äldre|yngre|más|más|ouder)$",
    re.IGNORECASE,
)
"""An end without limit, as in 90 and over."""
AHEAD = re.compile(r"^(?:[*!↑↓]+\s*|(?:HH?|LL?)\s+)(?=[-+<>]?\d)")
"""A flag in front of its number."""
REFERENCE = re.compile(r"\s*[(\[](?:ref|norm|range|nv|rr|cut)[^)\]]*[)\]]$", re.IGNORECASE)
"""A reference range behind a number."""
ACCOUNTED = re.compile(rf"\(\s*((?:{BEFORE})?\s*{NUMERAL})\s*\)$", re.IGNORECASE)
LONGEST, WORDS = 24, 3
"""The most letters and words of a unit."""
WORD_RANGE = re.compile(
    r"\s*(?:\.{2,3}|…|\b(?:to|bis|till|til|tot|until|through|thru|jusqu'à|à|a|do|až|and|und|et|och)\b)\s*(?=[-+]?[\d.,])",
    re.IGNORECASE,
)
DASH = re.compile(r"(?<=[\w%°)\].])\s*-\s*(?=\d)")
BRACKETS = re.compile(r"([\[\](])\s*([^\[\]()]*?)\s*([\[\])])$")
INFINITE = re.compile(r"[-+]?\s*(?:inf|infinity|∞|max|min|)$", re.IGNORECASE)
LIST = re.compile(r"\s*(?:[/:;|×±]|,(?=\s)|,\s|(?<=[\d\s])x(?=[\d\s])|\b(?:over|by|of|von|sur|av|out of)\b)\s*")
NAMED = re.compile(
    r"^(?:lat(?:itude)?|lon(?:gitude)?|lng|long|sys(?:t)?|dia(?:st)?|bp|rr|[xyzne])\s*[.:=]*\s*(?=[-+\d])", re.I
)
HEMISPHERE = re.compile(r"^(.*\d\s*°?)\s*([NSEWÖO])$|^([NSEW])\s*(\d.*)$", re.IGNORECASE)
POINT = re.compile(r"point\s*\(\s*([-+\d.]+)\s+([-+\d.]+)\s*\)$", re.IGNORECASE)
TWO_NUMBERS = re.compile(r"([-+]?\d+[.,]\d+)\s+([-+]?\d+[.,]\d+)$")
MOST_PARTS = 4
CODE = re.compile(r"0\d")
"""A numeral with zeros in front: a code in a range or a list, such as 040-123."""


class Part(NamedTuple):
    """One number: its numeral as written, whether it is negative, and its unit (see `units.plainly`)."""

    numeral: str
    negative: bool
    unit: str


class Parsed(NamedTuple):
    """A cell of numbers. A range has two parts; a number with an open end has `open`, such as < for <5 and > for 90+.

    `sure` says that a range can be nothing else, and `after` that its lower end is not in it, as in (35, 40].
    """

    shape: Literal["one", "range", "list"]
    parts: tuple[Part, ...]
    open: Literal["", "<", ">"] = ""
    sure: bool = True
    after: bool = False


def parse(text: str) -> Parsed | None:
    """What the cell says, or None for anything but numbers."""
    text = text.translate(SIGNS).strip().removeprefix("=").strip('" ').removeprefix("'")
    text = REFERENCE.sub("", AHEAD.sub("", text))
    if not text or not any(map(str.isdigit, text)):
        return None
    if (inner := ACCOUNTED.match(text)) and (one := _one(inner[1])):  # as accountants write negative numbers
        return Parsed("one", (one._replace(negative=True),))
    if one := _one(text):
        return Parsed("one", (one,), _open_end(text))
    return _interval(text) or _range(text) or _list(text)


def _open_end(text: str) -> Literal["", "<", ">"]:
    """On which side a number is only a limit."""
    start, end = BELOW.match(text) or ABOVE.match(text), OPEN_END.search(text)
    if start:
        return "<" if BELOW.match(text) else ">"
    if text.endswith("+"):
        return ">"
    return "" if not end else "<" if LESS.search(end[0]) else ">"


def _one(text: str) -> Part | None:
    match = ONE.match(text)
    if not match or not decimal_sign(match["numeral"]):
        return None
    rest, negative = match["rest"].strip(), "-" in (match["sign"] or "", match["inner"] or "")
    if rest in (",-", ".-", ":-"):  # no cents
        rest = ""
    if rest == "-":
        rest, negative = "", True
    unit = unit_of(rest)
    if unit is None:
        return None
    return Part(match["numeral"], negative, unit or units.plainly(match["before"] or ""))


@functools.lru_cache(4096)
def unit_of(rest: str) -> str | None:
    """The unit in what follows a number, without flags; empty if there is none, None if it is no unit.

    A single letter that could be a flag (H, L) is returned as it is, in upper case: the column decides.
    """
    rest = rest.strip()
    if not rest:
        return ""
    if OPEN_END.search(rest):
        return unit_of(OPEN_END.sub("", rest))
    if rest in ("H", "L", "A", "N"):
        return rest
    words = rest.split()
    if FLAG.match(words[-1]) and not (len(words) == 1 and words[0] in units.CURRENCIES):
        return unit_of(" ".join(words[:-1]))
    if len(words) > 1 and words[0] in ("H", "L", "HH", "LL", "*"):
        return unit_of(" ".join(words[1:]))
    if (marks := re.search(r"[*+!↑↓†‡#§]+$", rest)) and marks.start():
        return unit_of(rest[: marks.start()])
    if rest.casefold() in units.CURRENCIES:
        return units.plainly(rest)
    if len(rest) > LONGEST or len(words) > WORDS or not UNIT.match(rest):
        return None
    return units.plainly(rest)


def _interval(text: str) -> Parsed | None:
    """A range in brackets, such as [35, 40[ and (90, inf]."""
    brackets = BRACKETS.match(text)
    if not brackets:
        return None
    for separator in (r"\s*;\s*", r"\s*\.\.+\s*", r",\s+", r",", r"\s+-\s+", r"(?<=\d)-"):
        ends = re.split(separator, brackets[2])
        if len(ends) == 2:
            known = [None if INFINITE.match(e) else _one(e) for e in ends]
            if any(k is None and not INFINITE.match(e) for k, e in zip(known, ends, strict=True)):
                continue
            parts = tuple(k for k in known if k is not None)
            if len(parts) == 1:
                return Parsed("one", parts, "<" if known[0] is None else ">")
            sure = brackets[1] + brackets[3] not in ("()", "[]")
            return Parsed("range", parts, "", sure, brackets[1] in "(]") if parts else None
    return _list(brackets[2])


def _range(text: str) -> Parsed | None:
    for between, sure in ((WORD_RANGE, True), (DASH, False)):
        ends = between.split(re.sub(r"^(?:from|von|de|från|between|zwischen|entre)\s+", "", text, flags=re.I))
        parts = [p for p in map(_one, ends) if p is not None] if len(ends) == 2 else []
        if len(parts) == 2 and not any(CODE.match(p.numeral) for p in parts):
            unit = parts[1].unit or parts[0].unit
            return Parsed("range", tuple(p._replace(unit=p.unit or unit) for p in parts), "", sure)
    return None


def _list(text: str) -> Parsed | None:
    if point := POINT.match(text) or TWO_NUMBERS.match(text):
        text = f"{point[1]}; {point[2]}"
    for separator in (LIST, re.compile(",")):
        pieces = separator.split(text)
        if not 1 < len(pieces) <= MOST_PARTS:
            continue
        parts = [p for p in map(_place, pieces) if p is not None]
        if len(parts) == len(pieces) and not any(CODE.match(p.numeral) for p in parts):
            return Parsed("list", tuple(parts))
    return None


def _place(piece: str) -> Part | None:
    """A number in a list; south and west are negative."""
    piece = NAMED.sub("", piece.strip())
    if side := HEMISPHERE.match(piece):
        part = _one((side[1] or side[4]).replace("°", ""))
        return part and part._replace(negative=(side[2] or side[3]).upper() in "SW")
    return _one(piece)

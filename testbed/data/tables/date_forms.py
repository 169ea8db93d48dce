"""The forms in which dates are written: what one text says, before a column decides about orders and languages."""

from __future__ import annotations

import re
from dataclasses import dataclass

from testbed.data.tables import months
from testbed.data.tables.numerals import SIGNS

ISO_DATE = re.compile(
    r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?: ?(?:Z|[+-]\d{2}(?::?\d{2})?))?)?$"
)
TIME = re.compile(
    r"(?:^|[\sT,:]+|\s(?:um|kl\.?|à|at|om|o|ore)\s+)(\d{1,2})(?:[:h]|(?<=kl\. \d\d)\.|\.(?=\d\d\.\d\d))(\d{2})"
    r"(?:[:.](\d{2})(?:[.,](\d+))?)?\s*(?:([ap])\.?m\.?\b|uhr\b)?"
    r"\s*(Z|UTC|CES?T|MES?Z|E[SD]T|(?:GMT|UTC)?(?:[+-]\d{2}(?::?\d{2})?)?)$",
    re.IGNORECASE,
)
INSIDE = re.compile(r"^(.*?)\s+(\d{1,2}:\d{2}(?::\d{2})?)(?:\s+[A-Z]{3,4})?\s+(\d{4})$")
"""A time before the year, as in Sat Jan 09 10:11:12 1999."""
COLONS = re.compile(r"^(\d{4}):(\d{2}):(\d{2})(?=\s|$)")
"""A date as cameras write it."""
WEEKDAY = re.compile(r"([^\W\d_]{2,})[.,]{0,2}\s+(?=\d)")
DOUBT = re.compile(r"^(?:(?:ca|c|circa|um|about|approx)\b\.?|[~\[(?])\s*|\s*[\])?]+$", re.IGNORECASE)
"""Signs of a date that somebody doubts: ~1965-01, [1965], 1965-01-07?"""
UNKNOWN_DAY = re.compile(r"(?:XX|\?\?|UNK?|00|--|__)[./-](?=.*\d)", re.IGNORECASE)
ZONE = re.compile(r"(?<=-\d\d)(?:Z|[+-]\d{2}:\d{2})$")
"""The zone of a date without time, as XML Schema writes it. It moves no day."""
YEAR_FIRST = re.compile(r"(\d{4})-(\d{1,2}|\?\?|[xX]{2}|UN|UNK|--)(?:-(\d{1,2}|\?\?|[xX]{2}|UN|UNK|--))?$")
THREE = re.compile(r"(\d{1,4})\s?([./-]|\s)\s?(\d{1,2})\s?\2\s?(\d{1,4})\.?$")
MONTH_YEAR = re.compile(r"(\d{1,2})\s?[./-]\s?(\d{4})$")
YEAR_MONTH = re.compile(r"(\d{4})[./](\d{1,2})$")
QUARTER = re.compile(
    r"(?:(\d{4})[\s-]?[QTK]([1-4])|(?:[QTK]|(?=[1-4]\.?\s?[^\W\d]{2}))([1-4])\.?\s?"
    r"(?:quartal|quarter|trimest(?:re|er)|kvartal\w*|kwarta[lł]|kwartaal)?[\s/-]*(\d{4}))$",
    re.IGNORECASE,
)
WEEK = re.compile(r"(\d{4})[\s-]*W\s?(\d{2})(?:-?([1-7]))?$")
WEEK_FIRST = re.compile(
    r"(?:KW|W|week|woche|semaine|sem|uge|vecka|v|uke)\.?\s?(\d{1,2})\s?[/\s.-]\s?(\d{4})$", re.IGNORECASE
)
ORDINAL = re.compile(r"(\d{4})-(\d{3})$")
COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})(?:T?(\d{2})(\d{2})?(\d{2})?(?:\.\d+)?(Z|[+-]\d{4})?)?$")
YEAR = re.compile(r"\d{4}$")
TOKEN = re.compile(r"\d+|[^\W\d_]+")
FILLERS = frozenset(
    ["de", "del", "den", "der", "le", "the", "of", "st", "nd", "rd", "th", "er", "d", "r", "lo", "el", "г"]
)
EARLIEST, LATEST = 1800, 2199
"""The years that a text without a whole ISO date may name."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a text says. `places` are three numerals whose order is open; `month` may be a word.

    `weak` says that the text may as well be a number: a year alone, or digits alone.
    """

    year: int | None = None
    month: int | str | None = None
    day: int | None = None
    time: float = 0.0
    places: tuple[str, str, str] | None = None
    week: int | None = None
    weekday: int | None = None
    quarter: int | None = None
    ordinal: int | None = None
    short_year: bool = False
    weak: bool = False


def shape(text: str) -> Written | None:
    """What a text says if it has the form of a date, or None."""
    if not text or len(text) > 60 or not any(map(str.isdigit, text)):
        return None
    text = text.translate(SIGNS).strip()
    if compact := _compact(text):
        return compact
    text = COLONS.sub(r"\1-\2-\3", text)
    if inside := INSIDE.match(text):
        text = f"{inside[1]} {inside[3]} {inside[2]}"
    time, text = _time(text)
    if (day := WEEKDAY.match(text)) and months.plainly(day[1]) in months.days_of_the_week():
        month = months.plainly(day[1]) in months.every_word()  # mar is Tuesday and March
        text = text if month and "." not in text[day.end() :] else text[day.end() :]
    text = ZONE.sub("", text)
    return _date(text, time) or _doubted(text)


def _doubted(text: str) -> Written | None:
    """A date with signs of doubt, or without its day (XX/01/1965) or month (--/--/1965)."""
    plain = DOUBT.sub("", text)
    if plain != text and not YEAR.match(plain):
        return _date(plain, 0.0)
    known = UNKNOWN_DAY.sub("", text, count=2)
    if known == text:
        return None
    return Written(int(known)) if YEAR.match(known) else _date(known, 0.0)


def _time(text: str) -> tuple[float, str]:
    """The time of day as a fraction of a day, in UTC where a zone is given, and what stands before it."""
    match = TIME.search(text)
    if not match or not match.start():
        return 0.0, text
    hour, minute, second = int(match[1]), int(match[2]), int(match[3] or 0)
    if half := (match[5] or "").casefold():
        hour = hour % 12 + (12 if half == "p" else 0)
    if hour > 24 or minute > 59 or second > 60:
        return 0.0, text
    seconds = 3600 * hour + 60 * minute + second + float(f"0.{(match[4] or '0')[:6]}")
    return (seconds - _offset(match[6] or "")) / 86400, text[: match.start()].rstrip(" ,")


def _offset(zone: str) -> int:
    """The seconds of a zone such as +01:00; 0 for names, since a column keeps to one."""
    digits = re.fullmatch(r"([+-])(\d{2}):?(\d{2})?", zone)
    if not digits:
        return 0
    return (1 if digits[1] == "+" else -1) * (3600 * int(digits[2]) + 60 * int(digits[3] or 0))


def _compact(text: str) -> Written | None:
    """Digits alone, as HL7 and DICOM write dates: YYYYMMDD, with or without a time."""
    match = COMPACT.match(text)
    if not match or not EARLIEST <= int(match[1]) <= LATEST or not 1 <= int(match[2]) <= 12:
        return None
    hour, minute, second = (int(match[i] or 0) for i in (4, 5, 6))
    if not 1 <= int(match[3]) <= 31 or hour > 23 or minute > 59 or second > 59:
        return None
    time = (3600 * hour + 60 * minute + second - _offset(match[7] or "")) / 86400
    return Written(int(match[1]), int(match[2]), int(match[3]), time, weak="T" not in text)


def _date(text: str, time: float) -> Written | None:
    if match := YEAR_FIRST.match(text):
        month, day = (_number(p) for p in match.groups()[1:])
        if day is None and not EARLIEST <= int(match[1]) <= LATEST:
            return None
        if (month or 1) > 12 or int(match[1]) == 0:
            return None
        return Written(int(match[1]), month, day if month else None, time if day else 0.0)
    if (match := THREE.match(text)) and match[1] != "00":
        lengths = len(match[1]), len(match[4])
        if lengths in ((4, 1), (4, 2), (1, 4), (2, 4), (2, 2), (1, 2)) and not (
            match[2].isspace() and 4 not in lengths
        ):
            return Written(time=time, places=(match[1], match[3], match[4]))
        return None
    for form, year, month in ((MONTH_YEAR, 2, 1), (YEAR_MONTH, 1, 2)):
        if (match := form.match(text)) and 1 <= int(match[month]) <= 12 and EARLIEST <= int(match[year]) <= LATEST:
            return Written(int(match[year]), int(match[month]))
    if (match := QUARTER.match(text)) and EARLIEST <= int(match[1] or match[4]) <= LATEST:
        return Written(int(match[1] or match[4]), quarter=int(match[2] or match[3]))
    if (match := WEEK.match(text)) and EARLIEST <= int(match[1]) <= LATEST:
        return Written(int(match[1]), week=int(match[2]), weekday=int(match[3]) if match[3] else None)
    if (match := WEEK_FIRST.match(text)) and EARLIEST <= int(match[2]) <= LATEST:
        return Written(int(match[2]), week=int(match[1]))
    if (match := ORDINAL.match(text)) and EARLIEST <= int(match[1]) <= LATEST and 0 < int(match[2]) <= 366:
        return Written(int(match[1]), ordinal=int(match[2]))
    if YEAR.match(text) and EARLIEST <= int(text) <= LATEST:
        return Written(int(text), weak=True)
    return _worded(text, time)


def _number(part: str | None) -> int | None:
    """A part of a date; None where it is unknown (00, ??, XX)."""
    return int(part) or None if part and part.isdigit() else None


def _worded(text: str, time: float) -> Written | None:
    """A date with the name of its month."""
    if re.search(r"[^\w\s.,/'\-]", text):
        return None
    words, numbers = list[str](), list[str]()
    for token in TOKEN.findall(text):
        (numbers if token.isdigit() else words).append(token)
    plain = [months.plainly(w) for w in words]
    named = [w for w, own in zip(words, plain, strict=True) if own in months.every_word() and own not in FILLERS]
    if len(named) > 1:  # Saturday or March: the word that is no day of the week
        named = [w for w in named if months.plainly(w) not in months.days_of_the_week()] or named[1:]
    rest = [own for w, own in zip(words, plain, strict=True) if w not in named]
    if len(named) != 1 or any(w not in FILLERS and w not in months.days_of_the_week() for w in rest):
        return None
    if not 1 <= len(numbers) <= 2 or any(len(n) not in (1, 2, 4) for n in numbers):
        return None
    if len(numbers) == 1:
        year = numbers[0]
        if len(year) == 1 or (text.startswith(year) and len(year) == 2):  # a day without a year
            return None
        return Written(int(year), named[0], None, short_year=len(year) == 2)
    year, day = (numbers[0], numbers[1]) if len(numbers[0]) == 4 else (numbers[1], numbers[0])
    if len(year) == 1 or len(day) == 4:
        return None
    return Written(int(year), named[0], int(day), time, short_year=len(year) == 2)

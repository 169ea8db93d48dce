"""Dates as days since 1970, from cells of dates and from text in any of the usual forms.

A partial date (2019-03, 2019, 2019Q2) is an interval; its value is the interval's middle day. `written.shape` reads one
text, and the texts of a column decide together about the order of day and month and about the language.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from testbed.core import Array
from testbed.data.tables import months
from testbed.data.tables.date_forms import ISO_DATE, Written, shape

ORDERS = ("dmy", "mdy", "ymd")
LAST_SHORT_YEAR = 2029
"""The latest year that two digits can mean: 29 is 2029, 30 is 1930."""
CLOCK = re.compile(
    r"(?:T|(?:kl|um|at)\.?\s+)?([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d(?:\.\d+)?))?\s*(?:([ap])\.?m\.?|h|uhr)?$",
    re.IGNORECASE,
)
SPOKEN = re.compile(r"^kl\.?\s*(\d{1,2})[.:](\d{2})$", re.IGNORECASE)
NOON = 12
NEVER = 9999
"""The year that databases write for 'no end'."""
MICROSECONDS = 86_400_000_000
"""Microseconds of a day."""
EPOCH = datetime.date(1970, 1, 1).toordinal()
UNITS = {"year": "Y", "month": "M"}


class Moment(NamedTuple):
    """A date: days since 1970 (UTC), of a partial date the middle; and how exact it is (day, week, month, ...)."""

    day: float
    exact: str


def moments(texts: Iterable[str]) -> dict[str, Moment]:
    """The dates among the texts of a column, in the order of day and month that fits the most of them.

    Day first is tried before month first, and one language for all names of months before several.
    """
    written = {text: form for text in texts if (form := shape(text)) is not None}
    words = months.numbers({w.month for w in written.values() if isinstance(w.month, str)}) or {}
    unclear = [w for w in written.values() if w.places]

    def readable(order: str) -> int:
        return sum(_moment(form, order, words) is not None for form in unclear)

    order = max(ORDERS, key=readable) if unclear else ORDERS[0]  # the first of several equally good orders
    found = {text: _moment(form, order, words) for text, form in written.items()}
    return {text: moment for text, moment in found.items() if moment is not None}


def _moment(form: Written, order: str, words: dict[str, int]) -> Moment | None:
    year, month, day = form.year, form.month, form.day
    if form.places:
        parts = dict(zip(order, form.places, strict=True))
        if not _long_enough(parts):
            return None
        year, month, day = (int(parts[p]) for p in "ymd")
        year += 0 if len(parts["y"]) > 2 else 1900 if year > LAST_SHORT_YEAR - 2000 else 2000
    if isinstance(month, str):
        if month not in words:
            return None
        month = words[month]
    if form.short_year and year is not None:
        year += 1900 if year > LAST_SHORT_YEAR - 2000 else 2000
    try:
        return _of(year or 0, month, day, form)
    except (ValueError, OverflowError):
        return None


def _long_enough(parts: dict[str, str]) -> bool:
    """Whether the year has two or four digits, and day and month have at most two."""
    return len(parts["y"]) in (2, 4) and len(parts["m"]) <= 2 and len(parts["d"]) <= 2


def _of(year: int, month: int | None, day: int | None, form: Written) -> Moment:
    if form.week is not None:
        first = datetime.date.fromisocalendar(year, form.week, form.weekday or 1).toordinal() - EPOCH
        return Moment(first + (0 if form.weekday else 3), "day" if form.weekday else "week")
    if form.quarter is not None:
        return Moment(_middle(year, 3 * form.quarter - 2, 3), "quarter")
    if form.ordinal is not None:
        start = datetime.date(year, 1, 1).toordinal() - EPOCH
        if not 0 < form.ordinal <= 366:
            raise ValueError("no such day")
        return Moment(start + form.ordinal - 1, "day")
    if month is None:
        return Moment(_middle(year, 1, 12), "year")
    if day is None:
        return Moment(_middle(year, month, 1), "month")
    whole = datetime.date(year, month, day).toordinal() - EPOCH
    return Moment(whole + form.time, "day")


def _middle(year: int, month: int, n: int) -> float:
    """The middle day of n months."""
    first = datetime.date(year, month, 1).toordinal()
    last = datetime.date(year + (month + n > 12), (month + n - 1) % 12 + 1, 1).toordinal() - 1
    return (first + last) / 2 - EPOCH


def coarsened(days: Array, exact: str) -> Array:
    """Days as the middle of their month, quarter or year, as `moments` gives it for partial dates."""
    known = ~np.isnan(days)
    whole = np.floor(np.where(known, days, 0)).astype("datetime64[D]")
    if exact == "week":
        monday = (whole.astype(np.int64) + 3) // 7 * 7 - 3
        return np.where(known, monday + 3.0, np.nan)
    width = 3 if exact == "quarter" else 1
    unit = UNITS.get(exact, "M")
    start = whole.astype(f"datetime64[{unit}]")
    if exact == "quarter":
        start = (start.astype(np.int64) // 3 * 3).astype("datetime64[M]")
    last = (start + width).astype("datetime64[D]").astype(np.int64) - 1
    return np.where(known, (start.astype("datetime64[D]").astype(np.int64) + last) / 2, np.nan)


def days(values: Any, among: Iterable[str] | None = None) -> Array:
    """Days since 1970 (UTC) as float64 of a pandas column; a time of day is the fraction, and a missing date is NaN.

    `among` are the texts of all tables, which decide together. Dates of the year 9999, which mean 'no end', are NaN,
    unless all dates are. Raises `ValueError` if a value is not a date.
    """
    if pd.api.types.is_numeric_dtype(values):
        raise ValueError("a number is not a date")
    if pd.api.types.is_datetime64_any_dtype(values):
        zoned = getattr(values.dt, "tz", None) is not None
        known = np.asarray(values.dt.tz_convert("UTC").dt.tz_localize(None) if zoned else values, "datetime64[us]")
        return without_end(np.where(np.isnat(known), np.nan, known.astype(np.int64) / MICROSECONDS))
    texts = values.map(lambda v: v.isoformat() if hasattr(v, "isoformat") else v, na_action="ignore")
    different: list[Any] = texts.dropna().unique().tolist()
    exact = iso_days(different)
    if exact is None:
        place = moments(among if among is not None else different)
        if any(t not in place for t in different):
            raise ValueError("not a date")
        exact = np.array([place[t].day for t in different])
    found = np.asarray(texts.map(dict(zip(different, exact, strict=True))), dtype=np.float64)
    return without_end(found)


def iso_days(texts: list[Any]) -> Array | None:
    """Days of texts that are all whole dates by ISO 8601; None if some are not, or lie beyond what pandas reads."""
    if not texts or not all(isinstance(t, str) and ISO_DATE.match(t) for t in (texts[0], texts[-1])):
        return None
    if not all(ISO_DATE.match(t) for t in texts):
        return None
    try:
        read = pd.to_datetime(pd.Series(texts), format="ISO8601", utc=True)
    except (ValueError, TypeError, OverflowError):  # a year that nanoseconds do not reach
        return None
    return np.asarray((read - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(days=1), dtype=np.float64)


def without_end(found: Array) -> Array:
    """Days with NaN instead of dates in the year 9999 or later, unless all dates are."""
    never = found >= datetime.date(NEVER, 1, 1).toordinal() - EPOCH
    return found if never[~np.isnan(found)].all() else np.where(never, np.nan, found)


def day(text: Any) -> float:
    """Days since 1970 (UTC) of a whole date as text by ISO 8601. Raises `ValueError` for anything else."""
    form = shape(text) if isinstance(text, str) and ISO_DATE.match(text) else None
    moment = _moment(form, ORDERS[0], {}) if form else None
    if moment is None:
        raise ValueError("not a date")
    return moment.day


def hours(values: Any) -> Any:
    """A column of times of day, as text or as `datetime.time`, in hours; any other column unchanged."""
    times = [t for t in pd.unique(values.dropna()) if isinstance(t, (str, datetime.time))]
    if not times or clock(times[0] if isinstance(times[0], str) else times[0].isoformat()) is None:
        return values
    place = {t: h for t in times if (h := clock(t if isinstance(t, str) else t.isoformat())) is not None}
    return values.map(place) if len(place) == len(times) else values


def clock(text: str) -> float | None:
    """The hours of a time of day (18:30, 6:30 PM, 06:30:00), or None for other text."""
    match = CLOCK.match(SPOKEN.sub(r"\1:\2", text.strip()))
    if not match:
        return None
    hour = int(match[1])
    if half := (match[4] or "").casefold():
        hour = hour % NOON + (NOON if half == "p" else 0)
    return hour + int(match[2]) / 60 + float(match[3] or 0) / 3600

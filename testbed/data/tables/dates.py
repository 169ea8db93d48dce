"""Dates as days since 1970, from text in any of the usual forms."""

from __future__ import annotations

import datetime
import re
from typing import Any

import numpy as np
import pandas as pd

from testbed.core import Array

ISO_DATE = re.compile(
    r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?: ?(?:Z|[+-]\d{2}(?::?\d{2})?))?)?$"
)
OTHER_DATE = re.compile(
    r"(\d{1,2}[./-]\d{1,2}[./-](?:\d{4}|\d{2})|\d{4}[./]\d{1,2}[./]\d{1,2}"
    r"|\d{1,2}[ .-]{0,2}[A-Za-z]{3,9}[ .,-]{0,2}\d{4}|[A-Za-z]{3,9}\.? \d{1,2},? \d{4})"
    r"(?:[ :T](\d{1,2}:\d{2}(?::\d{2})?))?$"
)
ORDERS = ("%d %m %Y", "%m %d %Y", "%Y %m %d", "%d %b %Y", "%d %B %Y", "%b %d %Y", "%B %d %Y", "%d %m %y", "%m %d %y")
LAST_SHORT_YEAR = 2029
"""The latest year that two digits can mean: 29 is 2029, 30 is 1930."""
CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d(?:\.\d+)?))?$")
NEVER = 9999
"""The year that databases write for 'no end'."""
MICROSECONDS = 86_400_000_000
"""Microseconds of a day."""
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def looks_dated(known: Any) -> bool:
    """Whether all of these texts (a pandas column) are dates: all by ISO 8601, or all in one order of day and month."""
    if not len(known):
        return False
    if known.map(lambda v: bool(ISO_DATE.match(v))).all():
        return True
    return bool(known.map(lambda v: bool(OTHER_DATE.match(v))).all()) and _order(known) is not None


def is_dated(value: Any) -> bool:
    """Whether a cell is text in the form of a date."""
    return isinstance(value, str) and bool(ISO_DATE.match(value) or OTHER_DATE.match(value))


def days(values: Any, among: Any = None) -> Array:
    """Days since 1970 (UTC) as float64; a time of day is the fraction, and a missing date is NaN.

    The order of day and month is the first that all of the values `among` (those of all tables) allow; day first is
    tried before month first. Dates of the year 9999, which mean 'no end', are NaN, unless all dates are. Raises
    `ValueError` if a value is not a date.
    """
    if pd.api.types.is_numeric_dtype(values):
        raise ValueError("a number is not a date")
    if pd.api.types.is_datetime64_any_dtype(values):
        zoned = getattr(values.dt, "tz", None) is not None
        moments = np.asarray(values.dt.tz_convert("UTC").dt.tz_localize(None) if zoned else values, "datetime64[us]")
        return _without_end(np.where(np.isnat(moments), np.nan, moments.astype(np.int64) / MICROSECONDS))
    texts = values.map(lambda v: v.isoformat() if hasattr(v, "isoformat") else v, na_action="ignore")
    try:
        moments = pd.to_datetime(texts, format="ISO8601", utc=True)
    except (ValueError, TypeError, OverflowError):  # another form, or a year that nanoseconds do not reach
        order = None if among is None else _order(among)
        place = {text: day(text, order) for text in pd.unique(texts.dropna())}
        found = np.asarray(texts.map(place), dtype=np.float64)
    else:
        found = np.asarray((moments - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(days=1), dtype=np.float64)
    return _without_end(found)


def _without_end(found: Array) -> Array:
    """Days with NaN instead of dates in the year 9999 or later, unless all dates are."""
    never = found >= day(f"{NEVER}-01-01")
    return found if never[~np.isnan(found)].all() else np.where(never, np.nan, found)


def _order(known: Any) -> str | None:
    """The first order of day, month and year in which all of these texts are dates. Dates by ISO 8601 are left out.

    None if all are written by ISO 8601, or if no order fits.
    """
    texts = [text for text in pd.unique(known) if isinstance(text, str) and not ISO_DATE.match(text)]
    for order in ORDERS if texts else ():
        try:
            for text in texts:
                day(text, order)
        except ValueError:
            continue
        return order
    return None


def day(text: Any, order: str | None = None) -> float:
    """Days since 1970 (UTC) of a date as text, by ISO 8601 or in this order. Raises `ValueError` for other text."""
    if not isinstance(text, str):
        raise ValueError("only text is a date")
    if ISO_DATE.match(text):
        # Python reads microseconds only, so further digits are cut off.
        moment = datetime.datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text.replace(" +", "+")))
    elif order is not None and (parts := OTHER_DATE.match(text)):
        words = re.findall(r"\d+|[A-Za-z]+", parts[1])
        moment = datetime.datetime.strptime(" ".join(words), order)
        if order.endswith("%y") and moment.year > LAST_SHORT_YEAR:
            moment = moment.replace(year=moment.year - 100)
        if parts[2]:
            moment = datetime.datetime.combine(moment, datetime.time.fromisoformat(parts[2].zfill(len("00:00"))))
    else:
        raise ValueError("not a date")
    moment = moment.replace(tzinfo=datetime.UTC) if moment.tzinfo is None else moment
    return (moment - EPOCH) / datetime.timedelta(days=1)


def hours(values: Any) -> Any:
    """A column of times of day, as text or as `datetime.time`, in hours; any other column unchanged."""
    times = [t for t in pd.unique(values.dropna()) if isinstance(t, (str, datetime.time))]
    parts = [CLOCK.match(t if isinstance(t, str) else t.isoformat()) for t in times]
    place = {t: int(p[1]) + int(p[2]) / 60 + float(p[3] or 0) / 3600 for t, p in zip(times, parts, strict=True) if p}
    return values.map(place) if times and len(place) == len(times) else values

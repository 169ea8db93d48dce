"""Which text is a date, and how many days it is from 1970: in whatever of the usual forms a table writes its dates."""

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
"""A year of two digits is none after this one; 30 is 1930."""
CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d(?:\.\d+)?))?$")
NEVER = 9999
"""The year by which databases say that there is no end."""
MICROSECONDS = 86_400_000_000
"""Of a day."""
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def looks_dated(known: Any) -> bool:
    """Whether all of these texts (a pandas column) are written as dates are, all in one way."""
    if not len(known):
        return False
    if known.map(lambda v: bool(ISO_DATE.match(v))).all():
        return True
    return bool(known.map(lambda v: bool(OTHER_DATE.match(v))).all()) and _order(known) is not None


def is_dated(value: Any) -> bool:
    """Whether a cell is a text that has the form of a date."""
    return isinstance(value, str) and bool(ISO_DATE.match(value) or OTHER_DATE.match(value))


def days(values: Any, among: Any = None) -> Array:
    """Days since 1970 (UTC) as float64, NaN for gaps; a time of day is the fraction.

    Where days and months could be told apart either way, all of the column's values `among` all tables say which;
    and days come first where even they do not. Of the year 9999 each is taken as a gap: it says that there is none,
    and its distance would hide all others. Raises `ValueError` for what is no date.
    """
    if pd.api.types.is_numeric_dtype(values):
        raise ValueError("a number is no date")
    if pd.api.types.is_datetime64_any_dtype(values):
        zoned = getattr(values.dt, "tz", None) is not None
        found = np.asarray(values.dt.tz_convert("UTC").dt.tz_localize(None) if zoned else values, "datetime64[us]")
        return _without_end(np.where(np.isnat(found), np.nan, found.astype(np.int64) / MICROSECONDS))
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
    """Days with gaps for those of the year 9999, unless all are."""
    never = found >= day(f"{NEVER}-01-01")
    return found if never[~np.isnan(found)].all() else np.where(never, np.nan, found)


def _order(known: Any) -> str | None:
    """The order of day, month and year in which all of these texts are dates; None where they are written by ISO."""
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
    """Days since 1970 (UTC) of one date as text, by ISO or in that order. Raises `ValueError` where it is none."""
    if not isinstance(text, str):
        raise ValueError("only text is a date")
    if ISO_DATE.match(text):
        # Nanoseconds, which some write, are more digits than are understood.
        moment = datetime.datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text.replace(" +", "+")))
    elif order is not None and (parts := OTHER_DATE.match(text)):
        words = re.findall(r"\d+|[A-Za-z]+", parts[1])
        moment = datetime.datetime.strptime(" ".join(words), order)
        if order.endswith("%y") and moment.year > LAST_SHORT_YEAR:
            moment = moment.replace(year=moment.year - 100)
        if parts[2]:
            moment = datetime.datetime.combine(moment, datetime.time.fromisoformat(parts[2].zfill(len("00:00"))))
    else:
        raise ValueError("no date")
    moment = moment.replace(tzinfo=datetime.UTC) if moment.tzinfo is None else moment
    return (moment - EPOCH) / datetime.timedelta(days=1)


def hours(values: Any) -> Any:
    """A column whose values are all times of day, as text or otherwise, as hours; any other as it is."""
    told = [t for t in pd.unique(values.dropna()) if isinstance(t, (str, datetime.time))]
    parts = [CLOCK.match(t if isinstance(t, str) else t.isoformat()) for t in told]
    place = {t: int(p[1]) + int(p[2]) / 60 + float(p[3] or 0) / 3600 for t, p in zip(told, parts, strict=True) if p}
    return values.map(place) if told and len(place) == len(told) else values

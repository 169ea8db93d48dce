"""Dates in digits alone: 19650107 as HL7 and DICOM write them, 07011965, 650107, 196501."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from testbed.core import Array
from testbed.data.tables import dates, spellings
from testbed.data.tables.cells import Reading, Texts

FORMS = {"ymd": 8, "dmy": 8, "mdy": 8, "yymmdd": 6, "ddmmyy": 6, "mmddyy": 6, "ym": 6}
"""Orders of year, month and day, and the number of digits. A zero in front may be lost."""
EARLIEST, LATEST = 1850, 2100
CERTAIN = 0.99
"""The smallest share of the numbers that must be dates."""
CENTURY = 1900


def read(values: Mapping[str, Array]) -> Reading | None:
    """Whole numbers as dates, or None if nearly all of them would not be dates of one form in each table."""
    known = {role: own for role, own in values.items() if not np.isnan(own).all()}
    joint = form_of(np.concatenate(list(values.values())))
    forms = {role: joint or form_of(own) for role, own in known.items()}
    if not forms or None in forms.values():
        return None
    return Reading({role: days(own, forms.get(role) or "ymd") for role, own in values.items()}, True)


def form_of(cells: Array) -> str | None:
    """The form in which nearly all of these numbers are dates, or None."""
    cells = cells[~np.isnan(cells)]
    if not len(cells) or not 10_000 <= np.median(cells) < 100_000_000 or (cells != np.floor(cells)).any():
        return None
    distinct = np.unique(cells)
    for form, digits in FORMS.items() if len(distinct) >= spellings.ENOUGH else ():
        least = 10 ** (digits - 2) if digits == 8 else 100  # 101 is 1 January 2000
        if distinct[0] < least or np.median(distinct) < 10 ** (digits - 2) or distinct[-1] >= 10**digits:
            continue
        found = days(distinct, form)
        if (~np.isnan(found)).mean() >= CERTAIN and len(np.unique(found)) >= spellings.ENOUGH:
            return form
    return None


def in_iso(own: Texts) -> Texts:
    """Texts of digits alone that are dates, in ISO 8601; other texts unchanged."""
    digits = {t: float(t) for t in own.different if t.isdecimal() and len(t) in (6, 8)}
    if len(digits) < max(spellings.ENOUGH, CERTAIN * len(own.different)):
        return own
    form = form_of(own.values(digits))
    if form is None or form == "ym":
        return own
    read = days(np.array([digits.get(t, np.nan) for t in own.different]), form)
    written = [t if d != d else str(np.datetime64(int(d), "D")) for t, d in zip(own.different, read, strict=True)]
    return Texts(tuple(written), own.index)


def days(numbers: Array, form: str) -> Array:
    """Days since 1970 of numbers of this form; NaN for what is no date."""
    whole = np.where(np.isnan(numbers), 0, numbers).astype(np.int64)
    one, two, three = whole // 10_000, whole // 100 % 100, whole % 100
    if form == "ym":
        year, month, day = whole // 100, whole % 100, np.ones_like(whole)
    elif form in ("ymd", "yymmdd"):
        year, month, day = one, two, three
    else:
        divisor = 10_000 if form in ("dmy", "mdy") else 100
        year, first, second = whole % divisor, whole // divisor // 100, whole // divisor % 100
        month, day = (second, first) if form[0] == "d" else (first, second)
    if len(form) == 6:
        year = np.where(year + 2000 > dates.LAST_SHORT_YEAR, year + CENTURY, year + 2000)
    fits = (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31) & (year >= EARLIEST) & (year <= LATEST)
    months = ((np.where(fits, year, 1970) - 1970) * 12 + np.where(fits, month, 1) - 1).astype("datetime64[M]")
    start = months.astype("datetime64[D]").astype(np.int64)
    length = (months + 1).astype("datetime64[D]").astype(np.int64) - start
    found = start + (length - 1) / 2 if form == "ym" else start + day - 1.0
    return np.where(fits & ((day <= length) | (form == "ym")), found, np.nan)

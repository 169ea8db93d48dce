"""Encoding one column of all tables: numbers, dates in days, or codes of categories."""

from __future__ import annotations

import datetime
import decimal
import re
from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from testbed.core import Array, Column
from testbed.data.tables import codings, columns, compact_dates, dates, spellings
from testbed.data.tables.cells import Reading, Series, factored, texts_of
from testbed.data.tables.missing import without_codes
from testbed.data.tables.numbers_in_texts import numbers_in
from testbed.data.tables.refusals import refuse

CODE = re.compile(r"\s*[-+]?\d{17,}\s*$")
LONG = 17
"""The fewest digits of a whole number that floats do not hold exactly."""
Dtype = Literal["numeric", "date", "text", "other"]
KIND = {"numeric": "numeric", "date": "date", "text": "categorical", "other": "categorical"}


@dataclass(frozen=True, slots=True)
class Encoded:
    """One column of the encoded tables, its values by table, and how it was read."""

    column: Column
    values: dict[str, Array]
    unit: str = ""
    notes: tuple[str, ...] = ()
    flags: frozenset[str] = field(default_factory=frozenset[str])


def encode_column(name: str, series: dict[str, Series], kind: str | None) -> list[Encoded]:
    """The column, or several where its cells hold several numbers; `kind` is what the user declares.

    A column must have values in the original and the release. Raises `InputError` where the tables hold values of
    different kinds.
    """
    dtypes: dict[str, Dtype] = {role: found for role, values in series.items() if (found := _dtype(values)) is not None}
    for role in series:
        if role != "control" and role not in dtypes:
            raise refuse(
                45,
                f"Column {name!r} of the {role} table has no value at all.",
                "An attack can neither use nor predict it.",
                "Drop the column from all tables (kind: drop in the meta file).",
            )
    if kind == "categorical":
        return [categories(name, series)]
    if "date" in dtypes.values() and set(dtypes.values()) != {"date"}:
        series = {r: _written_dates(values) if dtypes.get(r) == "date" else values for r, values in series.items()}
        dtypes = {role: "text" if dtype == "date" else dtype for role, dtype in dtypes.items()}
    found = _found(name, series, dtypes, kind)
    if found is not None:
        return [_finite(name, encoded) for encoded in _as_columns(name, found)]
    if kind is not None:
        raise _not_of_kind(name, kind)
    first = dtypes["original"]
    for role, other in dtypes.items():
        if other != first and not _share_categories(series):
            raise refuse(
                46,
                f"Column {name!r} is {KIND[first]} in the original and {KIND[other]} in the {role} table.",
                "Values of different kinds are never equal, so no comparison would find a leak.",
                "Write both the same way: a file of a statistics program is read by its labels, and a table may hold "
                "its codes. The meta file can map the values of one to those of the other (map).",
            )
    return [categories(name, series)]


def as_quantity(name: str, series: dict[str, Series]) -> Encoded | None:
    """The column as numbers or as dates in days, if its cells hold one each; None for categories and several numbers.

    Codes for missing values are gaps. The tables may lack values altogether.
    """
    series = {role: plain(values) for role, values in series.items()}
    dtypes: dict[str, Dtype] = {role: found for role, values in series.items() if (found := _dtype(values)) is not None}
    if "date" in dtypes.values() and set(dtypes.values()) != {"date"}:
        series = {r: _written_dates(values) if dtypes.get(r) == "date" else values for r, values in series.items()}
        dtypes = {role: "text" if dtype == "date" else dtype for role, dtype in dtypes.items()}
    found = _found(name, series, dtypes, None) if dtypes else None
    if found is None or len(found) != 1:
        return None
    read = _as_columns(name, found)[0]
    without_codes(read.column, read.values)
    return read


def _found(name: str, series: dict[str, Series], dtypes: Mapping[str, Dtype], kind: str | None) -> list[Reading] | None:
    """The column as numbers or dates, or None."""
    kinds = set(dtypes.values())
    if kinds == {"date"}:
        return [Reading({role: dates.days(values) for role, values in series.items()}, True)]
    if kinds == {"numeric"}:
        numbers = {role: texts_of(values).numbers for role, values in series.items()}
        values = {role: np.full(len(series[role]), np.nan) if n is None else n for role, n in numbers.items()}
        if kind is None and any(map(_beyond_floats, series.values())):
            return None
        if kind != "numeric" and (found := compact_dates.read(values)) is not None:
            return [found]
        return None if kind == "date" else [Reading(values)]
    if "other" in kinds or (kind is None and any(map(_beyond_floats, series.values()))):
        return None
    return columns.read(name, series, kind)


def _as_columns(name: str, found: list[Reading]) -> list[Encoded]:
    names = [name] if len(found) == 1 else [f"{name} ({i + 1})" for i in range(len(found))]
    split = () if len(found) == 1 else ("one of several numbers in each cell",)
    return [
        Encoded(Column(own, "numeric", date=r.date), r.values, r.unit, (*r.told, *split), r.flags)
        for own, r in zip(names, found, strict=True)
    ]


def _finite(name: str, encoded: Encoded) -> Encoded:
    for role, values in encoded.values.items():
        if np.isinf(values).any():
            raise refuse(
                49,
                f"Column {name!r} of the {role} table holds infinite values.",
                "Distances to them have no meaning.",
                "Replace them by missing values or by the largest real measurement.",
            )
    return encoded


def _not_of_kind(name: str, kind: str) -> Exception:
    if kind == "date":
        return refuse(
            50,
            f"Column {name!r} holds values that are not dates.",
            "It was declared as a column of dates.",
            "Write dates as YYYY-MM-DD, or give the column's kind as categorical in the meta file.",
        )
    return refuse(
        48,
        f"Column {name!r} holds many different words among its numbers.",
        "They would all become missing values.",
        "Correct them, or give the column's kind as categorical in the meta file.",
    )


def _dtype(values: Series) -> Dtype | None:
    """The type of a column's cells, or None if it has no values."""
    known = values.dropna()
    if not len(known):
        return None
    if pd.api.types.is_bool_dtype(values):
        return "other"
    if pd.api.types.is_numeric_dtype(values):
        return "numeric"
    if pd.api.types.is_datetime64_any_dtype(values):
        return "date"
    if pd.api.types.infer_dtype(known, skipna=True) == "string":
        return "text"
    if known.map(lambda v: hasattr(v, "isoformat")).all():
        return "date"
    plainly = known.map(lambda v: isinstance(v, str | int | float) and not isinstance(v, bool)).all()
    return "text" if plainly else "other"


def _written_dates(values: Series) -> Series:
    """Dates as text by ISO 8601."""
    return values.astype(object).map(lambda v: v.isoformat(), na_action="ignore").where(values.notna(), None)


def _share_categories(series: Mapping[str, Series]) -> bool:
    """Whether most released cells can be found in the original as text, perhaps in another coding."""
    texts = {role: _factored(values) for role, values in series.items()}
    keys = _keys(texts, {t: spellings.category(t) for _, different in texts.values() for t in different})
    recoded, _ = codings.meeting(keys)
    return bool(recoded) or codings.known(keys) >= codings.UNKNOWN


def _beyond_floats(values: Series) -> bool:
    """Whether a column holds whole numbers too large for exact floats: these are codes, not quantities."""
    if pd.api.types.is_integer_dtype(values):
        known = values.dropna()
        return bool(((known > 2**53) | (known < -(2**53))).any())
    if values.dtype != object:
        return False
    return any(isinstance(v, str) and len(v) >= LONG and CODE.match(v) for v in values.unique())


def plain(values: Series) -> Series:
    """A column in plain types: durations in days, times of day in hours, decimals as floats, structures as text."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(values.cat.categories.dtype)
    if isinstance(values.dtype, pd.ArrowDtype) and values.dtype.kind == "m":
        values = values.astype("timedelta64[ns]")
    if isinstance(values.dtype, pd.ArrowDtype | pd.StringDtype) and values.dtype.kind not in "biufM":
        values = values.astype(object).where(values.notna(), None)
    if pd.api.types.is_timedelta64_dtype(values):
        return values / pd.Timedelta(days=1)
    if pd.api.types.is_complex_dtype(values):
        return values.astype(object).where(values.notna(), None).map(str, na_action="ignore")
    if values.dtype == object:
        kinds = set(values.dropna().map(type))
        if kinds and kinds <= {dict, list, tuple, np.ndarray}:
            return values.map(_flat, na_action="ignore").astype(object)
        if kinds and kinds <= {int, float, decimal.Decimal}:
            return values.astype(float)
        if kinds and kinds <= {str, datetime.time}:
            return dates.hours(values)
    return values


def _flat(cell: Any) -> str | None:
    """A structure as text: a value with its unit (as FHIR writes quantities), or the parts of a list."""
    if not isinstance(cell, dict):
        return "; ".join(spellings.text(v) for v in cell) or None
    if cell.get("value") is None:
        known = [v for v in cell.values() if v is not None]
        return "; ".join(map(spellings.text, known)) or None
    unit = next((cell[k] for k in ("unit", "units", "uom", "code") if cell.get(k)), "")
    return f"{cell.get('comparator') or ''}{spellings.text(cell['value'])} {unit}".strip()


Factored = tuple[Array, tuple[str, ...]]
"""The number of each row's text (-1 for a gap), and the texts."""


def _factored(values: Series) -> Factored:
    index, different = factored(values)
    stars = np.array([bool(spellings.SUPPRESSED.match(str(t))) for t in different])
    if stars.any() and not stars.all():  # a cell that was suppressed is a gap
        index = np.where(np.r_[stars, False][index], -1, index)
    return index, different


def _keys(texts: Mapping[str, Factored], spelling: Mapping[str, Hashable]) -> dict[str, Counter[Any]]:
    """The categories of each table, with the number of their cells."""
    found: dict[str, Counter[Any]] = {}
    for role, (index, different) in texts.items():
        counts = np.bincount(index[index >= 0], minlength=len(different))
        found[role] = Counter()
        for text, n in zip(different, counts.tolist(), strict=True):
            if n:
                found[role][spelling[text]] += n
    return found


def categories(name: str, series: dict[str, Series], compared: bool = True) -> Encoded:
    """The column and its codes by table: the released categories first, then those of other tables.

    All spellings of one category have the same code. If `compared`, categories that the tables code differently are
    recoded where that is sure, and `InputError` is raised for a column whose original and release share no category,
    unless half or more of the released values are distinct.
    """
    texts = {role: _factored(values) for role, values in series.items()}
    spelling = {t: spellings.category(t) for _, different in texts.values() for t in different}
    keys = _keys(texts, spelling)
    recoded, told = codings.meeting(keys) if compared else ({}, "")

    def key(role: str, text: str) -> Hashable:
        own = spelling[text]
        return recoded.get(role, {}).get(own, own)

    spelt: dict[str, dict[Any, str]] = {role: {} for role in series}
    for role, (index, different) in texts.items():
        used = set(np.unique(index).tolist())
        for text in sorted(t for i, t in enumerate(different) if i in used):
            spelt[role].setdefault(key(role, text), text)
    released = spelt["synthetic"]
    others = {own: text for mine in spelt.values() for own, text in mine.items() if own not in released}
    if compared and not released.keys() & spelt["original"] and len(released) < len(series["synthetic"]) / 2:
        raise refuse(
            51,
            f"Column {name!r} shares no category between the original and the synthetic table.",
            "Differently coded categories are never equal, so no comparison would find a leak.",
            "Use the same coding in all tables, or map the values in the meta file (map).",
        )
    codes = {own: i for i, own in enumerate([*released, *sorted(others, key=lambda own: others[own])])}
    numbers = numbers_in([(released | others)[own] for own in codes])
    encoded: dict[str, Array] = {}
    for role, (index, different) in texts.items():
        translate = np.array([codes.get(key(role, v), -1) for v in different] + [-1], dtype=np.int32)
        encoded[role] = translate[index]  # a missing value has index -1, the last entry
    notes = [told] if told else []
    column = Column(name, "categorical", tuple(released.values()), numbers=numbers)
    return Encoded(column, encoded, notes=tuple(notes))

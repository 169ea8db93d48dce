"""Encoding pandas tables as `core.Table`, with one schema for original, synthetic and control, or a clear refusal."""

from __future__ import annotations

import collections
import datetime
import decimal
import re
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from testbed.core import Array, Column, Table
from testbed.core.errors import UsageError
from testbed.data.tables import dates, spellings
from testbed.data.tables.described import Described, described, without_values
from testbed.data.tables.kinds import KINDS
from testbed.data.tables.missing import without_codes
from testbed.data.tables.refusals import empty, named, no_person, refuse, unique

CODE = re.compile(r"\s*[-+]?\d{17,}\s*$")
EXPONENT = re.compile(r"[eE][-+]?\d{4,}")
Series: TypeAlias = Any
"""A pandas column; the type annotations of pandas are too wide to be useful."""


@dataclass(frozen=True, slots=True)
class Frames:
    """The encoded tables of one evaluation, all with the same columns."""

    original: Table
    synthetic: Table
    control: Table | None
    described: tuple[Described, ...] = ()
    """How each column was read."""


@dataclass(frozen=True, slots=True)
class Meta:
    """What the user declares: the person column, and kinds of columns by name."""

    person: str | None = None
    kinds: dict[str, str] = field(default_factory=dict[str, str])


def checked(frame: pd.DataFrame, role: str) -> pd.DataFrame:
    """The frame with its column names as text.

    Raises `InputError` for two columns of one name, fewer than two rows, no column, or a header that seems a record.
    """
    frame = frame.set_axis(frame.columns.map(str), axis=1)
    unique(frame.columns, role)
    if not len(frame.columns) or not len(frame):
        raise empty(role)
    if _headless(frame):
        raise refuse(
            37,
            f"The first line of the {role} table seems to be a record, not the names of its columns.",
            "Several columns hold their own name as a value.",
            "Write the columns' names in the first line.",
        )
    if len(frame) == 1:
        raise refuse(
            35,
            f"The {role} table has one row.",
            "No rate can be estimated from one person.",
            "Give at least two rows. Results are useful from a few hundred rows on.",
        )
    return frame


def _headless(frame: pd.DataFrame) -> bool:
    """Whether two or more columns of text hold their own name as a value: the header is then probably a record."""
    texts = (frame.iloc[:, i] for i, dtype in enumerate(frame.dtypes) if dtype.kind == "O")
    return sum(bool(v.map(lambda cell, name=v.name: isinstance(cell, str) and cell == name).any()) for v in texts) > 1


def as_numbers(values: Series) -> Series:
    """Text as numbers; NaN for other text, and for exponents of four digits or more, which are codes.

    pandas before 3 crashes on some of these codes (its issue 63650).
    """
    if values.dtype == object or isinstance(values.dtype, pd.StringDtype):
        values = values.mask(values.map(lambda v: isinstance(v, str) and bool(EXPONENT.search(v))))
    return pd.to_numeric(values, errors="coerce")


def encode(
    original: pd.DataFrame, synthetic: pd.DataFrame, control: pd.DataFrame | None = None, meta: Meta | None = None
) -> Frames:
    """The tables with one schema. `meta` may declare kinds of columns; others are inferred from the data.

    The first levels of a category are those of the release. Raises `InputError` if columns differ between tables,
    hold infinite numbers, or are of different kinds in different tables. A column without a value in the original or in
    the release is left out, and described as empty.
    """
    meta = meta or Meta()
    frames = {"original": original, "synthetic": synthetic} | ({} if control is None else {"control": control})
    _check_meta(meta, original)
    left_out = {name for name, kind in meta.kinds.items() if kind == "drop"} | {meta.person}
    names = [c for c in original.columns if c not in left_out]
    for role, frame in frames.items():
        _same_columns(names, [c for c in frame.columns if c not in left_out], role)
    columns: list[Column] = []
    descriptions: list[Described] = []
    encoded: dict[str, list[Array]] = {role: [] for role in frames}
    for name in names:
        series = {role: plain(frame[name]) for role, frame in frames.items()}
        if any(values.isna().all() for role, values in series.items() if role != "control"):
            descriptions.append(without_values(name))  # an attack can neither use nor predict it
            continue
        column, values = _encode_column(name, series, meta.kinds.get(name))
        coded = without_codes(column, values)
        descriptions.append(described(column, series, values, name in meta.kinds, coded))
        columns.append(column)
        for role, array in values.items():
            encoded[role].append(array)
    if not columns:
        raise refuse(
            45,
            "No column has values in both the original and the synthetic table.",
            "An attack can neither use nor predict a column without values.",
            "Check that the files hold the table.",
        )
    persons = {role: _persons(role, frame, meta.person) for role, frame in frames.items()}
    if meta.person is not None and control is not None:
        numeric = [pd.api.types.is_numeric_dtype(f[meta.person]) for f in (original, control)]
        if numeric[0] != numeric[1]:
            raise refuse(
                56,
                "The person column holds numbers in one of original and control, and text in the other.",
                "One person may then be written in two ways, and would count as two people.",
                "Write the column as text in both files.",
            )
    tables = {role: Table(tuple(columns), tuple(encoded[role]), persons[role]) for role in frames}
    return Frames(tables["original"], tables["synthetic"], tables.get("control"), tuple(descriptions))


def _check_meta(meta: Meta, original: pd.DataFrame) -> None:
    if unknown := set(meta.kinds.values()) - set(KINDS):
        raise UsageError(
            "TB-DATA-040",
            f"Unknown kind of column: {', '.join(sorted(map(str, unknown)))}.",
            "The meta file may only give the kinds that the testbed knows.",
            f"Use one of: {', '.join(KINDS)}.",
        )
    if absent := sorted(set(meta.kinds) - set(original.columns)):
        raise UsageError(
            "TB-DATA-047",
            f"The meta file names columns that the original does not have: {', '.join(absent[:5])}.",
            "A misspelt name would otherwise be ignored silently.",
            "Correct the meta file.",
        )
    if meta.person is not None and meta.person not in original.columns:
        raise no_person(meta.person, "Name an existing column with --person.")


def _same_columns(names: list[str], other: list[str], role: str) -> None:
    if not names:
        raise refuse(
            42, "No column is left to evaluate.", "All are dropped or name the person.", "Keep some attributes."
        )
    ours, theirs = set(names), set(other)
    if missing := [n for n in names if n not in theirs]:
        raise refuse(
            43,
            f"The {role} table lacks {len(missing)} column(s) of the original{_listed(missing, names)}.",
            "All tables must describe people by the same attributes.",
            "If it names the person, give --person. Otherwise drop it (kind: drop in the meta file), or add it.",
        )
    if extra := [n for n in other if n not in ours]:
        raise refuse(
            44,
            f"The {role} table has {len(extra)} column(s) that the original does not have{_listed(extra, names)}.",
            "All tables must describe people by the same attributes.",
            "Drop them from that table.",
        )


def _listed(different: list[str], names: list[str]) -> str:
    """The columns that differ. If most do, they are not listed: a file without a header would show a record."""
    if len(different) > len(names) / 2:
        return " (most of them: does each file have a header?)"
    return f": {named(different)}"


def _encode_column(name: str, series: dict[str, Series], kind: str | None) -> tuple[Column, dict[str, Array]]:
    kinds = _kinds_of(series, kind)
    for role, found in kinds.items():
        if found != kinds["original"]:
            raise refuse(
                46,
                f"Column {name!r} is {kinds['original']} in the original and {found} in the {role} table.",
                "Values of different kinds are never equal, so no comparison would find a leak.",
                "Write both the same way, or give the column's kind in the meta file.",
            )
    if kind is None and kinds["original"] == "numeric" and any(map(_beyond_floats, series.values())):
        kinds = dict.fromkeys(series, "categorical")
        series = {r: v.astype("string").astype(object).where(v.notna(), None) for r, v in series.items()}
    if kinds["original"] == "numeric":
        return Column(name, "numeric"), {r: _numbers(name, r, v) for r, v in series.items()}
    if kinds["original"] == "date":
        among = pd.concat([v[v.map(dates.is_dated).astype(bool)] for v in series.values()])
        return Column(name, "numeric", date=True), {r: _days(name, r, v, among) for r, v in series.items()}
    return categories(name, series)


def _kinds_of(series: dict[str, Series], kind: str | None) -> dict[str, str]:
    """The kind of a column in each table. If it is a category in some only, the cells of all tables together decide."""
    with_values = {role: values for role, values in series.items() if values.notna().any()}
    kinds = {role: kind or _kind_of(values) for role, values in with_values.items()}
    if len(set(kinds.values())) == 2 and "categorical" in kinds.values():
        kind = _kind_of(pd.concat([values.astype(object) for values in with_values.values()]))
        kinds = kinds if kind == "categorical" else dict.fromkeys(kinds, kind)
    return {role: kinds.get(role, kinds["original"]) for role in series}


def _beyond_floats(values: Series) -> bool:
    """Whether a column holds whole numbers too large for exact floats: these are codes, not quantities."""
    if pd.api.types.is_integer_dtype(values):
        known = values.dropna()
        return bool(((known > 2**53) | (known < -(2**53))).any())
    return values.dtype == object and bool(values.map(lambda v: isinstance(v, str) and bool(CODE.match(v))).any())


def plain(values: Series) -> Series:
    """A column in plain types: durations in days, times of day in hours, decimals as floats, complex values as text."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(values.cat.categories.dtype)
    if isinstance(values.dtype, pd.ArrowDtype) and values.dtype.kind == "m":
        values = values.astype("timedelta64[ns]")
    if isinstance(values.dtype, pd.ArrowDtype | pd.StringDtype) and values.dtype.kind not in "biufM":
        values = values.astype(object).where(values.notna(), None)
    if pd.api.types.is_timedelta64_dtype(values):
        return values / pd.Timedelta(days=1)
    if pd.api.types.is_complex_dtype(values):
        return values.map(str, na_action="ignore").where(values.notna(), None)
    if values.dtype == object:
        kinds = set(values.dropna().map(type))
        if kinds and kinds <= {int, float, decimal.Decimal}:
            return values.astype(float)
        if kinds and kinds <= {str, datetime.time}:
            return dates.hours(values)
    return values


def _kind_of(values: Series) -> str:
    if pd.api.types.is_bool_dtype(values):
        return "categorical"
    if pd.api.types.is_numeric_dtype(values):
        return "numeric"
    if pd.api.types.is_datetime64_any_dtype(values):
        return "date"
    known = values.dropna()
    if not _all_text(known):
        if known.map(lambda v: hasattr(v, "isoformat")).all():
            return "date"
        if not known.map(lambda v: isinstance(v, str | int | float) and not isinstance(v, bool)).all():
            return "categorical"
        known = known.map(str)
    counted = known.value_counts(sort=False)  # each distinct value is examined once
    cells = collections.Counter(dict(zip(counted.index, counted.tolist(), strict=True)))
    distinct = pd.Series(list(cells), dtype=object)
    if dates.looks_dated(distinct) or (
        spellings.mostly(cells, dates.is_dated) and dates.looks_dated(distinct[distinct.map(dates.is_dated)])
    ):
        return "date"
    numbers = np.asarray(as_numbers(distinct), dtype=np.float64)
    return "categorical" if np.isnan(numbers).any() and not spellings.are_quantities(cells) else "numeric"


def _all_text(values: Series) -> bool:
    return pd.api.types.infer_dtype(values, skipna=True) in ("string", "empty")


def _numbers(name: str, role: str, values: Series) -> Array:
    numbers = np.asarray(as_numbers(values), dtype=np.float64)
    odd = np.isnan(numbers) & ~np.asarray(values.isna())
    if odd.any():
        numbers[odd] = values[odd].map(spellings.quantity)
    if np.isnan(numbers[odd]).sum() > spellings.ODD * len(numbers):
        raise refuse(
            48,
            f"Column {name!r} of the {role} table holds many words among its numbers.",
            "They would all become missing values.",
            "Correct them, or give the column's kind as categorical in the meta file.",
        )
    if np.isinf(numbers).any():
        raise refuse(
            49,
            f"Column {name!r} of the {role} table holds infinite values.",
            "Distances to them have no meaning.",
            "Replace them by missing values or by the largest real measurement.",
        )
    return numbers


def _days(name: str, role: str, values: Series, among: Series) -> Array:
    """Days since 1970 as float64; a time of day is the fraction. A few cells with other text become NaN."""
    if values.isna().all():
        return np.full(len(values), np.nan)
    odd = np.asarray(values.map(lambda v: isinstance(v, str) and not dates.is_dated(v)).astype(bool))
    try:
        return dates.days(values.mask(odd) if 0 < odd.sum() <= spellings.ODD * len(odd) else values, among)
    except (ValueError, TypeError, OverflowError):
        raise refuse(
            50,
            f"Column {name!r} of the {role} table holds values that are not dates.",
            "It was read as a column of dates.",
            "Write dates as YYYY-MM-DD, or give the column's kind as categorical in the meta file.",
        ) from None


def categories(name: str, series: dict[str, Series], compared: bool = True) -> tuple[Column, dict[str, Array]]:
    """The column and its codes by table: the released categories first, then those of other tables.

    All spellings of one category have the same code. If `compared`, `InputError` is raised for a column whose original
    and release share no category, unless half or more of the released values are distinct.
    """
    factored = {
        role: pd.factorize(values if _all_text(values) else values.map(spellings.text, na_action="ignore"))
        for role, values in series.items()
    }
    spelt: dict[str, dict[Any, str]] = {role: {} for role in series}
    for role, (_, uniques) in factored.items():
        for text in sorted(uniques):
            spelt[role].setdefault(spellings.category(text), text)
    released = spelt["synthetic"]
    others = {key: text for own in spelt.values() for key, text in own.items() if key not in released}
    if compared and not released.keys() & spelt["original"] and len(released) < len(series["synthetic"]) / 2:
        raise refuse(
            51,
            f"Column {name!r} shares no category between the original and the synthetic table.",
            "Differently coded categories are never equal, so no comparison would find a leak.",
            "Use the same coding in all tables.",
        )
    codes = {key: i for i, key in enumerate([*released, *sorted(others, key=lambda key: others[key])])}
    encoded: dict[str, Array] = {}
    for role, (index, uniques) in factored.items():
        translate = np.array([codes[spellings.category(v)] for v in uniques] + [-1], dtype=np.int32)
        encoded[role] = translate[index]  # a missing value has index -1, the last entry
    return Column(name, "categorical", tuple(released.values())), encoded


def _persons(role: str, frame: pd.DataFrame, person: str | None) -> Array:
    """The person of each row (n,); without a person column each row is a person, and so in a release that lacks it."""
    if person is None or (role == "synthetic" and (person not in frame or bool(frame[person].isna().any()))):
        return np.array([f"{role} {i}" for i in range(len(frame))])
    if role == "synthetic":
        return np.asarray([f"{role} {spellings.person(v)}" for v in frame[person]])
    if person not in frame.columns:
        raise refuse(
            53,
            f"The {role} table lacks the person column.",
            "Without it nobody can check that no person is in both tables.",
            "Keep the person column in that file.",
        )
    if np.asarray(frame[person].isna()).any():
        raise refuse(
            52,
            f"The person column of the {role} table has missing values.",
            "A row without a person could belong to anybody.",
            "Fill the column, or drop those rows.",
        )
    return np.asarray(frame[person].map(spellings.person), dtype=str)

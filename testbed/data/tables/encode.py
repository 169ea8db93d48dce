"""Encoding pandas tables as `core.Table`, with one schema for original, synthetic and control, or a clear refusal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from testbed.core import Array, Column, Table
from testbed.core.errors import UsageError
from testbed.data.tables import codings, spellings
from testbed.data.tables.cells import Series as Series
from testbed.data.tables.described import Described, described, without_values
from testbed.data.tables.kinds import KINDS
from testbed.data.tables.measures import as_numbers as as_numbers
from testbed.data.tables.missing import without_codes
from testbed.data.tables.one_column import CODE as CODE
from testbed.data.tables.one_column import encode_column, plain
from testbed.data.tables.refusals import ALIKE, empty, named, no_person, refuse, renamed, unique
from testbed.data.tables.templates import TAKEN_OUT


@dataclass(frozen=True, slots=True)
class Frames:
    """The encoded tables of one evaluation, all with the same columns."""

    original: Table
    synthetic: Table
    control: Table | None
    described: tuple[Described, ...] = ()
    """How each column was read."""
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """The columns into which a column was split whose cells hold several numbers."""
    taken_apart: tuple[str, ...] = ()
    """Columns of text of which numbers alone were kept: as they are written they may still identify people."""

    def named(self, names: Sequence[str]) -> list[str]:
        """These columns' names, with the parts of a column that was split in its place."""
        return [part for name in names for part in self.parts.get(name, (name,))]


MOST_COLUMNS = 20_000
"""Columns of a table that can still be evaluated."""


@dataclass(frozen=True, slots=True)
class Meta:
    """What the user declares: the person column, and kinds of columns by name."""

    person: str | None = None
    kinds: dict[str, str] = field(default_factory=dict[str, str])
    maps: Mapping[str, Mapping[Any, Any]] = field(default_factory=dict[str, Mapping[Any, Any]])
    """Values to be replaced in all tables, by column."""


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


def encode(
    original: pd.DataFrame, synthetic: pd.DataFrame, control: pd.DataFrame | None = None, meta: Meta | None = None
) -> Frames:
    """The tables with one schema. `meta` may declare kinds of columns; others are inferred from the data.

    The first levels of a category are those of the release. Raises `InputError` if columns differ or are too many,
    hold infinite numbers, or are of different kinds in different tables. A column without a value in the original or in
    the release is left out, and described as empty. So is one that the release suppresses in every row.
    """
    meta = meta or Meta()
    frames = {"original": original, "synthetic": synthetic} | ({} if control is None else {"control": control})
    _check_meta(meta, original)
    left_out = {name for name, kind in meta.kinds.items() if kind == "drop"} | {meta.person}
    names = [c for c in original.columns if c not in left_out]
    for role, frame in frames.items():
        _same_columns(names, [c for c in frame.columns if c not in left_out], role)
    if len(names) > MOST_COLUMNS:
        raise refuse(
            90,
            f"The tables have {len(names):,} columns.",
            f"Each column is read, compared and predicted from the others; beyond {MOST_COLUMNS:,} this takes days.",
            "Evaluate some of the columns, drawn at random or chosen by meaning, and say which in the report.",
        )
    columns: list[Column] = []
    descriptions: list[Described] = []
    parts: dict[str, tuple[str, ...]] = {}
    taken_apart: list[str] = []
    encoded: dict[str, list[Array]] = {role: [] for role in frames}
    for name in names:
        series = {role: plain(frame[name]) for role, frame in frames.items()}
        without = any(values.isna().all() for role, values in series.items() if role != "control")
        suppressed = not without and name not in meta.maps and _suppressed(series)
        if without or suppressed:
            descriptions.append(without_values(name, suppressed))  # an attack can neither use nor predict it
            continue
        mapped = ("values were mapped by the meta file",) if name in meta.maps else ()
        if mapped:
            series = {role: codings.mapped(values, meta.maps[name]) for role, values in series.items()}
        several = encode_column(name, series, meta.kinds.get(name))
        if len(several) > 1 or any(TAKEN_OUT in one.notes for one in several):
            taken_apart.append(name)
        if len(several) > 1:
            parts[name] = tuple(one.column.name for one in several)
        for one in several:
            coded = without_codes(one.column, one.values)
            told = described(
                one.column,
                series,
                one.values,
                unit=one.unit,
                declared=name in meta.kinds,
                coded_gaps=coded,
                notes=(*mapped, *one.notes),
                flags=one.flags,
            )
            descriptions.append(told)
            columns.append(one.column)
            for role, array in one.values.items():
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
    return Frames(
        tables["original"], tables["synthetic"], tables.get("control"), tuple(descriptions), parts, tuple(taken_apart)
    )


def _suppressed(series: Mapping[str, Series]) -> bool:
    """Does the release write one sign or word, such as `*`, in every row, which no other table holds?"""
    released = series["synthetic"].dropna()
    if not len(released) or not isinstance(released.iloc[0], str) or len(series["synthetic"]) < 2:
        return False
    words = {spellings.category(v) for v in released.unique()}
    if len(words) > 1 or any(c.isdigit() for c in released.iloc[0]):
        return False
    others = {
        spellings.category(v) for role, one in series.items() if role != "synthetic" for v in one.dropna().unique()
    }
    return len(others) > 1 and not words & others


def _check_meta(meta: Meta, original: pd.DataFrame) -> None:
    if unknown := set(meta.kinds.values()) - set(KINDS):
        raise UsageError(
            "TB-DATA-040",
            f"Unknown kind of column: {', '.join(sorted(map(str, unknown)))}.",
            "The meta file may only give the kinds that the testbed knows.",
            f"Use one of: {', '.join(KINDS)}.",
        )
    if absent := sorted({*meta.kinds, *meta.maps} - set(original.columns)):
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
        least = ALIKE if len(missing) <= len(names) / 2 else 1.0  # else names may be a record's values
        meant = renamed(missing, [n for n in other if n not in ours], least)
        raise refuse(
            43,
            f"The {role} table lacks {len(missing)} column(s) of the original{_listed(missing, names)}.",
            "All tables must describe people by the same attributes.",
            f"{meant}If it names the person, give --person. "
            "Otherwise drop it (kind: drop in the meta file), or add it.",
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

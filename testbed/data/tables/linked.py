"""Releases of several linked tables, joined to one row a person, so that attacks ask about persons and not rows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from testbed.core.errors import UsageError
from testbed.data import splits
from testbed.data.tables import spellings
from testbed.data.tables.files import PARQUET, SUFFIXES, TEXTS, is_text, read_file, read_text, writable, write_table
from testbed.data.tables.one_column import as_quantity
from testbed.data.tables.refusals import refuse

FEWEST = 20
"""Rows that a table needs for a column to number them."""
GAPS = 14.0
"""If the square of the number of rows is above this, times the range, so many even draws from the range would recur
with a probability above .999."""
NUMBER_NAME = re.compile(r"(?i:(^|[\W_])(id|nr|no|num|number|key|uid|guid|uuid|seq))$|(?<=[a-z])(Id|ID|Nr|No)$")
"""A column's name that ends like that of a record number."""
RECORD = re.compile(r"[A-Za-z]{1,6}[-_]?\d+|[0-9a-fA-F]{16,32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
"""A text that is a record number: letters and a number, or a random one."""
DIGITS = 12
"""Digits of a mean that count."""

Frames = Mapping[str, Mapping[str, pd.DataFrame]]
"""Tables by role (original, synthetic, control) and by name."""


@dataclass(frozen=True, slots=True)
class Linked:
    """`frames`: one row a person, by role. `link`: columns of the first table, and of the rest. `raw`: real tables.

    `numbers` are columns of the frames that hold record numbers. They describe nobody and are searched for identifiers.
    """

    frames: dict[str, pd.DataFrame]
    link: tuple[tuple[str, ...], tuple[str, ...]]
    raw: list[pd.DataFrame]
    numbers: tuple[str, ...] = ()

    def kinds(self, declared: Mapping[str, str] | None) -> dict[str, str]:
        """The declared kinds of columns, with record numbers dropped unless they are declared."""
        return {**dict.fromkeys(self.numbers, "drop"), **(declared or {})}


def read_folders(folders: Mapping[str, Path], person: str | None) -> Linked:
    """Tables of a folder for each role (CSV or Parquet), joined by the person's column.

    File names must be the same in every folder. Raises `UsageError` without a person column or tables, `InputError` if
    the tables differ or lack the column.
    """
    name = _named(person)
    frames: dict[str, dict[str, pd.DataFrame]] = {}
    for role, folder in folders.items():
        frames[role] = {path.stem: read_file(path, role, name) for path in _tables(folder, role)}
        for table in frames[role].values():
            if name in table.columns:  # CSV and Parquet may write one person in two ways
                table[name] = table[name].map(spellings.text, na_action="ignore")
    whole, link, numbers = joined(frames, name)
    return Linked(whole, link, [t for role in frames if role != "synthetic" for t in frames[role].values()], numbers)


def _named(person: str | None) -> str:
    if person is None:
        raise UsageError(
            "TB-DATA-065",
            "Linked tables need the person's column.",
            "This column links the tables.",
            "Name it with --person; every table must have it.",
        )
    return person


def _tables(folder: Path, role: str) -> list[Path]:
    """The files of a folder that hold a table each."""
    paths = sorted(p for p in folder.glob("*") if p.name.lower().endswith(SUFFIXES)) if folder.is_dir() else []
    if not paths:
        raise UsageError(
            "TB-DATA-066",
            f"The {role} is not a folder of tables.",
            "All of original, synthetic and control must be files, or all folders of CSV or Parquet files.",
            "Give three folders with one file a table.",
        )
    if len({p.stem for p in paths}) < len(paths):
        raise UsageError(
            "TB-DATA-069",
            f"Two files of the {role} have the same name, except for the ending.",
            "It is unclear which of them is the table.",
            "Keep one file for each table.",
        )
    return paths


def split_folder(folder: Path, out: Path, person: str | None, fraction: float, seed: int) -> list[Path]:
    """Writes the linked tables of `out/original/` and `out/control/`, and returns their files.

    People are drawn once, from all tables together, and all their rows follow them. Cells are copied as text. Raises
    `UsageError` without a person column or tables, or if a file exists; `InputError` if a table lacks the person.
    """
    name, paths = _named(person), _tables(folder, "original")
    people: dict[Path, Any] = {}
    for path in paths:
        table = read_file(path, "original", name)
        _check_person(table, path.stem, "original", name)
        people[path] = table[name].map(spellings.text)
    everybody = pd.DataFrame({"person": sorted(set().union(*people.values()))})
    parts = splits.split_people(everybody, {"control": fraction, "original": 1 - fraction}, "person", seed)
    targets = {(part, path): out / part / _written_as(path) for part in ("original", "control") for path in paths}
    for target in targets.values():
        writable(target)
    for (part, path), target in targets.items():
        whole, separator = read_text(path) if is_text(path) else (read_file(path, "original", name), ",")
        rows = np.flatnonzero(people[path].isin(parts[part]["person"]))
        write_table(target, whole.iloc[rows], separator)
    return list(targets.values())


def _written_as(path: Path) -> str:
    """The name of a table's file after splitting: Parquet stays Parquet, all else becomes CSV."""
    stem = Path(path.stem).stem if path.stem.lower().endswith(TEXTS) else path.stem
    return stem + (".parquet" if path.suffix.lower() in PARQUET else ".csv")


Joined = tuple[dict[str, pd.DataFrame], tuple[tuple[str, ...], tuple[str, ...]], tuple[str, ...]]
"""One row a person by role; the link of the first table to the rest; the columns that hold record numbers."""


def joined(frames: Frames, person: str) -> Joined:
    """One row a person from all tables, by role, with columns `table.column`; the link; and the record numbers.

    A table with one row a person in every role is used as it is. Another table is summarised: each person's number of
    rows; for a number or date the mean, the least and the greatest value; for other columns the most common value and
    the number of distinct values; for record numbers the least one. A person who is absent from a table has missing
    values there, and zero rows. The first table is the first by name among those with one row a person, or among all if
    there are none. Raises `InputError` if the tables differ between roles or lack the person.
    """
    names = sorted(frames["original"])
    for role, tables in frames.items():
        if sorted(tables) != names:
            raise refuse(
                67,
                f"The {role} has other tables than the original.",
                "All folders must hold the same tables.",
                "Give files of the same table the same name.",
            )
        for name, table in tables.items():
            _check_person(table, name, role, person)
    single = [n for n in names if not any(tables[n][person].duplicated().any() for tables in frames.values())]
    frames = _read(frames, person, [n for n in names if n not in single])
    first = (single or names)[0]
    order = [first, *(n for n in names if n != first)]
    numeric = {
        (n, c)
        for n in names
        for c in frames["original"][n].columns
        if all(c in t[n] and pd.api.types.is_numeric_dtype(t[n][c]) for t in frames.values())
    }
    records = _record_numbers(frames, person) - {(n, c) for n in single for c in frames["original"][n].columns}
    whole_by_role: dict[str, pd.DataFrame] = {}
    left: tuple[str, ...] = ()
    for role, tables in frames.items():
        parts = [
            _renamed(tables[n].set_index(person), n)
            if n in single
            else _gathered(tables[n], n, person, numeric, records)
            for n in order
        ]
        left = tuple(map(str, parts[0].columns)) if role == "original" else left
        whole = pd.concat(parts, axis=1, join="outer")
        for n in order:
            if n not in single:
                whole[f"{n}.rows"] = whole[f"{n}.rows"].fillna(0)
        whole_by_role[role] = whole.rename_axis(person).reset_index()
    numbers = tuple(f"{n}.{c}.least" for n, c in sorted(records))
    columns = [str(c) for c in whole_by_role["original"].columns if c != person and c not in numbers]
    link = tuple(c for c in left if c not in numbers), tuple(c for c in columns if c not in left)
    return whole_by_role, link, numbers


def _read(frames: Frames, person: str, names: Sequence[str]) -> dict[str, dict[str, pd.DataFrame]]:
    """All tables, those of these `names` with numbers and dates in place of their spellings.

    The cells of all roles decide together. A person's rows are summarised afterwards: `1.234,5 mg` has a mean, and
    words among numbers are gaps. Text that only numbers rows stays as it is.
    """
    read = {role: {name: table.copy() for name, table in tables.items()} for role, tables in frames.items()}
    for name in names:
        for column in frames["original"][name].columns:
            series: dict[str, Any] = {role: t[name][column] for role, t in frames.items() if column in t[name]}
            if column == person or len(series) < len(frames) or numbers_rows(series["original"]):
                continue
            if (found := as_quantity(column, series)) is None:
                continue
            for role, values in found.values.items():
                index = read[role][name].index
                cells: Any = pd.Series(pd.to_datetime(values, unit="D") if found.column.date else values, index)
                read[role][name][column] = cells.dt.round("s") if found.column.date else cells
    return read


def _check_person(table: pd.DataFrame, name: str, role: str, person: str) -> None:
    if person not in table.columns or bool(table[person].isna().any()):
        raise refuse(
            68,
            f"Table {name!r} of the {role} lacks the person column, or the column has missing values.",
            "This column links the tables.",
            "Give every row of every table its person.",
        )


def _record_numbers(frames: Frames, person: str) -> set[tuple[str, str]]:
    """Table and column of all record numbers: columns that only number the rows of some real table.

    A column of the same name in another table refers to those rows, and is one as well.
    """
    real = [tables for role, tables in frames.items() if role != "synthetic"]
    found = {
        column
        for name, table in frames["original"].items()
        for column in table.columns
        if column != person and all(column in t[name] and numbers_rows(t[name][column]) for t in real)
    }
    return {(name, c) for name, table in frames["original"].items() for c in table.columns if c in found}


def numbers_rows(values: Any) -> bool:
    """Whether a column only numbers its rows: no value recurs, and it is named or spelt like a number of records.

    Whole numbers without such a name are record numbers if they leave few gaps: so many measurements in so narrow a
    range would recur.
    """
    known = values.dropna()
    if len(known) < FEWEST or not known.is_unique:
        return False
    if pd.api.types.is_bool_dtype(known) or pd.api.types.is_datetime64_any_dtype(known):
        return False
    if pd.api.types.is_numeric_dtype(known):
        if (known % 1 != 0).any():
            return False
        width = float(known.max()) - float(known.min()) + 1
        return NUMBER_NAME.search(str(values.name)) is not None or len(known) ** 2 > GAPS * width
    texts = known.map(str)
    return bool(texts.map(lambda text: RECORD.fullmatch(text) is not None).all()) or (
        NUMBER_NAME.search(str(values.name)) is not None and not texts.str.contains(r"\s").any()
    )


def _renamed(table: pd.DataFrame, name: str) -> pd.DataFrame:
    return table.rename(columns={c: f"{name}.{c}" for c in table.columns})


def _gathered(
    table: pd.DataFrame, name: str, person: str, numeric: set[tuple[str, str]], records: set[tuple[str, str]]
) -> pd.DataFrame:
    groups: Any = table.groupby(person, sort=True)
    made: dict[str, Any] = {f"{name}.rows": groups.size()}
    for column in table.columns:
        if column == person:
            continue
        by_person = groups[column]
        if (name, column) in records:
            own = table[column] if (name, column) in numeric else table[column].map(str, na_action="ignore")
            made[f"{name}.{column}.least"] = own.groupby(table[person]).min()
        elif pd.api.types.is_datetime64_any_dtype(table[column]):
            made[f"{name}.{column}.mean"] = by_person.mean().dt.floor("D")
            made[f"{name}.{column}.least"] = by_person.min()
            made[f"{name}.{column}.greatest"] = by_person.max()
        elif (name, column) in numeric:
            # The order in which a person's rows are added up must not show in the last digits.
            made[f"{name}.{column}.mean"] = by_person.mean().map(lambda mean: float(f"{mean:.{DIGITS}g}"))
            made[f"{name}.{column}.least"] = by_person.min()
            made[f"{name}.{column}.greatest"] = by_person.max()
        else:
            counts: Any = table.groupby([person, column], sort=True).size().reset_index(name="n")  # type: ignore[call-overload]
            counts = counts.sort_values([person, "n"], ascending=[True, False], kind="stable")
            made[f"{name}.{column}.commonest"] = counts.groupby(person)[column].first().reindex(groups.size().index)
            made[f"{name}.{column}.kinds"] = by_person.nunique()
    return pd.DataFrame(made)


def chosen_links(declared: Sequence[Any], linked: Linked) -> list[Any]:
    """The declared links, or if there are none, the link between the first table and the others."""
    return list(declared) or ([linked.link] if linked.link[1] else [])

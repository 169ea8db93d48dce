"""Releases of several linked tables, joined to one row a person, so that attacks ask about persons and not rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from testbed.core.errors import UsageError
from testbed.data.tables import spellings
from testbed.data.tables.files import SUFFIXES, read_file
from testbed.data.tables.refusals import refuse

Frames = Mapping[str, Mapping[str, pd.DataFrame]]
"""Tables by role (original, synthetic, control) and by name."""


@dataclass(frozen=True, slots=True)
class Linked:
    """`frames`: one row a person, by role. `link`: columns of the first table, and of the rest. `raw`: real tables."""

    frames: dict[str, pd.DataFrame]
    link: tuple[tuple[str, ...], tuple[str, ...]]
    raw: list[pd.DataFrame]


def read_folders(folders: Mapping[str, Path], person: str | None) -> Linked:
    """Tables of a folder for each role (CSV or Parquet), joined by the person's column.

    File names must be the same in every folder. Raises `UsageError` without a person column or tables, `InputError` if
    the tables differ or lack the column.
    """
    if person is None:
        raise UsageError(
            "TB-DATA-065",
            "Linked tables need the person's column.",
            "This column links the tables.",
            "Name it with --person; every table must have it.",
        )
    frames: dict[str, dict[str, pd.DataFrame]] = {}
    for role, folder in folders.items():
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
        frames[role] = {p.stem: read_file(p, role, person) for p in paths}
        for table in frames[role].values():
            if person in table.columns:  # CSV and Parquet may write one person in two ways
                table[person] = table[person].map(spellings.text, na_action="ignore")
    linked = joined(frames, person)
    return Linked(*linked, [t for role in frames if role != "synthetic" for t in frames[role].values()])


def joined(frames: Frames, person: str) -> tuple[dict[str, pd.DataFrame], tuple[tuple[str, ...], tuple[str, ...]]]:
    """One row a person from all tables, by role, with columns `table.column`; and the link of the first to the rest.

    A table with one row a person in every role is used as it is. Another table is summarised: each person's number of
    rows; for a number the mean, the least and the greatest value; for other columns the most common value and the
    number of distinct values. A person who is absent from a table has missing values there, and zero rows. The first
    table is the first by name among those with one row a person, or among all if there are none. Raises `InputError`
    if the tables differ between roles or lack the person.
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
            if person not in table.columns or bool(table[person].isna().any()):
                raise refuse(
                    68,
                    f"Table {name!r} of the {role} lacks the person column, or the column has missing values.",
                    "This column links the tables.",
                    "Give every row of every table its person.",
                )
    single = [n for n in names if not any(tables[n][person].duplicated().any() for tables in frames.values())]
    first = (single or names)[0]
    order = [first, *(n for n in names if n != first)]
    numeric = {
        (n, c)
        for n in names
        for c in frames["original"][n].columns
        if all(c in t[n] and pd.api.types.is_numeric_dtype(t[n][c]) for t in frames.values())
    }
    whole_by_role: dict[str, pd.DataFrame] = {}
    left: tuple[str, ...] = ()
    for role, tables in frames.items():
        parts = [
            _renamed(tables[n].set_index(person), n) if n in single else _gathered(tables[n], n, person, numeric)
            for n in order
        ]
        left = tuple(map(str, parts[0].columns)) if role == "original" else left
        whole = pd.concat(parts, axis=1, join="outer")
        for n in order:
            if n not in single:
                whole[f"{n}.rows"] = whole[f"{n}.rows"].fillna(0)
        whole_by_role[role] = whole.rename_axis(person).reset_index()
    columns = [str(c) for c in whole_by_role["original"].columns if c != person]
    return whole_by_role, (left, tuple(c for c in columns if c not in left))


def _renamed(table: pd.DataFrame, name: str) -> pd.DataFrame:
    return table.rename(columns={c: f"{name}.{c}" for c in table.columns})


def _gathered(table: pd.DataFrame, name: str, person: str, numeric: set[tuple[str, str]]) -> pd.DataFrame:
    groups: Any = table.groupby(person, sort=True)
    made: dict[str, Any] = {f"{name}.rows": groups.size()}
    for column in table.columns:
        if column == person:
            continue
        by_person = groups[column]
        if (name, column) in numeric:
            made[f"{name}.{column}.mean"] = by_person.mean()
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

"""A user's own table as a data set: a CSV or Parquet file, and a small YAML file beside it.

`mine.csv` is described by `mine.meta.yaml`, or `mine.yaml`: the target column, the person's and the site's, kinds of
columns, the data class (real unless it says otherwise) and the licence.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from testbed.core import settings
from testbed.core.disclosure import People
from testbed.core.errors import InputError, UsageError, perhaps
from testbed.data.datasets import load, registry
from testbed.data.datasets.registry import Dataset
from testbed.data.tables.kinds import KINDS

SUFFIXES = (".csv", ".tsv", ".parquet", ".pq")
TEXTS = ("target", "person", "site", "data_class", "licence", "name", "encoding")
OF_EVALUATE = ("secrets", "link")
"""What the meta file of `testbed evaluate` may also say; a scenario asks by its parameters."""
CLASSES = ("real", "public", "synthetic")


def is_own(name: str) -> bool:
    """Is this a path of a table, not the name of a registered data set?"""
    return name.lower().endswith(SUFFIXES)


def dataset(name: str) -> Dataset:
    """A registered data set by name, or what the meta file says of a user's table. Raises `UsageError`."""
    if not is_own(name):
        return registry.dataset(name)
    told = _meta(Path(name))
    return Dataset(
        Path(name).stem,
        told.get("name") or f"the table {Path(name).name}",
        "table",
        told.get("licence") or "not stated",
        "a table of the user's",
        None,
        person=told.get("person"),
        site=told.get("site"),
        target=told.get("target"),
        data_class=told.get("data_class") or "real",
    )


def load_table(name: str) -> Any:
    """A table as pandas reads it, with the kinds of columns that the meta file gives; see `load.load_table`.

    Raises `UsageError` for a column that does not exist, and `InputError` for a file that is no table.
    """
    if not is_own(name):
        return load.load_table(name)
    from testbed.data import splits
    from testbed.data.tables import files

    told = _meta(Path(name))
    frame = files.read_file(Path(name).expanduser(), "data", told.get("person"), encoding=told.get("encoding"))
    kinds: dict[str, str] = told.get("columns") or {}
    wanted = [*kinds, *(told[part] for part in ("target", "person", "site") if told.get(part))]
    if unknown := [c for c in wanted if c not in frame.columns]:
        raise UsageError(
            "TB-DATA-082",
            f"The table has no column {unknown[0]!r}.",
            "Its meta file names one.",
            f"It has: {', '.join(map(str, frame.columns))}.",
        )
    splits.check_person(frame, told.get("person"))
    frame = frame.drop(columns=[c for c, kind in kinds.items() if kind == "drop"])
    frame = frame.assign(**{c: _as_kind(frame[c], kind) for c, kind in kinds.items() if kind != "drop"})
    numbers = frame.select_dtypes("number")
    if endless := [str(c) for c in numbers.columns if np.isinf(numbers[c].astype(float)).any()]:
        raise InputError(
            "TB-DATA-083",
            f"Column {endless[0]!r} of the table holds infinite numbers.",
            "They cannot be scaled.",
            "Leave such cells empty, or give the column the kind drop in the meta file.",
        )
    return frame.dropna(axis=1, how="all")


def protected(names: str) -> People | None:
    """The tables of real people among the data sets named, by commas, of which nothing may be quoted."""
    own = [n.strip() for n in names.split(",") if is_own(n.strip())]
    real = [n for n in own if dataset(n).data_class == "real"]
    return People([load_table(n) for n in real], dataset(real[0]).person) if real else None


def _as_kind(values: Any, kind: str) -> Any:
    import pandas as pd

    from testbed.data.tables import encode

    if kind == "numeric":
        return encode.as_numbers(values)
    if kind == "date":
        dates = pd.to_datetime(values, errors="coerce", format="mixed")
        return (dates - pd.Timestamp("1970-01-01")) / pd.Timedelta(days=1)
    return values.astype(object).where(values.isna(), values.astype(str))


def _meta(path: Path) -> Mapping[str, Any]:
    """What the file beside a table says of it; nothing where there is none."""
    places = (path.with_suffix(".meta.yaml"), path.with_suffix(".yaml"))
    file = next((p for p in map(Path.expanduser, places) if p.is_file()), None)
    if file is None:
        return {}
    allowed = (*TEXTS, "columns", *OF_EVALUATE)

    def bad(why: str) -> UsageError:
        fix = f"It may hold {', '.join(allowed)}; columns give each name a kind. See docs/extending.md for an example."
        return UsageError("TB-DATA-080", f"The meta file {file.name} cannot be used.", why, fix)

    try:
        told: Any = settings.load(file)
    except settings.SettingsError as error:
        raise bad(str(error)) from None
    if not isinstance(told, dict):
        raise bad("It is not a list of names with values.")
    if unknown := sorted(map(str, set(told) - set(allowed))):
        raise bad(f"It has the unknown name {unknown[0]!r}. {perhaps(unknown[0], allowed)}")
    kinds = told.get("columns") or {}
    if not isinstance(kinds, dict) or not all(isinstance(name, str) for name in kinds):
        raise bad("Its columns are not names with a kind each.")
    if odd := [name for name, kind in kinds.items() if kind not in KINDS]:
        raise bad(f"The kind of the column {odd[0]!r} is none of: {', '.join(KINDS)}.")
    if odd := [k for k in TEXTS if not isinstance(told.get(k), str | None)]:
        raise bad(f"The value of {odd[0]} is no text.")
    if told.get("data_class", "real") not in CLASSES:
        raise bad(f"Its data_class is none of: {', '.join(CLASSES)}.")
    return told

"""Records as a network is fed them, from the files of their owner: the judge's truth about a foreign federation.

An `.npz` file holds `x` (n, ...), and `y` (n,) and `persons` (n,) where they are known. A table (CSV, Parquet) holds
numbers alone: its target column is the class, its person column names people (`mine.meta.yaml`), every other column is
an input. The testbed does not know how an app prepares its records, so it prepares nothing.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from testbed.core import Array, Cohort
from testbed.core.errors import InputError, UsageError
from testbed.data import own_tables

SUFFIX = ".npz"


def read(path: Path, role: str) -> Cohort:
    """The records in a file. People without a name are named after the file and their row.

    `role` is what errors call the file, such as "controls". Raises `UsageError` for a file that does not exist or is of
    another kind, and `InputError` for one that cannot be read or holds something else than numbers.
    """
    if not path.is_file():
        raise UsageError(
            "TB-DATA-084", f"The file of the {role} does not exist.", f"{path.name} was not found.", "Check the path."
        )
    if path.suffix == SUFFIX:
        return _arrays(path, role)
    if own_tables.is_own(path.name):
        return _table(path, role)
    raise UsageError(
        "TB-DATA-085",
        f"The file of the {role} is of an unknown kind.",
        f"Its name ends in {path.suffix or 'nothing'}.",
        "Give .npz with the arrays x and y (numpy.savez), or a table (.csv, .parquet) of numbers.",
    )


def _arrays(path: Path, role: str) -> Cohort:
    try:
        with np.load(path, allow_pickle=False) as file:
            held: dict[str, Array] = {name: np.asarray(file[name]) for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error):
        raise _unread(role, "It is damaged, or holds objects that only pickle can read.") from None
    if "x" not in held:
        raise _unread(role, f"It has no array x. It holds: {', '.join(sorted(held)) or 'nothing'}.")
    x = held["x"]
    y = held.get("y", np.zeros(len(x), np.int64))
    if x.ndim < 2 or x.dtype.kind not in "fiub" or y.dtype.kind not in "fiub":
        raise _unread(role, "x must hold numbers, one record a row, and y one number for each record.")
    return _cohort(x, y, held.get("persons"), path, role)


def _table(path: Path, role: str) -> Cohort:
    frame: Any = own_tables.load_table(str(path))
    told = own_tables.dataset(str(path))
    inputs = frame.drop(columns=[c for c in (told.target, told.person, told.site) if c is not None])
    words = [str(c) for c in inputs.columns if not pd.api.types.is_numeric_dtype(inputs[c])]
    gaps = [str(c) for c in inputs.columns if inputs[c].isna().any()]
    for names, what in ((words, "no numbers"), (gaps, "empty cells")):
        if names:
            raise _unread(role, f"Column {names[0]!r} holds {what}, and a network is fed numbers.")
    y: Any = np.zeros(len(frame)) if told.target is None else frame[told.target].to_numpy()
    if np.asarray(y).dtype.kind not in "fiub":
        raise _unread(role, "Its target column holds words. Give the class as the app numbers it: 0, 1, ...")
    persons = None if told.person is None else frame[told.person].to_numpy()
    return _cohort(inputs.to_numpy(np.float32), np.asarray(y), persons, path, role)


def _cohort(x: Array, y: Array, persons: Array | None, path: Path, role: str) -> Cohort:
    names = np.array([f"{role} {path.stem} {i}" for i in range(len(x))]) if persons is None else persons.astype(str)
    y, names = _one_each(y, role, "values of y"), _one_each(names, role, "names of persons")
    if not np.isfinite(y).all():
        raise _unread(role, "y holds values that are no numbers, so that some records have no class.")
    if not len(x) == len(y) == len(names) or len(x) == 0:
        raise _unread(role, f"It has {len(x)} records, {len(y)} classes and {len(names)} persons.")
    whole = y.dtype.kind in "iub" or bool((y == np.round(y)).all())
    kept = x if x.dtype.kind in "iu" and x.dtype.itemsize > 2 else x.astype(np.float32)
    return Cohort(kept, y.astype(np.int64) if whole else y.astype(np.float32), names)


def _one_each(values: Array, role: str, what: str) -> Array:
    """The values as (n,); a column (n, 1) is one too. Raises `InputError` for several values a record."""
    if values.size != len(values):
        raise _unread(
            role,
            f"It has several {what} a record, and can have one. Where each class has a column, give the class as a "
            "number. What else a network predicts (further heads, or the record itself) a --model can compute whose "
            "outputs are the differences, with --loss mse.",
        )
    return values.reshape(-1)


def _unread(role: str, why: str) -> InputError:
    return InputError(
        "TB-DATA-086",
        f"The file of the {role} cannot be used.",
        why,
        "Save what the network is fed: numpy.savez(path, x=inputs, y=classes), and persons=names where people repeat.",
    )

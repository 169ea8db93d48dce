"""Mistakes of use that can be seen before any work: one file given twice, files swapped, a control that is no control.

They are said in the first second, by the names of the options.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas import util as _util

from testbed.core.errors import InputError, UsageError
from testbed.data.tables import spellings
from testbed.data.tables.refusals import no_person
from testbed.harness.release.column_names import meant

MOST_COLUMNS = 20_000
"""The most columns that are evaluated: each is a secret, and is searched for by every attack."""
DISTINCT = 20
"""Two tables with fewer distinct rows may be equal by chance."""
MADE, REAL = re.compile(r"synth|fake|generated|release"), re.compile(r"orig|real|train")
COPY = "--synthetic holds exactly the rows of --original; a release that is the original cannot pass"


def of_paths(paths: Mapping[str, Path], say: Callable[[str], None]) -> None:
    """Raises `UsageError` if two options name one file, or if the control is byte for byte another file."""
    for (first, a), (second, b) in itertools.combinations(paths.items(), 2):
        if not (a.exists() and b.exists()):
            continue
        if a.samefile(b):
            raise UsageError(
                "TB-USE-001",
                f"--{first} and --{second} are the same file.",
                "A table compared with itself answers no question.",
                _three(paths),
            )
        if a.is_file() and b.is_file() and a.stat().st_size == b.stat().st_size and _digest(a) == _digest(b):
            _equal(first, second, say)
    names = {role: path.stem.casefold() for role, path in paths.items()}
    if MADE.search(names["original"]) and REAL.search(names["synthetic"]):
        say("warning: by their files' names, --original and --synthetic may be swapped")


def of_tables(frames: Mapping[str, pd.DataFrame], person: str | None, say: Callable[[str], None]) -> None:
    """Raises `UsageError` for equal tables, a person column that no table has, or people in original and control."""
    columns = list(frames["original"].columns)
    if len(columns) > MOST_COLUMNS:
        raise InputError(
            "TB-DATA-059",
            f"The original table has {len(columns):,} columns.",
            f"At most {MOST_COLUMNS:,} are evaluated, as every column is predicted from all others.",
            "Evaluate the columns that somebody may know or look for, and drop the others from all tables.",
        )
    if person is not None and person not in columns:
        swapped = person in frames["synthetic"].columns
        hint = "--synthetic has it: were --original and --synthetic swapped?" if swapped else meant(person, columns)
        raise no_person(person, hint)
    for first, second in itertools.combinations(frames, 2):
        if same_rows(frames[first], frames[second]):
            _equal(first, second, say)
    control = frames.get("control")
    if person is not None and control is not None and person in control.columns:
        own, theirs = (set(f[person].dropna().map(spellings.person)) for f in (frames["original"], control))
        if shared := len(own & theirs):
            raise InputError(
                "TB-USE-003",
                f"--original and --control share {'a person' if shared == 1 else 'several people'}.",
                "A person in both is neither used nor unused, so no rate has a meaning.",
                "Hold the control out before synthesising: testbed split does it by person.",
            )


def _three(paths: Mapping[str, Any]) -> str:
    return "Give the table that was learnt from, the table to be released" + (
        ", and people who were held out." if "control" in paths else "."
    )


def _equal(first: str, second: str, say: Callable[[str], None]) -> None:
    """Raises `UsageError` if the control is one of the equal tables. A release equal to the original is judged."""
    if {first, second} == {"original", "synthetic"}:
        say(f"warning: {COPY}")
        return
    raise UsageError(
        "TB-USE-002",
        f"--{first} and --{second} hold the same table.",
        "A control holds people whom the generator never saw, so that what is learnt about anybody can be subtracted.",
        "Hold people out before synthesising: testbed split does it.",
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def same_rows(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether two tables hold the same rows, in any order. Most tables differ in their first columns already."""
    if one.shape != other.shape or set(one.columns) != set(other.columns):
        return False
    rows = [np.zeros(len(one), np.uint64), np.zeros(len(one), np.uint64)]
    for place, name in enumerate(one.columns):
        hashed = [_hashed(frame[name]) for frame in (one, other)]
        if not np.array_equal(np.sort(hashed[0]), np.sort(hashed[1])):
            return False
        for i in (0, 1):
            rows[i] += hashed[i] * np.uint64(2 * place + 3)
    return np.array_equal(np.sort(rows[0]), np.sort(rows[1])) and len(np.unique(rows[0])) >= DISTINCT


def _hashed(values: Any) -> Any:
    hashing: Any = _util.hash_pandas_object
    numbers = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    plain: Sequence[Any] = values.astype(float) if numbers else values.map(str)
    return hashing(pd.Series(plain), index=False).to_numpy()

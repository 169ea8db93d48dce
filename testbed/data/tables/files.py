"""Reading users' files, CSV or Parquet, as pandas tables; separator and decimal sign of a CSV file are recognised."""

from __future__ import annotations

import csv
import re
import uuid
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from testbed.core.errors import UsageError
from testbed.data.tables import spellings
from testbed.data.tables.encode import CODE, Series, as_numbers, checked
from testbed.data.tables.refusals import duplicate, empty, named, refuse

MISSING = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "<NA>", ".", "#N/A", "#NA"]
"""Texts in a CSV file that are read as missing values."""
LARGEST_CSV = 4 * 2**30
"""The largest CSV file that is read, in bytes."""
LINES_LOOKED_AT = 100
"""The number of first lines by which the separator is chosen."""
SEPARATORS = "\t;,"
"""Possible separators. If several fit, the first of them is chosen: a comma is then a decimal sign."""
COMMA_NUMBER = r"^[-+]?\d+(?:,\d+)?(?:[eE][-+]?\d+)?$"
THOUSANDS = r"^[-+]?\d{1,3}(?:,\d{3})+$"
LIMIT_COMMA = re.compile(r"^((?:[<>≤≥~]=?\s*)?[-+]?\d+),(\d+)")


def read_file(path: Path, role: str, person: str | None = None) -> pd.DataFrame:
    """The table in a CSV or Parquet file; a CSV file's person column stays text.

    Raises `UsageError` for a missing file or another kind of file, `InputError` for a file that cannot be read. No
    message holds a value of the file.
    """
    csv_ = partial(_read_csv, person=person)
    readers = {".parquet": pd.read_parquet, ".pq": pd.read_parquet, ".csv": csv_, ".tsv": csv_}
    if not path.is_file():
        raise UsageError(
            "TB-DATA-030", f"The {role} file does not exist.", f"{path.name} was not found.", "Check the path."
        )
    if path.suffix.lower() not in readers:
        raise UsageError(
            "TB-DATA-031",
            f"The {role} file is not of a kind that can be read.",
            f"Its name ends in {path.suffix}." if path.suffix else "Its name has no ending.",
            "Give CSV (.csv, .tsv) or Parquet (.parquet).",
        )
    size = path.stat().st_size
    if path.suffix.lower() in (".csv", ".tsv") and size > LARGEST_CSV:
        raise refuse(
            57,
            f"The {role} file is {size / 2**30:.1f} GiB of text.",
            f"Reading more than {LARGEST_CSV / 2**30:g} GiB of text takes many times that size in memory.",
            "Save it as Parquet, which is read column by column, or evaluate a random sample of people.",
        )
    try:
        frame = readers[path.suffix.lower()](path)
    except UnicodeDecodeError:
        raise refuse(
            32, f"The {role} file is not UTF-8 text.", "Bytes in it cannot be decoded.", "Save it as UTF-8 or Parquet."
        ) from None
    except pd.errors.EmptyDataError:
        raise empty(role) from None
    except _DuplicateNameError as error:
        raise duplicate(role, *error.places) from None
    except _LongRowError:
        raise refuse(
            54,
            f"The {role} file has rows with more fields than its header.",
            "A value may hold the separator without quotes, and values would then stand in the wrong columns.",
            "Put such values in quotes, name every column, or save the table as Parquet.",
        ) from None
    except _AmbiguousNumberError as error:
        raise refuse(
            55,
            f"Column {named([str(error)])} of the {role} file has commas that may be decimal signs or thousands marks.",
            "One reading is a thousand times as large as the other.",
            "Write decimal points, and no marks for thousands.",
        ) from None
    except Exception as error:
        # The reader's own message may quote the file, so only the kind of error is passed on.
        raise refuse(
            33,
            f"The {role} file cannot be read as {path.suffix[1:].upper()}.",
            f"The reader stopped with {type(error).__name__}.",
            "Check that the file is complete, and of the kind that its name says.",
        ) from None
    return checked(frame, role)


class _DuplicateNameError(Exception):
    def __init__(self, first: int, second: int) -> None:
        super().__init__("two columns of one name")
        self.places = first, second


class _LongRowError(Exception):
    pass


class _AmbiguousNumberError(Exception):
    pass


def _read_csv(path: Path, person: str | None = None) -> pd.DataFrame:
    first, separator, above = _first_line(path)
    if not first.strip():
        raise pd.errors.EmptyDataError
    header = next(csv.reader([first], delimiter=separator))
    # pandas would silently rename a second column of the same name.
    for i, name in enumerate(header):
        if name in header[:i]:
            raise _DuplicateNameError(header.index(name), i)
    frame = pd.read_csv(
        path,
        sep=separator,
        skiprows=above,
        encoding="utf-8-sig",
        keep_default_na=False,
        na_values=MISSING,
        low_memory=False,
        # Numbers exactly as in Parquet: the faster reader changes the last bit of a third of them, and it crashes on
        # codes such as 4e8185742103 (pandas issue 63650).
        float_precision="round_trip",  # type: ignore[arg-type]
        dtype={person: str} if person in header else None,
    )
    if not isinstance(frame.index, pd.RangeIndex):
        raise _LongRowError  # pandas takes additional fields for row labels
    # Codes with more digits than a float holds: pandas reads them as floats if a cell of the column is missing.
    large = [c for c in frame.columns if frame[c].dtype == np.float64 and (frame[c].abs() > 2**53).any()]
    if large:
        texts = read_text(path)[0][large]
        codes = [c for c in large if texts[c].str.match(CODE.pattern).any()]
        frame = frame.assign(**{c: texts[c].where(frame[c].notna(), None) for c in codes})
    for name in frame.columns:
        if name != person and frame[name].dtype == object:
            frame[name] = _decimal_commas(str(name), frame[name], separator)
    return frame


def _first_line(path: Path) -> tuple[str, str, int]:
    """The header line, the separator of its names, and the number of lines above it.

    A first line "sep=;", as Excel writes it, names the separator. Otherwise, if several occur in the header, the first
    that gives the following lines the same number of fields is chosen, or else the most frequent.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        first, *lines = [line.rstrip("\r\n") for line in islice(file, LINES_LOOKED_AT)] or [""]
    if declared := re.fullmatch(r"sep=(.)", first):
        return lines[0] if lines else "", declared[1], 1
    several = [s for s in SEPARATORS if s in first]
    agreed = [s for s in several if {len(row) for row in csv.reader(lines, delimiter=s) if row} == {_fields(first, s)}]
    return first, agreed[0] if len(several) > 1 and agreed else max(",;\t", key=first.count), 0


def _fields(line: str, separator: str) -> int:
    return len(next(csv.reader([line], delimiter=separator)))


def read_text(path: Path) -> tuple[pd.DataFrame, str]:
    """The cells of a CSV file as text, exactly as written, and the separator; for files that `read_file` accepts."""
    _, separator, above = _first_line(path)
    texts = pd.read_csv(path, sep=separator, skiprows=above, encoding="utf-8-sig", dtype=str, keep_default_na=False)
    return texts, separator


def _decimal_commas(name: str, values: Series, separator: str) -> Series:
    """A column with decimal commas as numbers, or with decimal points if some cells are words; others unchanged."""
    known = values.dropna().astype(str).str.strip()
    known = pd.Series(known.unique(), dtype=object)
    number = known.str.match(COMMA_NUMBER)
    marked = known[number & known.str.contains(",")]
    if not len(marked) or (number.sum() < max(spellings.ENOUGH, (1 - spellings.ODD) * len(known)) and not number.all()):
        return values
    if marked.str.match(THOUSANDS).all() and (separator == "," or len(marked) > 1):
        raise _AmbiguousNumberError(name)
    written = values.map(lambda v: LIMIT_COMMA.sub(r"\1.\2", str(v).strip()), na_action="ignore")
    return as_numbers(written) if number.all() else written


SUFFIXES = (".csv", ".parquet")


def write_table(path: Path, frame: pd.DataFrame, separator: str = ",") -> None:
    """Writes a table as CSV or Parquet, by the path's ending, whole or not at all.

    Raises `UsageError` if the file exists or cannot be written.
    """
    if path.exists():
        raise UsageError("TB-OUT-003", f"{path.name} exists already.", "It would be overwritten.", "Give another name.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staging = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        try:
            if path.suffix.lower() == ".parquet":
                frame.to_parquet(staging, index=False)
            else:
                frame.to_csv(staging, index=False, sep=separator)
            staging.rename(path)
        finally:
            staging.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(
            "TB-OUT-002", "The output cannot be written.", f"{error.strerror}.", "Choose a writable folder."
        ) from None

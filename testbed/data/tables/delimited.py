"""Reading text files with separators (CSV, TSV): the form is recognised, and numbers are read to their last bit."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from testbed.data.tables import layout, refusals, sources, spellings
from testbed.data.tables.encode import CODE, Series, as_numbers
from testbed.data.tables.layout import Layout
from testbed.data.tables.refusals import named, refuse
from testbed.data.tables.sources import Source

MISSING = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "<NA>", ".", "#N/A", "#NA"]
"""Texts in a CSV file that are read as missing values."""
COMMA_NUMBER = r"^[-+]?\d+(?:,\d+)?(?:[eE][-+]?\d+)?$"
THOUSANDS = r"^[-+]?\d{1,3}(?:,\d{3})+$"
LIMIT_COMMA = re.compile(r"^((?:[<>≤≥~]=?\s*)?[-+]?\d+),(\d+)")
FOREIGN = "^~¦§\x01\x1f"
"""Separators that are not read; a header of one column that holds one is refused."""


def read(path: Path, role: str, person: str | None, encoding: str | None) -> tuple[pd.DataFrame, list[str]]:
    """The table, and what was guessed or left out. The person column stays text."""
    source, found = _looked_through(path, role, encoding)
    if not found.names:
        raise pd.errors.EmptyDataError
    refusals.unique(found.names, role)
    frame = _parsed(source, found, person)
    if not isinstance(frame.index, pd.RangeIndex):
        raise long_rows(role)
    frame = _with_codes(frame, source, found)
    for name, dtype in frame.dtypes.items():
        if name != person and dtype.kind == "O":
            frame[name] = decimal_commas(str(name), frame[name], found.separator, role)
    notes = [sources.note(source, encoding), *found.notes()]
    return frame, [note for note in notes if note]


def as_written(path: Path, encoding: str | None = None) -> tuple[pd.DataFrame, str]:
    """The cells of a text file exactly as written, and its separator; for files that `read` accepts."""
    source, found = _looked_through(path, "original", encoding)
    return _parsed(source, found, None, dtype=str, na_values=[]), found.separator


def _looked_through(path: Path, role: str, encoding: str | None) -> tuple[Source, Layout]:
    source = sources.source(path, role, encoding)
    found = layout.of_text(source.head, source.tail, source.whole)
    if found.headless:
        raise no_names(role)
    if len(found.names) == 1:
        _one_column(source, role)
    return source, found


def no_names(role: str) -> Exception:
    """The error for a file whose lines above the table are not followed by a line of names."""
    return refuse(
        79,
        f"The {role} file has lines above its table, and no line of names after them.",
        "The first line has fewer fields than the others, and the next one is no line of names.",
        "Delete the lines above the table, and write the columns' names in the first line.",
    )


def long_rows(role: str) -> Exception:
    """The error for records with more fields than there are names."""
    return refuse(
        54,
        f"The {role} file has rows with more fields than its header.",
        "A value may hold the separator without quotes, and values would then stand in the wrong columns.",
        "Put such values in quotes, name every column, or save the table as Parquet.",
    )


def _one_column(source: Source, role: str) -> None:
    lines = layout.lines_of(source.head)[:100]
    for mark in FOREIGN:
        counts = {line.count(mark) for line in lines if line.strip()}
        if len(lines) > 1 and len(counts) == 1 and counts != {0}:
            raise refuse(
                84,
                f"The {role} file seems to have one column, and every line of it holds the sign U+{ord(mark):04X}.",
                "This sign probably separates the fields, and it is not one of the separators that are read.",
                "Separate fields by a comma, a semicolon, a tab or |, or save the table as Parquet.",
            )


def _parsed(source: Source, found: Layout, person: str | None, **options: Any) -> pd.DataFrame:
    text: Any = source.path
    if found.below:
        whole = source.text()
        cut = sum(map(len, layout.lines_of(whole[-sources.TAIL :])[-found.below :]))
        text = io.StringIO(whole[:-cut], newline="")
    elif source.packed:
        text = source.bytes_()
    settings: dict[str, Any] = {
        "na_values": MISSING,
        # Numbers exactly as in Parquet: the faster reader changes the last bit of a third of them, and it crashes on
        # codes such as 4e8185742103 (pandas issue 63650).
        "float_precision": "round_trip",
        "dtype": {person: str} if person in found.names else None,
    }
    return pd.read_csv(
        text,
        sep=found.separator,
        header=None,
        names=list(found.names),
        skiprows=found.first,
        encoding=source.encoding,
        keep_default_na=False,
        low_memory=False,
        **(settings | options),
    )


def _with_codes(frame: pd.DataFrame, source: Source, found: Layout) -> pd.DataFrame:
    """The frame with codes of more digits than a float holds as text: pandas reads them as floats beside a gap."""
    floats = [c for c, dtype in frame.dtypes.items() if dtype == np.float64]
    large = [c for c in floats if (frame[c].abs() > 2**53).any()]
    if not large:
        return frame
    texts = _parsed(source, found, None, dtype=str, na_values=[])[large]
    codes = [c for c in large if texts[c].str.match(CODE.pattern).any()]
    return frame.assign(**{c: texts[c].where(frame[c].notna(), None) for c in codes})


def decimal_commas(name: str, values: Series, separator: str, role: str) -> Series:
    """A column with decimal commas as numbers, or with decimal points if some cells are words; others unchanged."""
    known = values.dropna().astype(str).str.strip()
    known = pd.Series(known.unique(), dtype=object)
    number = known.str.match(COMMA_NUMBER)
    marked = known[number & known.str.contains(",")]
    if not len(marked) or (number.sum() < max(spellings.ENOUGH, (1 - spellings.ODD) * len(known)) and not number.all()):
        return values
    if marked.str.match(THOUSANDS).all() and (separator == "," or len(marked) > 1):
        raise refuse(
            55,
            f"Column {named([name])} of the {role} file has commas that may be decimal signs or thousands marks.",
            "One reading is a thousand times as large as the other.",
            "Write decimal points, and no marks for thousands. If its values are classes, declare it categorical "
            "(meta file).",
        )
    written = values.map(lambda v: LIMIT_COMMA.sub(r"\1.\2", str(v).strip()), na_action="ignore")
    return as_numbers(written) if number.all() else written

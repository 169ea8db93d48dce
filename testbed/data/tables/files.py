"""Reading users' files as pandas tables, whatever wrote them, and writing tables.

A text file, a workbook, a file of a statistics program, a Parquet file, or a folder of parts. Each family has its
own module. A reader says what it guessed, and which lines it left out.
"""

from __future__ import annotations

import difflib
import os
import uuid
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from testbed.core.errors import TestbedError, UsageError, missing_extra
from testbed.data.tables import columnar, delimited, sources, spreadsheets, statistical
from testbed.data.tables.encode import checked
from testbed.data.tables.refusals import empty, refuse

TEXTS = (".csv", ".tsv", ".tab", ".psv", ".txt", ".dat")
PARQUET = (".parquet", ".pq")
EXCEL = spreadsheets.ENDINGS
STATISTICAL = (*statistical.SPSS, *statistical.STATA, *statistical.SAS)
SUFFIXES = (*TEXTS, *PARQUET, *EXCEL, *STATISTICAL, *(f"{t}{p}" for t in TEXTS for p in sources.PACKED), ".zip")
"""The endings of the files that are read."""
KINDS = (
    "Give CSV (.csv, .tsv, .txt; also .gz, .bz2, .xz, .zst, .zip), Parquet (.parquet), Excel (.xlsx), "
    "SPSS (.sav), Stata (.dta) or SAS (.sas7bdat, .xpt)."
)


def read_file(
    path: Path,
    role: str,
    person: str | None = None,
    *,
    encoding: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> pd.DataFrame:
    """The table in a file, or in a folder of parts; the person column of a text file stays text.

    A sheet of a workbook is named as in `patients.xlsx#Sheet1`. `encoding` is the declared one of a text file. `say` is
    told what was guessed or left out, in words that quote nothing. Raises `UsageError` for a missing file or another
    kind of file, `InputError` for a file that cannot be read. No message holds a value of the file.
    """
    path, sheet = spreadsheets.sheet_of(path)
    kind = _kind(path, role)
    try:
        if sheet is not None:
            frame, notes = spreadsheets.read(path, role, person, sheet)
        else:
            frame, notes = _read(path, kind, role, person, encoding)
    except TestbedError:
        raise
    except pd.errors.EmptyDataError:
        raise empty(role) from None
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and (missing := missing_extra(error)):
            raise missing from None
        # The reader's own message may quote the file, so only the kind of error is passed on.
        raise refuse(
            33,
            f"The {role} file cannot be read as {kind[1:].upper()}.",
            f"The reader stopped with {type(error).__name__}.",
            "Check that the file is complete, and of the kind that its name says.",
        ) from None
    frame = checked(frame, role)
    for note in notes:
        say(f"{role}: {note}")
    return frame


def _kind(path: Path, role: str) -> str:
    """The ending by which a file is read; of a folder of parts that of its parts."""
    if path.is_dir():
        if not columnar.is_one_table(path):
            raise UsageError(
                "TB-DATA-074",
                f"The {role} is a folder, and no table in parts.",
                "A folder is one table if Spark or the like wrote it (part-0000.parquet, _SUCCESS).",
                "Give a file. Folders of linked tables are for testbed evaluate with --person.",
            )
        endings = {_ending(p.name) for p in columnar.parts(path)}
        if len(endings) == 1 and endings <= {*TEXTS, *PARQUET} and not (path / "_delta_log").exists():
            return endings.pop()
        raise UsageError(
            "TB-DATA-075",
            f"The {role} folder cannot be read as one table.",
            "It holds files of several kinds, none that is read, or a log that says which of them count.",
            "Give a folder of Parquet or CSV parts alone, or export the table as one file.",
        )
    if not path.exists():
        raise UsageError(
            "TB-DATA-030",
            f"The {role} file does not exist.",
            f"{path.name} was not found.",
            f"Check the path.{_near(path)}",
        )
    if not path.is_file():
        raise UsageError(
            "TB-DATA-076",
            f"The {role} is no file.",
            f"{path.name} is a device or a pipe, and it is read more than once.",
            "Save its output as a file.",
        )
    ending = _ending(sources.inner_name(path))
    packed = path.suffix.lower() in sources.PACKED
    if ending not in (TEXTS if packed else (*TEXTS, *PARQUET, *EXCEL, *STATISTICAL)):
        raise UsageError(
            "TB-DATA-031",
            f"The {role} file is not of a kind that can be read.",
            f"Its name ends in {path.suffix}." if path.suffix else "Its name has no ending.",
            KINDS,
        )
    return ending


def _ending(name: str) -> str:
    return Path(name).suffix.lower()


def _near(path: Path) -> str:
    """A hint at files with similar names in the same folder."""
    try:
        names = [p.name for p in path.parent.iterdir()]
    except OSError:
        return ""
    close = difflib.get_close_matches(path.name, names, 3, 0.7)
    return f" Perhaps: {', '.join(close)}." if close else ""


def _read(path: Path, kind: str, role: str, person: str | None, encoding: str | None) -> tuple[pd.DataFrame, list[str]]:
    if kind in PARQUET:
        return columnar.read(path, role), []
    if kind in EXCEL:
        return spreadsheets.read(path, role, person)
    if kind in STATISTICAL:
        return statistical.read(path, role, person)
    if path.is_dir():
        return _text_parts(path, role, person, encoding)
    return delimited.read(path, role, person, encoding)


def _text_parts(folder: Path, role: str, person: str | None, encoding: str | None) -> tuple[pd.DataFrame, list[str]]:
    """A folder of text files with the same names in their first lines, as one table."""
    read = [delimited.read(part, role, person, encoding) for part in columnar.parts(folder)]
    if len({tuple(frame.columns) for frame, _ in read}) > 1:
        raise refuse(
            77,
            f"The parts of the {role} folder have different first lines.",
            "They may have no line of names, or belong to different tables.",
            "Write the columns' names in the first line of every part (Spark: header = true).",
        )
    frame = pd.concat([frame for frame, _ in read], ignore_index=True)
    return frame, list(dict.fromkeys(note for _, notes in read for note in notes))


def of_text_parts(folder: Path) -> bool:
    """Whether a folder's files are text."""
    return any(_ending(p.name) in TEXTS for p in columnar.parts(folder))


def is_text(path: Path) -> bool:
    """Whether a file is text with separators, packed or not, whose cells can be copied as they are written."""
    return path.is_file() and _ending(sources.inner_name(path)) in TEXTS


def read_text(path: Path, encoding: str | None = None) -> tuple[pd.DataFrame, str]:
    """The cells of a CSV file as text, exactly as written, and the separator; for files that `read_file` accepts."""
    return delimited.as_written(path, encoding)


def writable(path: Path) -> None:
    """Raises `UsageError` now, before any work, if a file cannot be written later: it exists, or its folder is none."""
    if path.exists():
        raise UsageError("TB-OUT-003", f"{path.name} exists already.", "It would be overwritten.", "Give another name.")
    folder = next(p for p in path.absolute().parents if p.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        why = "Permission denied." if folder.is_dir() else f"{folder.name} is a file."
        raise UsageError("TB-OUT-002", "The output cannot be written.", why, "Choose a writable folder.")


def write_table(path: Path, frame: pd.DataFrame, separator: str = ",") -> None:
    """Writes a table as CSV or Parquet, by the path's ending, whole or not at all.

    Raises `UsageError` if the file exists or cannot be written.
    """
    writable(path)
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

"""Reading Excel workbooks (.xlsx, .xlsm) with openpyxl: the one sheet that holds a table, or the one that is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from testbed.core.errors import UsageError, perhaps
from testbed.data.tables import delimited, layout, refusals

ENDINGS = (".xlsx", ".xlsm")


def sheet_of(path: Path) -> tuple[Path, str | None]:
    """The workbook and the sheet that `patients.xlsx#Sheet1` names. Any other path stays as it is."""
    name, mark, sheet = path.name.rpartition("#")
    if not mark or path.exists() or not name.lower().endswith(ENDINGS):
        return path, None
    return path.with_name(name), sheet


def read(path: Path, role: str, person: str | None, sheet: str | None = None) -> tuple[pd.DataFrame, list[str]]:
    """The table of a workbook, and what was left out.

    Raises `UsageError` if several sheets hold cells and none is named, or if there is no `sheet` of this name.
    """
    import openpyxl

    book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    try:
        if sheet is not None and sheet not in book.sheetnames:
            raise UsageError(
                "TB-DATA-087",
                f"The {role} workbook has no sheet of the name that stands after #.",
                "Names of sheets are written exactly, with capitals and blanks.",
                f"{perhaps(sheet, book.sheetnames)} It has {len(book.sheetnames)} sheets.".strip(),
            )
        sheets = [rows for s in book.worksheets if sheet in (None, s.title) and (rows := _filled(s))]
    finally:
        book.close()
    if len(sheets) > 1:
        raise UsageError(
            "TB-DATA-073",
            f"The {role} is a workbook with {len(sheets)} sheets that hold cells.",
            "It is unclear which of them is the table.",
            f"Name the sheet after the file: {path.name}#Sheet1.",
        )
    if not sheets:
        raise pd.errors.EmptyDataError
    return framed(sheets[0], role, person)


def _filled(sheet: Any) -> list[list[Any]]:
    """The sheet's rows of cells to the last filled cell."""
    rows: list[list[Any]] = []
    for row in sheet.iter_rows(values_only=True):
        cells = list(row)
        while cells and cells[-1] is None:
            cells.pop()
        rows.append(cells)
    while rows and not rows[-1]:
        rows.pop()
    return rows


def framed(rows: list[list[Any]], role: str, person: str | None) -> tuple[pd.DataFrame, list[str]]:
    """Rows of cells as a table: the row of names is found, and rows above and below the table are left out."""
    texts = [["" if c is None else str(c) for c in row] for row in rows[: layout.ROWS]]
    found = layout.of_rows(texts)
    if found.headless:
        raise delimited.no_names(role)
    refusals.unique(found.names, role)
    last = [["" if c is None else str(c) for c in row] for row in rows[-layout.MOST_BELOW :]]
    below = layout.below(last, len(found.names), texts[found.first :], len(rows) <= layout.ROWS)
    width = len(found.names)
    records = [row + [None] * (width - len(row)) for row in rows[found.first : len(rows) - below] if row]
    if any(len(row) > width for row in records):
        raise delimited.long_rows(role)
    if not records:
        raise pd.errors.EmptyDataError
    frame = pd.DataFrame(dict(zip(found.names, map(list, zip(*records, strict=True)), strict=True)), dtype=object)
    for name in frame.columns:
        values = frame[name].map(lambda v: None if isinstance(v, str) and v.strip() in delimited.MISSING else v)
        if name == person:
            frame[name] = values.map(_as_text, na_action="ignore")
            continue
        values = values.infer_objects()
        frame[name] = delimited.decimal_commas(str(name), values, ";", role) if values.dtype == object else values
    notes = layout.replace(found, below=below).notes()
    return frame, notes


def _as_text(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)

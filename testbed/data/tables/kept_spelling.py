"""A changed table in the spelling of the file that it came from: cells that nobody changed are copied as text."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

LEADING_ZERO = re.compile(r"\s*0\d+\s*$")
COMMA = re.compile(r"\s*[-+]?\d+,\d+\s*$")
DECIMALS = re.compile(r"\d[.,]\d")


def codes(written: pd.DataFrame) -> list[str]:
    """The columns with digits after a zero, such as 06966: these are codes, and a number would lose the zero."""
    return [str(name) for name in written.columns if written[name].str.match(LEADING_ZERO).any()]


def kept(changed: pd.DataFrame, read: pd.DataFrame, written: pd.DataFrame) -> pd.DataFrame:
    """The `changed` table as text. Each cell with the value that was `read` is as it was `written` in the file.

    `read` and `written` have the same rows; `changed` has some of them, by their labels in `read`. A new number has the
    column's decimal sign, and no decimals if the column has none and it is whole. A gap is an empty text.
    """
    rows = read.index.get_indexer(changed.index)
    made = {name: _column(changed[name], read[name].iloc[rows], written[name].iloc[rows]) for name in changed.columns}
    return pd.DataFrame(made)


def _column(now: Any, before: Any, text: Any) -> list[str]:
    comma = bool(text.str.match(COMMA).any())
    whole = not text.str.contains(DECIMALS).any()
    cells: list[str] = []
    for new, old, as_text in zip(now, before, text, strict=True):
        same = (pd.isna(new) and pd.isna(old)) or (not pd.isna(new) and not pd.isna(old) and new == old)
        cells.append(str(as_text) if same else _text(new, comma, whole))
    return cells


def _text(value: Any, comma: bool, whole: bool) -> str:
    if pd.isna(value):
        return ""
    if isinstance(value, float | np.floating):
        text = str(int(value)) if whole and float(value).is_integer() else repr(float(value))
        return text.replace(".", ",") if comma else text
    return str(value)

"""A number changed inside its cell: its unit, its decimal sign and what else stands around it are kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from testbed.core import Array
from testbed.data.tables import numerals, quantities

MOSTLY = 0.9
"""The smallest share of one number each among the different texts of a column that can be changed in place."""
CLOCK = re.compile(r"\s*(\d{1,2}):([0-5]\d)(?::[0-5]\d(?:[.,]\d+)?)?\s*$")
"""A time of day, or hours and minutes."""


@dataclass(frozen=True, slots=True)
class Written:
    """The one number of a cell, and the text before and after it, without its sign."""

    before: str
    numeral: str
    after: str
    negative: bool

    def with_number(self, value: float, decimal: str) -> str:
        """The cell with another number, without marks between thousands."""
        return f"{self.before}{spelt(value, decimal)}{self.after}"


def spelt(value: float, decimal: str) -> str:
    """A number with this decimal sign, and no more decimals than it needs."""
    text = np.format_float_positional(value + 0.0, trim="-")
    return text.replace(".", decimal)


def written(text: str) -> Written | None:
    """The number of a cell that says one number; None for other texts and for limits such as <5."""
    text = text.translate(numerals.SIGNS)
    parsed = quantities.parse(text)
    if parsed is None or parsed.shape != "one" or parsed.open:
        return None
    numeral, negative = parsed.parts[0].numeral, parsed.parts[0].negative
    place = text.find(numeral)
    before, after = text[:place], text[place + len(numeral) :]
    if negative:
        if not before.rstrip().endswith("-"):  # a minus behind the number, or the brackets of accountants
            return None
        before = before.rstrip()[:-1]
    return Written(before, numeral, after, negative)


def texts(cells: Any) -> dict[str, Written] | None:
    """The different texts of a column that say one number each; None unless nearly all texts do."""
    different = {str(c) for c in pd.Series(cells).dropna().tolist() if re.search(r"\d", str(c))}
    found = {text: cell for text in different if (cell := written(text)) is not None}
    return found if found and len(found) >= MOSTLY * len(different) else None


def changed(cells: Any, known: Mapping[str, Written], change: Callable[[Array], list[tuple[float, ...]]]) -> list[Any]:
    """The cells with other numbers. `change` gives one number for each, or the two ends of a band `[a, b[`.

    Texts that say no number, or a limit, stay as they are.
    """
    decimal = numerals.consensus(cell.numeral for cell in known.values())
    signs = {text: -1.0 if cell.negative else 1.0 for text, cell in known.items()}
    values = np.array([signs[text] * numerals.value(cell.numeral, decimal or ".") for text, cell in known.items()])
    made: dict[str, str] = {}
    for (text, cell), new in zip(known.items(), change(values), strict=True):
        ends = [cell.with_number(value, decimal or ".").strip() for value in new]
        made[text] = ends[0] if len(ends) == 1 else f"[{', '.join(ends)}["
    return [cell if pd.isna(cell) else made.get(str(cell), cell) for cell in pd.Series(cells).tolist()]


def are_clocks(cells: Any) -> bool:
    """Whether nearly all different texts of a column are times of day, or hours and minutes."""
    different = pd.Series(cells).dropna().astype(str).unique()
    return len(different) > 0 and sum(CLOCK.match(t) is not None for t in different) >= MOSTLY * len(different)


def earlier(cell: Any, minutes: int) -> Any:
    """A time of day set back to the last full step of so many minutes; other cells stay as they are."""
    match = None if pd.isna(cell) else CLOCK.match(str(cell))
    if match is None:
        return cell
    at = (60 * int(match[1]) + int(match[2])) // minutes * minutes
    return f"{at // 60:0{len(match[1])}d}:{at % 60:02d}"

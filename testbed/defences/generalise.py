"""Coarser cells in a synthetic table: numbers in bands, dates without days, codes cut short.

`testbed evaluate` reads all three and puts original and control at the same level, so it needs no word of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from testbed.core import Array
from testbed.core.defence import Change, Changed, Draft
from testbed.core.errors import UsageError
from testbed.data.tables import in_place, spellings
from testbed.defences.registry import defence
from testbed.defences.tables import changed, chosen, numbers, with_columns, with_numbers

LEVELS: dict[str, Callable[[Any], Any]] = {
    "month": lambda days: days.dt.strftime("%Y-%m"),
    "quarter": lambda days: (
        days.dt.year.astype("Int64").astype("string") + "Q" + days.dt.quarter.astype("Int64").astype("string")
    ),
    "year": lambda days: days.dt.strftime("%Y"),
}
"""How a date is written at each level."""
CODE = re.compile(r"[^\W\d_]{0,4}\d[\w.\-/]*")
"""What a code looks like, such as I21.9, 223 45 or W12: up to four letters, then digits."""
DAY = 1440
"""The minutes of a day."""
MOSTLY = 0.9
"""The smallest share of codes among the different cells of a column of codes."""


@defence(where="table")
def bands(*, seed: int, width: float, columns: str = "") -> Change:
    """Write numbers as bands of this width (`[40, 45[`), in all columns of numbers or those named (`columns=age`).

    A heuristic (generalisation; Samarati and Sweeney 1998): it says less of each number, and a row of many bands is
    still a single person's. Columns of at most ten different values count as codes and stay.
    """
    if width <= 0:
        raise UsageError(
            "TB-DEFENCE-037",
            "The width of bands must be above 0.",
            "A band of no width is the number itself.",
            "Give, for example, bands:5,columns=age.",
        )

    def change(draft: Draft) -> Changed:
        names = chosen(draft, "numeric", columns, "bands")
        made = {name: with_numbers(name, draft.release[name], lambda values: _ends(values, width)) for name in names}
        return Changed(changed(draft, made, "other"), None, tuple(f"{n!r}: in bands of {width:g}" for n in names))

    return change


def _ends(values: Array, width: float) -> list[tuple[float, ...]]:
    low = np.round(np.floor(values / width) * width, 9) + 0.0
    return list(zip(low.tolist(), np.round(low + width, 9).tolist(), strict=True))


@defence(where="table")
def coarse_dates(*, seed: int, level: str = "month", columns: str = "") -> Change:
    """Write dates by `level` (month, quarter or year), in all columns of dates or those named (`columns=born/seen`).

    A heuristic, as `bands`.
    """
    if level not in LEVELS:
        raise UsageError(
            "TB-DEFENCE-038",
            "coarse_dates does not know this level.",
            "It says what is left of a date.",
            f"Use one of: {', '.join(LEVELS)}.",
        )

    def change(draft: Draft) -> Changed:
        names = chosen(draft, "date", columns, "coarse_dates")
        made: dict[str, Any] = {}
        for name in names:
            days: Any = pd.Series(pd.to_datetime(numbers(name, draft.release[name]), unit="D"))
            made[name] = LEVELS[level](days).astype(object).where(days.notna(), None).tolist()
        return Changed(changed(draft, made, "other"), None, tuple(f"{n!r}: by {level}" for n in names))

    return change


@defence(where="table")
def coarse_times(*, seed: int, minutes: int = 60, columns: str = "") -> Change:
    """Set times of day back to the last full step of `minutes`, in all columns of times or those named.

    A heuristic, as `rounding`: an attacker who knows the step sets own records back before comparing them.
    """
    if not 1 <= minutes <= DAY:
        raise UsageError(
            "TB-DEFENCE-060",
            f"The step of coarse_times must lie between 1 and {DAY} minutes.",
            "A day has no more, and without a step nothing changes.",
            "Give, for example, coarse_times:30.",
        )

    def change(draft: Draft) -> Changed:
        names = chosen(draft, "time", columns, "coarse_times")

        def coarser(people: pd.DataFrame) -> pd.DataFrame:
            made = {name: [in_place.earlier(cell, minutes) for cell in people[name]] for name in names}
            return with_columns(people, made)

        made = {name: coarser(draft.release)[name] for name in names}
        return Changed(changed(draft, made), coarser, tuple(f"{n!r}: by {minutes} minutes" for n in names))

    return change


@defence(where="table")
def short_codes(*, seed: int, length: int = 3, columns: str = "") -> Change:
    """Keep the first `length` signs of codes such as I21.9, in all columns of codes or those named (`columns=icd`).

    A heuristic, as `bands`. Without names, a column of codes is one of categories of which nine in ten different cells
    hold a digit within their first five signs. A column of numbers with at most ten different values is none.
    """
    if length < 1:
        raise UsageError(
            "TB-DEFENCE-039",
            "short_codes must keep one sign or more.",
            "Without any the column says nothing; drop it instead.",
            "Give, for example, short_codes:3.",
        )

    def change(draft: Draft) -> Changed:
        names = chosen(draft, "categorical", columns, "short_codes")
        names = names if columns else [n for n in names if _of_codes(draft.release[n], length)]
        made: dict[str, Any] = {
            name: [None if pd.isna(cell) else spellings.text(cell)[:length] for cell in draft.release[name]]
            for name in names
        }
        return Changed(changed(draft, made), None, tuple(f"{n!r}: cut to {length} signs" for n in names))

    return change


def _of_codes(cells: Any, length: int) -> bool:
    different = [spellings.text(cell) for cell in pd.Series(cells).dropna().unique()]
    long = [text for text in different if len(text) > length]
    return bool(long) and sum(CODE.match(t) is not None for t in different) >= MOSTLY * len(different)

"""Rounded numbers in a synthetic table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from testbed.core import Array
from testbed.core.defence import Change, Changed, Draft
from testbed.core.errors import UsageError
from testbed.defences.registry import defence
from testbed.defences.tables import changed, chosen, with_columns, with_numbers

MOST_DIGITS = 15
"""More significant digits than a float holds change nothing."""


@defence(where="table")
def rounding(*, seed: int, step: float, columns: str = "") -> Change:
    """Round numbers to multiples of `step`, in all columns of numbers or in those named (`columns=age/weight`).

    A heuristic: a released row of a single person stays near to this person. An attacker who knows the step rounds own
    records before comparing them. Columns of at most ten different values count as codes and stay. The step is in the
    unit in which a cell is written (56,4 kg); cells of several numbers (128/76) and limits (<5) stay.
    """
    if step <= 0:
        raise UsageError(
            "TB-DEFENCE-034",
            "The step of rounding must be above 0.",
            "Numbers cannot be rounded to multiples of 0.",
            "Give, for example, rounding:0.5, or significant_digits:2 for columns of different sizes.",
        )

    def to_step(values: Array) -> Array:
        return np.round(np.rint(values / step) * step, 12)

    return _on_numbers("rounding", columns, to_step, f"rounded to multiples of {step:g}")


@defence(where="table")
def significant_digits(*, seed: int, digits: int = 2, columns: str = "") -> Change:
    """Round numbers to `digits` significant digits, in all columns of numbers or in those named (`columns=age/weight`).

    A heuristic, as `rounding`. It suits tables whose columns are of different sizes: with two digits 0.1234 becomes
    0.12, and 1234 becomes 1200.
    """
    if not 1 <= digits <= MOST_DIGITS:
        raise UsageError(
            "TB-DEFENCE-035",
            f"The number of significant digits must lie between 1 and {MOST_DIGITS}.",
            "With none nothing is left of a number, and more than these change nothing.",
            "Give, for example, significant_digits:2.",
        )

    def to_digits(values: Array) -> Array:
        size = np.where((values == 0) | np.isnan(values), 1.0, np.abs(values))
        place = digits - 1 - np.floor(np.log10(size)).astype(int)
        return np.array([v if np.isnan(v) else round(float(v), int(p)) for v, p in zip(values, place, strict=True)])

    return _on_numbers("significant_digits", columns, to_digits, f"rounded to {digits} significant digits")


def _on_numbers(name: str, columns: str, rounded: Callable[[Array], Array], told: str) -> Change:
    def change(draft: Draft) -> Changed:
        names = chosen(draft, "numeric", columns, name)

        def alike(people: pd.DataFrame) -> pd.DataFrame:
            return _rounded(people, names, rounded)

        made = changed(draft, {n: _cells(draft.release, n, rounded) for n in names})
        return Changed(made, alike, tuple(f"{n!r}: {told}" for n in names))

    return change


def _rounded(people: pd.DataFrame, names: Sequence[str], rounded: Callable[[Array], Array]) -> pd.DataFrame:
    return with_columns(people, {n: _cells(people, n, rounded) for n in names})


def _cells(frame: pd.DataFrame, name: str, rounded: Callable[[Array], Array]) -> Any:
    return with_numbers(name, frame[name], lambda values: [(v,) for v in rounded(values) + 0.0])  # no minus zero

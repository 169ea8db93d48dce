"""The cells of one column in each table, as distinct texts, and what they are read as."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from testbed.core import Array
from testbed.data.tables import spellings

Series = Any
"""A pandas column; the type annotations of pandas are too wide to be useful."""
FEW_WORDS, PER_WORD = 5, 4
"""So many different words among numbers are codes for missing, whatever their share, if there are so many times as many
different numbers."""


@dataclass(frozen=True, slots=True)
class Texts:
    """The distinct texts of one table's column and the number of each row's text (-1 for a gap).

    `numbers` are the cells instead, where the column is one of numbers in its file.
    """

    different: tuple[str, ...]
    index: Array
    numbers: Array | None = None

    def counted(self) -> Counter[str]:
        """How many cells hold each text."""
        counts = np.bincount(self.index[self.index >= 0], minlength=len(self.different))
        return Counter(dict(zip(self.different, counts.tolist(), strict=True)))

    def values(self, known: Mapping[str, float]) -> Array:
        """The number of each row's text, NaN for texts without one."""
        if self.numbers is not None:
            return self.numbers
        return np.array([*(known.get(t, np.nan) for t in self.different), np.nan], dtype=np.float64)[self.index]


@dataclass(frozen=True, slots=True)
class Reading:
    """A column of numbers or dates by table, with its unit and, for the report, what was done and what is in doubt."""

    values: dict[str, Array]
    date: bool = False
    unit: str = ""
    told: tuple[str, ...] = ()
    flags: frozenset[str] = field(default_factory=frozenset[str])


def texts_of(values: Series) -> Texts:
    """A pandas column as its distinct texts; numbers stay numbers."""
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return Texts((), np.full(len(values), -1), values.to_numpy(np.float64, na_value=np.nan))
    index, different = factored(values)
    return Texts(tuple(different), index)


def factored(values: Series) -> tuple[Array, tuple[str, ...]]:
    """The number of each row's text, -1 for a gap, and the distinct texts."""
    if pd.api.types.is_extension_array_dtype(values.dtype) and pd.api.types.is_integer_dtype(values):
        values = values.astype("string").astype(object).where(values.notna(), None)  # floats would lose digits
    elif pd.api.types.infer_dtype(values, skipna=True) not in ("string", "empty"):
        values = values.map(spellings.text, na_action="ignore")
    index, different = pd.factorize(values)
    return index, tuple(different)


def suffice(fitting: int, cells: int, others: Mapping[str, int]) -> bool:
    """Whether the texts that fit, so many different ones in so many cells, make up a column despite the others.

    The others must be few, or codes for missing: few different words.
    """
    if fitting < spellings.ENOUGH:
        return False
    odd = sum(others.values())
    return odd <= spellings.ODD * (odd + cells) or (len(others) <= FEW_WORDS and fitting >= PER_WORD * len(others))

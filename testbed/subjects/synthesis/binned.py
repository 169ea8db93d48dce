"""Tables as records of bins and categories in one-hot coding, and back, for networks and private generators."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from testbed.core import Array
from testbed.data.tables import dates

BINS = 16
"""Bins of a number or date, apart from those for frequent values."""
LEVELS = 20
"""Categories of a column at most."""
MOST_WHOLE = 2.0**53
"""Whole numbers from this size on are not exact as floats."""
DECIMAL_COMMA = re.compile(r"\s*[-+]?\d+,\d+\s*")


@dataclass(frozen=True, slots=True)
class Binned:
    """The coding of a table: for each column the edges of its bins, or its categories; missing is one more category.

    It must be made from people who are not members, because edges and rare categories would reveal members. The code of
    a cell depends only on the cell and on this coding, not on other cells of its table: pandas may read 1 as a number,
    as 1.0 or as text, depending on the other cells of the column.
    """

    columns: dict[str, Array | tuple[Any, ...]]
    dates: dict[str, Any]
    """The dtype of each column whose numbers are days since 1970."""
    whole: frozenset[str]
    complete: frozenset[str]
    """Columns in which every cell of that table has a bin or a category of its own, and none is missing."""

    @staticmethod
    def of(frame: pd.DataFrame) -> Binned:
        """The coding made from this table.

        Numbers and dates have about 16 bins with equal counts, and a frequent value has a bin of its own. Other columns
        keep their 20 most frequent categories. A column of at most 20 distinct dates stays a category.
        """
        columns: dict[str, Array | tuple[Any, ...]] = {}
        dates: dict[str, Any] = {}
        whole: set[str] = set()
        complete: set[str] = set()
        for name in map(str, frame.columns):
            values = frame[name]
            cells = values.tolist()
            if _dated(cells):
                dates[name] = values.dtype
            if name in dates or _numeric(values):
                known = _days(cells) if name in dates else _numbers(cells)
                known = known[np.isfinite(known)]
                known = known if len(known) else np.zeros(1)
                if (known == np.round(known)).all() and np.abs(known).max() < MOST_WHOLE:
                    whole.add(name)
                columns[name] = _edges(known, name in whole)
            else:
                held: dict[str, list[Any]] = {}
                for cell in cells:
                    if (text := _spelt(cell)) is not None:
                        held.setdefault(text, []).append(cell)
                # The most frequent category first, each in its first spelling.
                columns[name] = tuple(v[0] for v in sorted(held.values(), key=len, reverse=True)[:LEVELS])
                if len(held) > LEVELS:
                    continue
            if not values.hasnans:
                complete.add(name)
        return Binned(columns, dates, frozenset(whole), frozenset(complete))

    @property
    def blocks(self) -> list[int]:
        """The number of codes of each column; the last code means missing or unknown."""
        return [len(c) + 1 if isinstance(c, tuple) else len(c) for c in self.columns.values()]

    @property
    def drawn(self) -> list[int]:
        """The number of codes of each column that a generator draws: without the last one for complete columns."""
        return [w - (name in self.complete) for name, w in zip(self.columns, self.blocks, strict=True)]

    def codes(self, frame: pd.DataFrame) -> Array:
        """The codes (n, columns), int, of a table: bins or categories."""
        coded: list[Array] = []
        for (name, column), width in zip(self.columns.items(), self.blocks, strict=True):
            cells = frame[name].tolist()
            if isinstance(column, tuple):
                place = {_spelt(v): i for i, v in enumerate(column)}
                coded.append(np.array([place.get(_spelt(v), width - 1) for v in cells], dtype=int))
            else:
                numbers = _days(cells) if name in self.dates else _numbers(cells)
                codes = np.clip(np.searchsorted(column, numbers, side="right") - 1, 0, len(column) - 2)
                codes[np.isnan(numbers)] = width - 1
                coded.append(codes)
        return np.stack(coded, 1)

    def table(self, codes: Array, rng: np.random.Generator) -> pd.DataFrame:
        """The table of these codes (n, columns); a number or date is drawn uniformly within its bin."""
        made: dict[str, Any] = {}
        for (name, column), width, own in zip(self.columns.items(), self.blocks, codes.T, strict=True):
            if isinstance(column, tuple):
                made[name] = [column[c] if c < len(column) else None for c in own]
                continue
            inside = np.minimum(own, len(column) - 2)
            low, high = column[inside], column[inside + 1]
            values = np.minimum(low + rng.random(len(own)) * (high - low), np.nextafter(high, low))
            values = np.floor(values) if name in self.whole else values
            gaps = own == width - 1
            if name in self.dates:
                made[name] = _moments(values, gaps, self.dates[name], name in self.whole)
                continue
            whole = name in self.whole and not gaps.any()
            made[name] = values.astype(np.int64) if whole else np.where(gaps, np.nan, values)
        return pd.DataFrame(made)

    def encode(self, frame: pd.DataFrame) -> Array:
        """The table as one-hot records (n, sum of `blocks`), float32."""
        codes = self.codes(frame)
        return np.concatenate([np.eye(w, dtype=np.float32)[c] for c, w in zip(codes.T, self.blocks, strict=True)], 1)

    def decode(self, records: Array, rng: np.random.Generator) -> pd.DataFrame:
        """The table of one-hot records, or of records in which the largest value of each column gives its code."""
        parts = np.split(records, np.cumsum(self.blocks)[:-1], axis=1)
        return self.table(np.stack([p.argmax(1) for p in parts], 1), rng)


def _numeric(values: Any) -> bool:
    return bool(pd.api.types.is_numeric_dtype(values)) and not pd.api.types.is_bool_dtype(values)


def _dated(cells: Sequence[Any]) -> bool:
    """Whether all known cells are dates, and too many distinct ones to be categories."""
    known = [cell for cell in cells if not pd.isna(cell)]
    return len(set(known)) > LEVELS and not np.isnan(_days(known)).any()


def _days(cells: Sequence[Any]) -> Array:
    """Each cell as days since 1970 (UTC), or NaN if it is not a date."""
    return np.array([_day(cell) for cell in cells], dtype=float)


def _day(cell: Any) -> float:
    try:
        return dates.day(cell.isoformat() if hasattr(cell, "isoformat") else cell)
    except ValueError:
        return float("nan")


def _moments(days: Array, gaps: Array, dtype: Any, whole: bool) -> Any:
    """Days as dates of this dtype, to the second, or as ISO 8601 text for other dtypes; `gaps` marks missing ones."""
    seconds = np.where(gaps, 0, np.floor(days * 86400)).astype("datetime64[s]")
    moments = pd.Series(np.where(gaps, np.datetime64("NaT"), seconds))
    if isinstance(dtype, pd.DatetimeTZDtype):
        return moments.dt.tz_localize("UTC").astype(dtype)
    if pd.api.types.is_datetime64_any_dtype(dtype):
        return moments.astype(dtype)
    return moments.dt.strftime("%Y-%m-%d" if whole else "%Y-%m-%d %H:%M:%S")


def _edges(known: Array, whole: bool) -> Array:
    """Ascending edges of bins at quantiles. A value that fills a bin alone has a bin up to the next number."""
    edges = np.quantile(known, np.linspace(0, 1, BINS + 1))
    edges = np.floor(edges) if whole else edges
    values, counts = np.unique(known, return_counts=True)
    alone = values[counts >= len(known) / BINS]
    after = alone + 1 if whole else np.nextafter(alone, np.inf)
    last = [edges[-1] + 1] if whole else []  # the largest number belongs to the last bin
    return np.unique(np.concatenate([edges, alone, after, last]))


def _numbers(cells: Sequence[Any]) -> Array:
    """Each cell as a number, or NaN if it is none."""
    return np.array([_number(cell) for cell in cells], dtype=float)


def _number(cell: Any) -> float:
    if isinstance(cell, str) and DECIMAL_COMMA.fullmatch(cell):
        cell = cell.replace(",", ".")
    try:
        return float(cell)
    except (TypeError, ValueError):
        return float("nan")


def _spelt(cell: Any) -> str | None:
    """A category as text, the same for its spellings (1, 1.0 and "01"; True and "TRUE"); None if missing."""
    if pd.isna(cell):
        return None
    if isinstance(cell, (bool, np.bool_)):
        return str(cell).lower()
    number = _number(cell)
    if number == number:
        return repr(number)
    text = str(cell).strip().removesuffix(" 00:00:00")
    return text.lower() if text.lower() in ("true", "false") else text

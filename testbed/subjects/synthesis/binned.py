"""Tables as one-hot records and back: what a network can learn the joint distribution of."""

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
LEVELS = 20
MOST_WHOLE = 2.0**53
DECIMAL_COMMA = re.compile(r"\s*[-+]?\d+,\d+\s*")


@dataclass(frozen=True, slots=True)
class Binned:
    """By column either the edges of its bins, or its categories; a missing value is a category of its own.

    They are made of people who are nobody's members, since edges and rare categories would give members away. The code
    of a cell follows from that cell and them alone, whatever else its table holds: in another table `1` may be read as
    a number, as `1.0` or as text, by what stands below it.
    """

    columns: dict[str, Array | tuple[Any, ...]]
    dates: dict[str, Any]
    """The dtype of each column whose numbers are days since 1970."""
    whole: frozenset[str]
    complete: frozenset[str]
    """Columns of which each value of that table has a bin or a category."""

    @staticmethod
    def of(frame: pd.DataFrame) -> Binned:
        """Some 16 bins of a number or date, of equal counts, frequent values by themselves; else 20 categories.

        Dates of which there are no more than 20 stay categories.
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
                # The most frequent first; of several spellings the first.
                columns[name] = tuple(v[0] for v in sorted(held.values(), key=len, reverse=True)[:LEVELS])
                if len(held) > LEVELS:
                    continue
            if not values.hasnans:
                complete.add(name)
        return Binned(columns, dates, frozenset(whole), frozenset(complete))

    @property
    def blocks(self) -> list[int]:
        """Categories of each column; the last one is a value that is missing or unknown."""
        return [len(c) + 1 if isinstance(c, tuple) else len(c) for c in self.columns.values()]

    @property
    def drawn(self) -> list[int]:
        """Categories of each column that a generator should draw: without the last where nobody would need it."""
        return [w - (name in self.complete) for name, w in zip(self.columns, self.blocks, strict=True)]

    def codes(self, frame: pd.DataFrame) -> Array:
        """By record and column the bin or category (n, columns), int."""
        made: list[Array] = []
        for (name, column), width in zip(self.columns.items(), self.blocks, strict=True):
            cells = frame[name].tolist()
            if isinstance(column, tuple):
                place = {_spelt(v): i for i, v in enumerate(column)}
                made.append(np.array([place.get(_spelt(v), width - 1) for v in cells], dtype=int))
            else:
                numbers = _days(cells) if name in self.dates else _numbers(cells)
                codes = np.clip(np.searchsorted(column, numbers, side="right") - 1, 0, len(column) - 2)
                codes[np.isnan(numbers)] = width - 1
                made.append(codes)
        return np.stack(made, 1)

    def table(self, codes: Array, rng: np.random.Generator) -> pd.DataFrame:
        """A table of codes (n, columns); a number or date is drawn evenly within its bin."""
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
        """One-hot records (n, total), float32."""
        codes = self.codes(frame)
        return np.concatenate([np.eye(w, dtype=np.float32)[c] for c, w in zip(codes.T, self.blocks, strict=True)], 1)

    def decode(self, records: Array, rng: np.random.Generator) -> pd.DataFrame:
        """The table of one-hot records, or of records that favour one category of each column."""
        parts = np.split(records, np.cumsum(self.blocks)[:-1], axis=1)
        return self.table(np.stack([p.argmax(1) for p in parts], 1), rng)


def _numeric(values: Any) -> bool:
    return bool(pd.api.types.is_numeric_dtype(values)) and not pd.api.types.is_bool_dtype(values)


def _dated(cells: Sequence[Any]) -> bool:
    """Whether all that is there are dates, and too many to be categories."""
    known = [cell for cell in cells if not pd.isna(cell)]
    return len(set(known)) > LEVELS and not np.isnan(_days(known)).any()


def _days(cells: Sequence[Any]) -> Array:
    """Each cell as days since 1970 (UTC), NaN where it is no date."""
    return np.array([_day(cell) for cell in cells], dtype=float)


def _day(cell: Any) -> float:
    try:
        return dates.day(cell.isoformat() if hasattr(cell, "isoformat") else cell)
    except ValueError:
        return float("nan")


def _moments(days: Array, gaps: Array, dtype: Any, whole: bool) -> Any:
    """Dates of that dtype, or ISO 8601 as text, to the second."""
    seconds = np.where(gaps, 0, np.floor(days * 86400)).astype("datetime64[s]")
    moments = pd.Series(np.where(gaps, np.datetime64("NaT"), seconds))
    if isinstance(dtype, pd.DatetimeTZDtype):
        return moments.dt.tz_localize("UTC").astype(dtype)
    if pd.api.types.is_datetime64_any_dtype(dtype):
        return moments.astype(dtype)
    return moments.dt.strftime("%Y-%m-%d" if whole else "%Y-%m-%d %H:%M:%S")


def _edges(known: Array, whole: bool) -> Array:
    """Ascending edges of quantiles; a value that fills a bin alone has one from itself to the next number."""
    edges = np.quantile(known, np.linspace(0, 1, BINS + 1))
    edges = np.floor(edges) if whole else edges
    values, counts = np.unique(known, return_counts=True)
    alone = values[counts >= len(known) / BINS]
    after = alone + 1 if whole else np.nextafter(alone, np.inf)
    last = [edges[-1] + 1] if whole else []  # the largest number belongs to the last bin
    return np.unique(np.concatenate([edges, alone, after, last]))


def _numbers(cells: Sequence[Any]) -> Array:
    """Each cell as a number, NaN where it is none."""
    return np.array([_number(cell) for cell in cells], dtype=float)


def _number(cell: Any) -> float:
    if isinstance(cell, str) and DECIMAL_COMMA.fullmatch(cell):
        cell = cell.replace(",", ".")
    try:
        return float(cell)
    except (TypeError, ValueError):
        return float("nan")


def _spelt(cell: Any) -> str | None:
    """One spelling of a category, None of a gap: 1, 1.0 and "01" are alike, and so are True and "TRUE"."""
    if pd.isna(cell):
        return None
    if isinstance(cell, (bool, np.bool_)):
        return str(cell).lower()
    number = _number(cell)
    if number == number:
        return repr(number)
    text = str(cell).strip().removesuffix(" 00:00:00")
    return text.lower() if text.lower() in ("true", "false") else text

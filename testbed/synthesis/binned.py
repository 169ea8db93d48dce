"""Tables as one-hot records and back: what a network can learn the joint distribution of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from testbed.core import Array

BINS = 16
LEVELS = 20


@dataclass(frozen=True, slots=True)
class Binned:
    """By column either the edges of its bins, or its categories; a missing value is a category of its own.

    They are made of people who are nobody's members, since edges and rare categories would give members away.
    """

    columns: dict[str, Array | tuple[str, ...]]
    whole: frozenset[str]
    complete: frozenset[str]
    """Columns of which each value of that table has a bin or a category."""

    @staticmethod
    def of(frame: pd.DataFrame) -> Binned:
        """At most 16 bins of equal counts of a number, and the 20 most frequent categories of anything else."""
        columns: dict[str, Array | tuple[str, ...]] = {}
        whole: set[str] = set()
        complete: set[str] = set()
        for name in map(str, frame.columns):
            values = frame[name]
            if _numeric(values):
                known = np.asarray(values.dropna(), dtype=float)
                known = known if len(known) else np.zeros(1)
                edges = np.quantile(known, np.linspace(0, 1, BINS + 1))
                if (known == np.round(known)).all():
                    whole.add(name)
                    edges = np.floor(edges)
                    edges[-1] += 1  # the largest number belongs to the last bin
                edges = np.unique(edges)
                columns[name] = edges if len(edges) > 1 else np.array([edges[0], edges[0] + 1])
            else:
                counts: Any = values.dropna().astype(str).value_counts()
                columns[name] = tuple(str(v) for v in counts.index[:LEVELS])
            if not values.hasnans and (_numeric(values) or values.nunique() <= LEVELS):
                complete.add(name)
        return Binned(columns, frozenset(whole), frozenset(complete))

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
            if isinstance(column, tuple):
                place = {v: i for i, v in enumerate(column)}
                codes: Array = np.array([place.get(str(v), width - 1) for v in frame[name].tolist()], dtype=int)
            else:
                numbers = np.asarray(pd.to_numeric(frame[name], errors="coerce"), dtype=float)
                codes = np.clip(np.searchsorted(column, numbers, side="right") - 1, 0, len(column) - 2)
                codes[np.isnan(numbers)] = width - 1
            made.append(codes)
        return np.stack(made, 1)

    def table(self, codes: Array, rng: np.random.Generator) -> pd.DataFrame:
        """A table of codes (n, columns); a number is drawn evenly within its bin."""
        made: dict[str, Any] = {}
        for (name, column), width, own in zip(self.columns.items(), self.blocks, codes.T, strict=True):
            if isinstance(column, tuple):
                made[name] = [column[c] if c < len(column) else None for c in own]
                continue
            inside = np.minimum(own, len(column) - 2)
            values = column[inside] + rng.random(len(own)) * (column[inside + 1] - column[inside])
            values = np.floor(values) if name in self.whole else values
            gaps = own == width - 1
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

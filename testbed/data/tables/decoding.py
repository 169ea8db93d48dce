"""A `core.Table` as a pandas table, for generators, and a generated pandas table as a `core.Table`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from testbed.core import Array, Column, Table
from testbed.data.tables import spellings


def decoded(table: Table) -> pd.DataFrame:
    """A table as pandas: numbers unchanged, categories by their names, dates as days."""
    columns: dict[str, object] = {}
    for column, values in zip(table.columns, table.values, strict=True):
        if column.kind == "numeric":
            columns[column.name] = values
            continue
        levels = np.array([*column.levels, None], dtype=object)  # a missing value has code -1, the last entry
        columns[column.name] = levels[np.where(values < len(column.levels), values, -1)]
    return pd.DataFrame(columns)


def coded(frame: pd.DataFrame, columns: tuple[Column, ...]) -> Table:
    """The inverse of `decoded`: a generated frame in the codes of these columns; each row is a person of its own."""
    values: list[Array] = []
    for column in columns:
        cells: Any = frame[column.name]
        if column.kind == "numeric":
            values.append(np.asarray(pd.to_numeric(cells), dtype=np.float64))
        else:
            codes = pd.Index(column.levels).get_indexer(cells.map(spellings.text, na_action="ignore"))
            values.append(np.where(np.asarray(cells.isna()), -1, codes).astype(np.int32))
    return Table(columns, tuple(values), np.array([f"synthetic {i}" for i in range(len(frame))]))

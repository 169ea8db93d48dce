"""A `core.Table` as pandas, as generators take it, and what they make of it in its codes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from testbed.core import Array, Column, Table
from testbed.data.tables import spellings


def decoded(table: Table) -> pd.DataFrame:
    """A table as pandas: numbers as they are, categories by their names; dates stay days."""
    made: dict[str, object] = {}
    for column, values in zip(table.columns, table.values, strict=True):
        if column.kind == "numeric":
            made[column.name] = values
            continue
        levels = np.array([*column.levels, None], dtype=object)  # a missing value has code -1, the last entry
        made[column.name] = levels[np.where(values < len(column.levels), values, -1)]
    return pd.DataFrame(made)


def coded(frame: pd.DataFrame, columns: tuple[Column, ...]) -> Table:
    """The inverse of `decoded`: a generated frame in the codes of those columns, each row for itself."""
    values: list[Array] = []
    for column in columns:
        given: Any = frame[column.name]
        if column.kind == "numeric":
            values.append(np.asarray(pd.to_numeric(given), dtype=np.float64))
        else:
            codes = pd.Index(column.levels).get_indexer(given.map(spellings.text, na_action="ignore"))
            values.append(np.where(np.asarray(given.isna()), -1, codes).astype(np.int32))
    return Table(columns, tuple(values), np.array([f"synthetic {i}" for i in range(len(frame))]))

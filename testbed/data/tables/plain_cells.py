"""A table with plain numbers and dates in place of their spellings, for generators, which read no others.

A generator takes `3.834,99` or `56,4 kg` for categories, and releases nothing but cells of the original.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from testbed.data.tables.cells import texts_of
from testbed.data.tables.described import looks_like_quantities
from testbed.data.tables.one_column import as_quantity


def plain_cells(frame: pd.DataFrame, person: str | None, say: Callable[[str], None]) -> pd.DataFrame:
    """The table with its columns of text read as numbers or dates where they are; the person's column is kept.

    `say` is told of each column that holds numbers but is not read as one number a cell.
    """
    read = frame.copy()
    for name in frame.columns:
        values: Any = frame[name]
        if name == person or pd.api.types.is_numeric_dtype(values) or pd.api.types.is_datetime64_any_dtype(values):
            continue
        found = as_quantity(name, {"original": values, "synthetic": values})
        if found is not None:
            cells = found.values["original"]
            whole = pd.Series(pd.to_datetime(cells, unit="D") if found.column.date else cells, frame.index)
            read[name] = _dated(whole) if found.column.date else whole
        elif looks_like_quantities(list(texts_of(values).counted()), int(values.notna().sum())):
            say(f"warning: column {name!r} holds numbers that are not read, so its cells are released as they are")
    return read


def _dated(moments: Any) -> Any:
    """Dates as ISO 8601 text, without a time of day where none has one."""
    moments = moments.dt.round("s")
    midnight = bool((moments.dropna().dt.normalize() == moments.dropna()).all())
    texts: Any = moments.dt.strftime("%Y-%m-%d" if midnight else "%Y-%m-%dT%H:%M:%S")
    return texts.where(moments.notna(), None)

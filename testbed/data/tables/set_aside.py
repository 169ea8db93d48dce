"""Columns that are not attributes: the person's and dropped ones. They are searched for identifiers, not evaluated."""

from __future__ import annotations

from typing import cast

import numpy as np
import pandas as pd

from testbed.core import Array, Column, Table
from testbed.data.tables.cells import Series
from testbed.data.tables.encode import Frames, Meta
from testbed.data.tables.one_column import categories, plain


def left_out(
    original: pd.DataFrame, synthetic: pd.DataFrame, control: pd.DataFrame | None, meta: Meta, encoded: Frames
) -> Frames | None:
    """The person column and the dropped columns as tables, with the persons of `encoded`; None if there are none.

    Only columns that all tables have are used. A release may recode them, so each value is read as text, unless all
    values are numbers. The tables need not share any value.
    """
    frames = {"original": original, "synthetic": synthetic} | ({} if control is None else {"control": control})
    wanted = dict.fromkeys([*(name for name, kind in meta.kinds.items() if kind == "drop"), meta.person])
    names = [n for n in wanted if n is not None and all(n in f.columns and f[n].notna().any() for f in frames.values())]
    if not names:
        return None
    columns: list[Column] = []
    values: dict[str, list[Array]] = {role: [] for role in frames}
    for name in names:
        series = {role: plain(cast(Series, frame[name])) for role, frame in frames.items()}
        if all(pd.api.types.is_numeric_dtype(c) and (c.dropna().abs() < 2**53).all() for c in series.values()):
            column = Column(name, "numeric")
            coded = {role: c.to_numpy(np.float64, na_value=np.nan) for role, c in series.items()}
        else:
            texts = {role: c.map(str, na_action="ignore").astype(object) for role, c in series.items()}
            encoded_ = categories(name, texts, compared=False)
            column, coded = encoded_.column, encoded_.values
        columns.append(column)
        for role, array in coded.items():
            values[role].append(array)
    return _tables(columns, values, encoded)


def as_written(
    original: pd.DataFrame, synthetic: pd.DataFrame, control: pd.DataFrame | None, encoded: Frames
) -> Frames | None:
    """The columns of which `encoded` keeps numbers alone, as texts; None if there are none."""
    frames = {"original": original, "synthetic": synthetic} | ({} if control is None else {"control": control})
    columns: list[Column] = []
    values: dict[str, list[Array]] = {role: [] for role in frames}
    for name in encoded.taken_apart:
        texts = {role: frame[name].map(str, na_action="ignore").astype(object) for role, frame in frames.items()}
        read = categories(name, texts, compared=False)
        columns.append(read.column)
        for role, array in read.values.items():
            values[role].append(array)
    return _tables(columns, values, encoded) if columns else None


def _tables(columns: list[Column], values: dict[str, list[Array]], encoded: Frames) -> Frames:
    """Tables of these columns, with the people of `encoded`."""
    first, released, others = (
        None if people is None else Table(tuple(columns), tuple(values[role]), people.persons)
        for role, people in (
            ("original", encoded.original),
            ("synthetic", encoded.synthetic),
            ("control", encoded.control),
        )
    )
    assert first is not None
    assert released is not None
    return Frames(first, released, others)

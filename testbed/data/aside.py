"""Columns that are no attributes, the person's and those that are dropped: not evaluated, but searched."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pandas as pd

from testbed.data.tables import Frames, Meta, Series, encode


def left_out(
    original: pd.DataFrame, synthetic: pd.DataFrame, control: pd.DataFrame | None, meta: Meta, encoded: Frames
) -> Frames | None:
    """Those that all tables have, with the same people behind the rows as in `encoded`; None where there are none."""
    frames = [original, synthetic, *([] if control is None else [control])]
    wanted = dict.fromkeys([*(name for name, kind in meta.kinds.items() if kind == "drop"), meta.person])
    names = [n for n in wanted if n is not None and all(n in f.columns and f[n].notna().any() for f in frames)]
    if not names:
        return None
    kinds: dict[str, str] = {}
    parts = [cast(pd.DataFrame, frame[names].copy()) for frame in frames]
    for name in names:
        columns = [cast(Series, part[name]) for part in parts]
        numeric = all(pd.api.types.is_numeric_dtype(c) and (c.dropna().abs() < 2**53).all() for c in columns)
        kinds[name] = "numeric" if numeric else "categorical"
        for part, column in [] if numeric else zip(parts, columns, strict=True):
            part[name] = column.map(str, na_action="ignore").astype(object)
    found = encode(parts[0], parts[1], parts[2] if control is not None else None, Meta(None, kinds))
    apart = found.control and encoded.control and replace(found.control, persons=encoded.control.persons)
    return Frames(
        replace(found.original, persons=encoded.original.persons),
        replace(found.synthetic, persons=encoded.synthetic.persons),
        apart,
    )

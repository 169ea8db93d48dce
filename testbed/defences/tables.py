"""What defences of a synthetic table share: which columns they change, and how a column's cells are read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from testbed.core import Array
from testbed.core.defence import Draft
from testbed.core.errors import UsageError
from testbed.data.tables import in_place
from testbed.data.tables.one_column import as_quantity

FEW = 10
"""A column of numbers with at most so many different values holds codes, such as 0 and 1: it counts as categories."""
BETWEEN = "/"
"""What stands between the names of several columns in a parameter."""
WORDS = {
    "numeric": "numbers",
    "date": "dates",
    "time": "times of day",
    "categorical": "categories",
    "several": "several numbers in each cell, durations or bands",
}


def kind_of(name: str, cells: Any, declared: str | None = None) -> str:
    """The kind of a column as a defence sees it: numeric, date, time (of day), several or categorical.

    Several stands for texts with more than one number each, such as 128/76, P3DT4H and 40-49. The kind is other if the
    column was declared as dropped, or as a kind that its cells cannot be read as.
    """
    if declared in ("drop", "categorical"):
        return "other" if declared == "drop" else "categorical"
    found = as_quantity(name, {"original": cells, "synthetic": cells})
    kind = "categorical" if found is None else "date" if found.column.date else "numeric"
    if kind == "numeric" and not pd.api.types.is_numeric_dtype(cells) and in_place.texts(cells) is None:
        kind = "time" if in_place.are_clocks(cells) else "several"
    if declared is not None:
        return kind if declared == kind or (declared == "numeric" and kind in ("time", "several")) else "other"
    few = found is not None and kind == "numeric" and pd.Series(found.values["synthetic"]).nunique() <= FEW
    return "categorical" if few else kind


def drafted(
    release: pd.DataFrame,
    original: pd.DataFrame | None = None,
    control: pd.DataFrame | None = None,
    declared: Mapping[str, str] | None = None,
    person: str | None = None,
) -> Draft:
    """A synthetic table before its defences. `declared` are kinds of columns that the owner gives.

    No defence changes the person's column.
    """
    told = {**(declared or {}), **({person: "drop"} if person is not None else {})}
    kinds = {str(name): kind_of(str(name), release[name], told.get(str(name))) for name in release.columns}
    return Draft(release, kinds, original, control, declared or {}, person)


def chosen(draft: Draft, kind: str, columns: str, defence: str) -> list[str]:
    """The columns of this kind that `columns` names, or all of this kind if it is empty.

    Raises `UsageError` for a name that the table does not have or a column of another kind, and if there is none.
    """
    everything = [name for name, known in draft.kinds.items() if known == kind]
    if not columns:
        if not everything:
            raise UsageError(
                "TB-DEFENCE-031",
                f"{defence} finds no column to change.",
                f"It changes {WORDS[kind]}, and no column of this table was read as such.",
                "Give the kinds of the columns in a meta file (testbed describe-table shows them), or leave it out.",
            )
        return everything
    return [_named(draft, kind, name, defence) for name in columns.split(BETWEEN)]


def _named(draft: Draft, kind: str, text: str, defence: str) -> str:
    found = [name for name in draft.kinds if text in (name, re.sub(r"\W", "_", name))]
    if len(found) != 1:
        raise UsageError(
            "TB-DEFENCE-032",
            f"{defence} cannot tell which column is meant by {text!r}.",
            "The table has no column of this name, or several.",
            f"Name columns as in {defence}:columns=age{BETWEEN}weight. A sign that is no letter or digit is written _.",
        )
    if draft.kinds[found[0]] != kind:
        raise UsageError(
            "TB-DEFENCE-033",
            f"{defence} does not change the column {found[0]!r}.",
            f"It changes {WORDS[kind]}. This column was read as {WORDS.get(draft.kinds[found[0]], 'nothing')}.",
            "Name another column, or give its kind in a meta file.",
        )
    return found[0]


def numbers(name: str, cells: Any) -> Array:
    """The cells (n,) as numbers, dates as days since 1970; NaN for gaps. Codes for missing values are gaps."""
    found = as_quantity(name, {"original": cells, "synthetic": cells})
    return np.full(len(cells), np.nan) if found is None else found.values["synthetic"]


def with_numbers(name: str, cells: Any, change: Callable[[Array], list[tuple[float, ...]]]) -> Any:
    """The cells after a change of their numbers: each becomes one number, or the two ends of a band `[a, b[`.

    Texts keep their unit and their decimal sign, and are changed in the unit in which each is written.
    """
    known = None if pd.api.types.is_numeric_dtype(cells) else in_place.texts(cells)
    if known is not None:
        gaps = {str(cell) for cell in pd.Series(cells)[np.isnan(numbers(name, cells))]}  # codes for missing values stay
        return in_place.changed(cells, {text: cell for text, cell in known.items() if text not in gaps}, change)
    made = change(numbers(name, cells))
    if all(len(ends) == 1 for ends in made):
        return np.array([ends[0] for ends in made], dtype=float)
    return [None if np.isnan(ends[0]) else f"[{', '.join(in_place.spelt(e, '.') for e in ends)}[" for ends in made]


def with_columns(frame: pd.DataFrame, made: Mapping[str, Any]) -> pd.DataFrame:
    """The table with these columns in the place of its own."""
    return frame.assign(**{name: pd.Series(cells, index=frame.index) for name, cells in made.items()})


def changed(draft: Draft, made: Mapping[str, Any], kind: str | None = None) -> Draft:
    """The draft with these released columns, which are of another `kind` from now on, if one is given."""
    kinds = {**draft.kinds, **(dict.fromkeys(made, kind) if kind else {})}
    return replace(draft, release=with_columns(draft.release, made), kinds=kinds)

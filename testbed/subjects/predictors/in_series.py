"""Several rows of one person that no column names, seen by rows that follow each other and are alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from testbed.core import Array
from testbed.core.errors import InputError

ALIKE = 0.6
"""Rank correlation of a value with that of the next row, within a class, from which rows are in series."""
SORTED = 0.9
"""Share of steps in one direction from which a table is merely sorted by a column."""
FEWEST = 50
"""Rows from which this is looked at."""
VARIED = 10
"""Distinct values of a column that is looked at: codes of few values may follow from how a table is sorted."""
WAYS_OUT = "If each row is another person, shuffle the rows of each table."
TWINS, APART = 0.2, 0.02
"""Share of rows with an equal row in their own arm, from which rows are several of one person if at most `APART` of
them have one in the other arm."""
WRITTEN, DIGITS, SURE = 6, 9, 0.9999
"""Decimals from which equal answers are no accident, decimals that are looked at, and the surest answer that counts."""


def check(values: pd.DataFrame, labels: Any, role: str, least: int, name_them: str) -> None:
    """Raises `InputError` if rows that follow each other are alike in `least` columns, as several rows of a person are.

    Rows of one person on both sides of a fold let an attacker recognise the person and not the training. Then nothing
    that is found is about the model. `name_them` says how persons are named.
    """
    if len(values) < FEWEST:
        return
    classes = pd.factorize(pd.Series(np.asarray(labels)))[0]
    classes = classes if classes.max() < VARIED else np.zeros_like(classes)  # a number is no class
    found = sum(_in_series(values[column], classes) for column in values.columns)
    if found >= least:
        raise InputError(
            "TB-SUBJECT-076",
            f"Several rows of the {role} seem to belong to one person: rows that follow each other are alike.",
            "No column says whose they are. An attacker would recognise a person by other rows of the same person, "
            "and that would look like a leak of the model.",
            f"{name_them} {WAYS_OUT}",
        )


def check_twins(values: Any, labels: Any, member: Array, name_them: str) -> None:
    """Raises `InputError` if many answers, in members and in controls, are equal to others of their own arm alone.

    A model gives equal answers to different people if they are alike to it, whichever arm they are in. Answers that are
    written with few decimals, or are all but sure, are left out: those are equal by their form.
    """
    answers = np.asarray(values, dtype=np.float64)
    exact = (np.abs(np.round(answers, WRITTEN - 1) - answers) > 10.0**-DIGITS).any(1) & (np.abs(answers).max(1) < SURE)
    keys = np.column_stack([answers, pd.factorize(pd.Series(np.asarray(labels)))[0]])[exact]
    arm, same = member[exact].astype(int), np.unique(keys, axis=0, return_inverse=True)[1].ravel()
    if min(arm.sum(), len(arm) - arm.sum()) < FEWEST:
        return
    count = np.stack([np.bincount(same, arm == side, same.max() + 1) for side in (0, 1)])
    own, both = count[arm, same] > 1, count[1 - arm, same] > 0
    if any(own[arm == side].mean() < TWINS or both[arm == side].mean() > APART for side in (0, 1)):
        return
    raise InputError(
        "TB-SUBJECT-080",
        "Several rows of the predictions seem to belong to one person: equal answers stand in one arm alone.",
        "An attacker would recognise a person by other rows of the same person, and that would look like a leak of the "
        "model.",
        name_them,
    )


def _in_series(column: Any, classes: Array) -> bool:
    if not pd.api.types.is_numeric_dtype(column) or column.nunique() < VARIED:
        return False
    ranks = column.rank().fillna(0)
    steps = np.diff(ranks)
    moved = max((steps > 0).sum(), (steps < 0).sum()) / max(1, (steps != 0).sum())
    apart: Array = (ranks - ranks.groupby(classes).transform("mean")).to_numpy()
    if moved > SORTED or not apart.std() > 0:
        return False
    return float(np.corrcoef(apart[1:], apart[:-1])[0, 1]) > ALIKE

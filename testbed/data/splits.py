"""Splitting people into groups, such as those whose records are used and those who are held out."""

from __future__ import annotations

import numpy as np
import pandas as pd

from testbed.core.errors import UsageError
from testbed.core.randomness import keyed_rng


def check_person(frame: pd.DataFrame, person: str | None) -> None:
    """Raises `UsageError` if a person column is named that the table does not have."""
    if person is not None and person not in frame.columns:
        raise UsageError(
            "TB-SPLIT-002",
            f"There is no column called {person!r}.",
            "It was named as the person's identifier.",
            "Name an existing column, or leave --person out if each row is one person.",
        )


def split_people(
    frame: pd.DataFrame, fractions: dict[str, float], person: str | None = None, seed: int = 0
) -> dict[str, pd.DataFrame]:
    """Random parts of a table by name; all rows of one person are in the same part.

    `fractions` are shares of the people and sum to at most 1. Raises `UsageError` if the person column is unknown or
    has missing values, or if a part would be empty.
    """
    check_person(frame, person)
    ids, names = (np.arange(len(frame)),) * 2 if person is None else pd.factorize(frame[person])
    if (ids < 0).any():
        raise UsageError(
            "TB-SPLIT-009",
            "The person column has missing values.",
            "A row without a person could belong to anybody.",
            "Fill the column, or drop those rows.",
        )
    order = keyed_rng(seed, "split").permutation(len(names))
    if not min(fractions.values()) > 0 or not sum(fractions.values()) <= 1 + 1e-9:
        raise UsageError(
            "TB-SPLIT-003",
            "The parts' fractions must be positive and sum to at most 1.",
            "Otherwise a person would be in two parts, or a part would be empty.",
            "Give, for example, --fraction 0.5.",
        )
    parts: dict[str, pd.DataFrame] = {}
    start = 0
    for part, fraction in fractions.items():
        stop = start + round(fraction * len(names))
        rows = np.flatnonzero(np.isin(ids, order[start:stop]))
        parts[part] = frame.iloc[rows].reset_index(drop=True)
        start = stop
        if not len(parts[part]):
            raise UsageError(
                "TB-SPLIT-004", f"The part {part} would be empty.", "There are too few people.", "Change the fractions."
            )
    return parts

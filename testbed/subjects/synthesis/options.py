"""Options of generators; each generator uses those that concern it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from testbed.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class Options:
    """`epochs` is for networks, `person` the person's column, `epsilon` and `public` are for private generators.

    `public` is a table of people whose categories, ranges and missing values everybody may know. A private generator
    makes its bins from it. Its guarantee covers neither this table nor the requested number of rows.
    """

    epochs: int = 100
    person: str | None = None
    epsilon: float = 1.0
    public: pd.DataFrame | None = None

    def attributes(self, table: pd.DataFrame) -> pd.DataFrame:
        """The table without the person's column."""
        return table.drop(columns=[self.person] if self.person else [])

    def known_to_all(self, table: pd.DataFrame) -> pd.DataFrame:
        """The columns of `public` that are attributes of `table`. Raises `UsageError` if `public` or one is missing."""
        names = [c for c in table.columns if c != self.person]
        if not names:
            raise UsageError(
                "TB-SYNTH-012", "There is nothing to synthesise.", "No column is left.", "Give a table of attributes."
            )
        if self.public is None or any(c not in self.public.columns for c in names):
            raise UsageError(
                "TB-SYNTH-008",
                "A private generator needs a table whose categories and ranges everybody may know.",
                "Bins made from the people themselves would reveal them, whatever epsilon is."
                if self.public is None
                else "The given table lacks a column of the original.",
                "Name one with --public, with the same columns: a published table, or people outside the original.",
            )
        known: Any = self.public[names]
        return known


Generator = Callable[[pd.DataFrame, int, np.random.Generator, Options], pd.DataFrame]


def check_epsilon(epsilon: float) -> None:
    """Raises `UsageError` unless epsilon is positive and finite."""
    if not 0 < epsilon < float("inf"):
        raise UsageError(
            "TB-SYNTH-007", "Epsilon must be positive and finite.", "It scales the noise.", "Give, for example, 1.0."
        )

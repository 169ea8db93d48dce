"""What generators are told beside the table; each takes what concerns it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from testbed.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class Options:
    """`epochs` for networks; `person` names the column that tells people apart; the rest is for private generators.

    `public` is a table of people whose categories, ranges and gaps everybody may know: a private generator's bins are
    made of it, and its guarantee covers neither it nor the number of rows asked for.
    """

    epochs: int = 100
    person: str | None = None
    epsilon: float = 1.0
    public: pd.DataFrame | None = None

    def attributes(self, table: pd.DataFrame) -> pd.DataFrame:
        return table.drop(columns=[self.person] if self.person else [])

    def known_to_all(self, table: pd.DataFrame) -> pd.DataFrame:
        """The attributes of `public`. Raises `UsageError` where there is none, or a column of `table` is missing."""
        names = [c for c in table.columns if c != self.person]
        if not names:
            raise UsageError(
                "TB-SYNTH-012", "There is nothing to synthesise.", "No column is left.", "Give a table of attributes."
            )
        if self.public is None or any(c not in self.public.columns for c in names):
            raise UsageError(
                "TB-SYNTH-008",
                "A private generator needs a table of which everybody may know the categories and ranges.",
                "Bins made of the people themselves would give them away, whatever epsilon is."
                if self.public is None
                else "The one given lacks a column of the original.",
                "Name one with --public, with the same columns: a published table, or people outside the original.",
            )
        known: Any = self.public[names]
        return known


Generator = Callable[[pd.DataFrame, int, np.random.Generator, Options], pd.DataFrame]


def check_epsilon(epsilon: float) -> None:
    if not 0 < epsilon < float("inf"):
        raise UsageError(
            "TB-SYNTH-007", "Epsilon must be positive and finite.", "It scales the noise.", "Give, for example, 1.0."
        )

"""The simplest generator: every column by itself. It keeps no relation between columns."""

from __future__ import annotations

import numpy as np
import pandas as pd


def independent_marginals(
    original: pd.DataFrame, rows: int, rng: np.random.Generator, *, epochs: int = 0, person: str | None = None
) -> pd.DataFrame:
    """Each column drawn from the original's values with replacement, independently of the others.

    Rare values are copied as they are, so this is no anonymisation: it shows what univariate singling out finds.
    """
    table = original.drop(columns=[person] if person else [])
    return pd.DataFrame({c: table[c].array.take(rng.integers(len(table), size=rows)) for c in table.columns})

"""The simplest generator: every column by itself. It keeps no relation between columns."""

from __future__ import annotations

import numpy as np
import pandas as pd


def independent_marginals(original: pd.DataFrame, rows: int, rng: np.random.Generator) -> pd.DataFrame:
    """Each column drawn from the original's values with replacement, independently of the others.

    Rare values are copied as they are, so this is no anonymisation: it shows what univariate singling out finds.
    """
    return pd.DataFrame({c: original[c].to_numpy()[rng.integers(len(original), size=rows)] for c in original.columns})

"""The simplest generator: it draws every column independently, and keeps no relation between columns."""

from __future__ import annotations

import numpy as np
import pandas as pd

from testbed.subjects.synthesis.options import Options


def independent_marginals(
    original: pd.DataFrame, rows: int, rng: np.random.Generator, options: Options
) -> pd.DataFrame:
    """A table whose columns are drawn independently from the original's values, with replacement.

    Rare values are copied unchanged, so this does not anonymise: it shows what univariate singling out finds.
    """
    table = options.attributes(original)
    return pd.DataFrame({c: table[c].array.take(rng.integers(len(table), size=rows)) for c in table.columns})

"""The simplest generator: every column by itself. It keeps no relation between columns."""

from __future__ import annotations

import numpy as np
import pandas as pd

from testbed.subjects.synthesis.options import Options


def independent_marginals(
    original: pd.DataFrame, rows: int, rng: np.random.Generator, options: Options
) -> pd.DataFrame:
    """Each column drawn from the original's values with replacement, independently of the others.

    Rare values are copied as they are, so this is no anonymisation: it shows what univariate singling out finds.
    """
    table = options.attributes(original)
    return pd.DataFrame({c: table[c].array.take(rng.integers(len(table), size=rows)) for c in table.columns})

"""People of a made-up hospital at any scale: a third continuous, a sixth counts, half categories, four traits."""

from __future__ import annotations

import numpy as np
import pandas as pd

LEVELS = (2, 3, 5, 8, 20, 50, 100, 250, 500, 1000)


def people(rows: int, columns: int = 20, seed: int = 0, kind: str = "mixed") -> pd.DataFrame:
    """`rows` x `columns`; the same columns depend on the same traits whatever the seed. `kind`: mixed or numeric."""
    loads = np.random.default_rng(1).normal(size=(4, columns))
    rng = np.random.default_rng(1000 + seed)
    traits = rng.normal(size=(rows, 4))
    made: dict[str, object] = {}
    for j in range(columns):
        value = traits @ loads[:, j] + rng.normal(size=rows)
        if kind == "numeric" or j % 6 in (0, 1):
            made[f"lab{j}"] = (50 + 10 * value).round(2 + j % 3)
        elif j % 6 == 2:
            made[f"count{j}"] = np.floor(np.exp(value / 3)).clip(0, 60)
        else:
            levels = LEVELS[j % len(LEVELS)]
            codes = (np.clip((value + 8) / 16, 0, 0.999) * levels).astype(int)
            made[f"code{j}"] = pd.Categorical.from_codes(codes, [f"c{i}" for i in range(levels)]).astype(str)
    return pd.DataFrame(made)

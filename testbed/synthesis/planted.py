"""A leak with a dial: part of a release replaced by original rows."""

from __future__ import annotations

import numpy as np
import pandas as pd

from testbed.errors import UsageError


def planted(release: pd.DataFrame, original: pd.DataFrame, share: float, rng: np.random.Generator) -> pd.DataFrame:
    """The release with `share` of its rows replaced by different original rows, shuffled.

    The plants of one generator are nested: a larger share holds all rows of a smaller one. Raises `UsageError` for a
    share outside [0, 1].
    """
    if not 0 <= share <= 1:
        raise UsageError(
            "TB-SYNTH-003", "The planted share must lie in [0, 1].", "It is a share of rows.", "Give, for example, 0.2."
        )
    count = min(round(share * len(release)), len(original))
    chosen = rng.permutation(len(original))[:count]
    kept = rng.permutation(len(release))[count:]
    mixed = pd.concat([original.iloc[chosen], release.iloc[kept]], ignore_index=True)
    return mixed.iloc[rng.permutation(len(mixed))].reset_index(drop=True)

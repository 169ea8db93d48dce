"""Planted leaks: a chosen share of a release is replaced by original rows, unchanged or slightly changed."""

from __future__ import annotations

import numpy as np
import pandas as pd

from testbed.core.errors import UsageError

KINDS = ("exact", "jittered", "one_changed")
JITTER = 0.02
"""The standard deviation of jitter, in standard deviations of the column."""


def planted(
    release: pd.DataFrame, original: pd.DataFrame, share: float, rng: np.random.Generator, kind: str = "exact"
) -> pd.DataFrame:
    """The release with a `share` of its rows replaced by distinct rows of the original, shuffled.

    Kind `jittered` adds noise to numbers; `one_changed` takes one column of each planted row from a row of the release.
    With equal random numbers, a larger share plants all rows of a smaller one. Raises `UsageError` for a share outside
    [0, 1] or an unknown kind.
    """
    if not 0 <= share <= 1:
        raise UsageError(
            "TB-SYNTH-003", "The planted share must lie in [0, 1].", "It is a share of rows.", "Give, for example, 0.2."
        )
    if kind not in KINDS:
        raise UsageError(
            "TB-SYNTH-004",
            f"There is no kind of plant called {kind!r}.",
            "The kind says how original rows are changed before they are planted.",
            f"Use one of: {', '.join(KINDS)}.",
        )
    count = min(round(share * len(release)), len(original))
    chosen = rng.permutation(len(original))[:count]
    kept = rng.permutation(len(release))[count:]
    changes = {"exact": _same, "jittered": _jittered, "one_changed": _one_changed}
    plants = changes[kind](original.iloc[chosen].reset_index(drop=True), original, release, rng)
    mixed = pd.concat([plants, release.iloc[kept]], ignore_index=True)
    return mixed.iloc[rng.permutation(len(mixed))].reset_index(drop=True)


def _same(rows: pd.DataFrame, original: pd.DataFrame, release: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    return rows


def _jittered(
    rows: pd.DataFrame, original: pd.DataFrame, release: pd.DataFrame, rng: np.random.Generator
) -> pd.DataFrame:
    changed = rows.copy()
    for name in rows.columns:
        if pd.api.types.is_float_dtype(rows[name]):
            spread = float(original[name].std() or 0.0)
            changed[name] = rows[name] + rng.normal(0.0, JITTER, len(rows)) * (spread if np.isfinite(spread) else 0.0)
    return changed


def _one_changed(
    rows: pd.DataFrame, original: pd.DataFrame, release: pd.DataFrame, rng: np.random.Generator
) -> pd.DataFrame:
    changed = rows.copy()
    which = rng.integers(len(rows.columns), size=len(rows))
    donors = rng.integers(len(release), size=len(rows))
    for j, name in enumerate(rows.columns):
        mine = which == j
        if mine.any():
            values = rows[name].to_numpy(dtype=object)
            values[mine] = release[name].to_numpy(dtype=object)[donors[mine]]
            changed[name] = pd.Series(values).astype(rows[name].dtype)
    return changed

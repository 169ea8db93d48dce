"""A small differentially private generator: every column's histogram with Laplace noise, columns independent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from testbed.errors import UsageError


def noisy_marginals(
    original: pd.DataFrame,
    rows: int,
    rng: np.random.Generator,
    *,
    epsilon: float,
    domain: Mapping[str, Sequence[str]],
    noise: bool = True,
) -> pd.DataFrame:
    """`rows` rows drawn from histograms over a public `domain` (categories by column), epsilon-DP for one record.

    Each of d columns is counted with Laplace noise of scale d / epsilon: one record more or less changes one count of
    each column by one, and the columns compose (Dwork and Roth 2014, theorems 3.6 and 3.16). `noise=False` switches
    the noise off and the guarantee with it: a positive control for an audit. Raises `UsageError` for an epsilon that
    is not positive.
    """
    if epsilon <= 0:
        raise UsageError("TB-SYNTH-007", "Epsilon must be positive.", "It scales the noise.", "Give, for example, 1.0.")
    made: dict[str, object] = {}
    for name, levels in domain.items():
        counts = original[name].value_counts().reindex(list(levels)).fillna(0).to_numpy(dtype=float)
        if noise:
            counts = counts + rng.laplace(0.0, len(domain) / epsilon, len(counts))
        shares = np.clip(counts, 0, None)
        shares = shares / shares.sum() if shares.sum() > 0 else np.full(len(levels), 1 / len(levels))
        made[name] = np.asarray(list(levels), dtype=object)[rng.choice(len(levels), rows, p=shares)]
    return pd.DataFrame(made)


BINS = 20
GAP = "\0gap"
"""A missing value among the categories; no text of a table holds the sign that it begins with."""


def noisy_table(
    original: pd.DataFrame, rows: int, rng: np.random.Generator, *, epsilon: float, public: pd.DataFrame
) -> pd.DataFrame:
    """`noisy_marginals` of a table with numbers, in 20 bins of equal width, drawn evenly within a bin.

    The categories, ranges, whole numbers and gaps of `public`, and the number of rows asked for, count as known to
    everybody: where they are not, the guarantee does not cover them.
    """
    coded: dict[str, Any] = {}
    domain: dict[str, list[str]] = {}
    edges: dict[str, Any] = {}
    for name in original.columns:
        known: Any = public[name].dropna()
        if pd.api.types.is_numeric_dtype(known) and not pd.api.types.is_bool_dtype(known):
            edges[name] = np.linspace(float(known.min()), float(known.max()), BINS + 1)
            place = np.clip(np.searchsorted(edges[name], original[name], "right") - 1, 0, BINS - 1)
            coded[name], levels = place.astype(str), [str(i) for i in range(BINS)]
        else:
            coded[name], levels = original[name].astype(str).to_numpy(), sorted(known.astype(str).unique())
        coded[name] = np.where(np.asarray(original[name].isna()), GAP, coded[name])
        domain[name] = [*levels, GAP] if bool(public[name].isna().any()) else levels
    frame = pd.DataFrame(coded, index=original.index)
    made: Any = noisy_marginals(frame, rows, rng, epsilon=epsilon, domain=domain)
    for name in original.columns:
        gaps = made[name] == GAP
        if name in edges:
            place = made[name].where(~gaps, "0").astype(int).to_numpy()
            values = rng.uniform(edges[name][place], edges[name][place + 1])
            whole = bool(np.all(np.asarray(public[name].dropna()) % 1 == 0))
            made[name] = pd.Series(np.round(values) if whole else values).mask(gaps)
        else:
            made[name] = made[name].mask(gaps, None)
    return made

"""A small differentially private generator: independent columns, drawn from histograms with Laplace noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from testbed.subjects.synthesis.binned import Binned
from testbed.subjects.synthesis.options import Options, check_epsilon


def noisy_marginals(
    original: pd.DataFrame,
    rows: int,
    rng: np.random.Generator,
    *,
    epsilon: float,
    domain: Mapping[str, Sequence[str]],
    noise: bool = True,
) -> pd.DataFrame:
    """A table drawn from noisy histograms over a public `domain` (categories by column); epsilon-DP for one record.

    Each of d columns is counted with Laplace noise of scale d / epsilon. Adding or removing one record changes one
    count of each column by one, and the columns compose (Dwork and Roth 2014, theorems 3.6 and 3.16). `noise=False`
    switches off the noise, and with it the guarantee: a positive control for an audit. Raises `UsageError` for an
    epsilon that is not positive.
    """
    check_epsilon(epsilon)
    drawn: dict[str, object] = {}
    for name, levels in domain.items():
        counts = original[name].value_counts().reindex(list(levels)).fillna(0).to_numpy(dtype=float)
        if noise:
            counts = counts + rng.laplace(0.0, len(domain) / epsilon, len(counts))
        shares = np.clip(counts, 0, None)
        shares = shares / shares.sum() if shares.sum() > 0 else np.full(len(levels), 1 / len(levels))
        drawn[name] = np.asarray(list(levels), dtype=object)[rng.choice(len(levels), rows, p=shares)]
    return pd.DataFrame(drawn)


def noisy_table(original: pd.DataFrame, rows: int, rng: np.random.Generator, options: Options) -> pd.DataFrame:
    """`noisy_marginals` for any table, in bins made from `options.public`; numbers are drawn uniformly within a bin."""
    binned = Binned.of(options.known_to_all(original))
    names = list(binned.columns)
    coded = pd.DataFrame(binned.codes(original).astype(str), columns=pd.Index(names))
    domain = {n: [str(i) for i in range(w)] for n, w in zip(names, binned.drawn, strict=True)}
    drawn = noisy_marginals(coded, rows, rng, epsilon=options.epsilon, domain=domain)
    return binned.table(drawn.to_numpy().astype(int), rng)

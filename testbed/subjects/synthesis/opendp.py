"""OpenDP's private generators MST and AIM, which the extra `private` installs (licences MIT and Apache-2.0)."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd

from testbed.core.errors import RunError, UsageError
from testbed.subjects.synthesis.binned import Binned
from testbed.subjects.synthesis.options import Generator, Options, check_epsilon

SLACK = 2.0**-40
"""The share of a part of the budget that is left unspent, so that rounding cannot exceed the budget."""
CRUMB = 1e-6
"""An epsilon this small is a rounding error and is not spent."""


def synthesizer(algorithm: str) -> Generator:
    """A generator for a table with one row a person, by OpenDP's algorithm MST or AIM.

    MST (McKenna et al. 2021, https://arxiv.org/abs/2108.04978) chooses pairs of columns, AIM (McKenna et al. 2022,
    https://arxiv.org/abs/2201.12677) larger sets. They count them with noise and draw from a Markov random field fitted
    to the counts. The whole is `epsilon`-differentially private for adding or removing one record, by OpenDP's own
    accounting. Bins are made from `public`. The noise comes from the operating system and cannot be repeated.
    """

    def generate(original: pd.DataFrame, rows: int, rng: np.random.Generator, options: Options) -> pd.DataFrame:
        check_epsilon(options.epsilon)
        binned = Binned.of(options.known_to_all(original))
        if len(binned.columns) < 2:
            raise UsageError(
                "TB-SYNTH-013",
                f"{algorithm} needs two columns or more.",
                "It models relations between columns.",
                "Use noisy_marginals for a single column.",
            )
        codes = binned.codes(original)
        names = [f"c{i}" for i in range(codes.shape[1])]
        widths = dict(zip(names, binned.drawn, strict=True))
        data = {name: codes[:, i].astype(np.int32) for i, name in enumerate(names)}
        drawn = _release(algorithm, data, widths, options.epsilon, rows)
        for own, block, width in zip(drawn.T, binned.blocks, binned.drawn, strict=True):
            # OpenDP adds its own category for missing values. Here it becomes our last code, or, in a complete column,
            # a value drawn from the others.
            gaps = np.isnan(own)
            filled = rng.choice(own[~gaps], gaps.sum()) if (~gaps).any() else rng.integers(width, size=gaps.sum())
            own[gaps] = block - 1 if width == block else filled
        return binned.table(drawn.astype(int), rng)

    return generate


def _release(algorithm: str, data: dict[str, Any], widths: dict[str, int], epsilon: float, rows: int) -> Any:
    """Codes (rows, columns) drawn from the private model; NaN for OpenDP's category of missing values."""
    try:
        import opendp.extras.mbi._aim as aim
        import opendp.extras.mbi._mst as mst
        import opendp.prelude as dp
        import polars as pl
    except ModuleNotFoundError:
        raise UsageError(
            "TB-SYNTH-009",
            "OpenDP's generators are not installed.",
            "MST and AIM are part of OpenDP.",
            "Install leakage-testbed[private].",
        ) from None
    # Both modules spend the next smaller float of the remaining budget (OpenDP 0.16.0). If MST selects several pairs,
    # the parts then exceed the whole by a rounding error and are refused. AIM tries to spend the remaining rounding
    # error, for which there is no noise scale. OpenDP checks the sum of all parts in any case.
    for module in (aim, mst):
        patched: Any = module
        patched.prior = _a_little_less
    dp_: Any = dp
    dp_.enable_features("contrib")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            context = dp_.Context.compositor(
                data=pl.LazyFrame(data),
                privacy_unit=dp_.unit_of(contributions=1),
                privacy_loss=dp_.loss_of(epsilon=epsilon),
            )
            keys = {name: list(range(width)) for name, width in widths.items()}
            query = context.query(epsilon=epsilon).select(*data)
            table = query.contingency_table(keys=keys, algorithm=getattr(dp_.mbi, algorithm)()).release()
            made = table.synthesize(rows=rows)
        except dp_.OpenDPException as error:
            raise RunError(
                "TB-SYNTH-010",
                f"OpenDP's {algorithm} could not model this table.",
                f"It stopped with {error.variant}.",
                "Drop columns of many categories, or try another epsilon; 0.01 to 100 is usual.",
            ) from None
    return made.select(list(data)).to_pandas().to_numpy(dtype=float)


def _a_little_less(x: float) -> float:
    return x * (1 - SLACK) if x > CRUMB else 0.0

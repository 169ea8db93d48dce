"""OpenDP's synthesizers over private marginals: MST and AIM. The extra `private` brings them (MIT and Apache-2.0)."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd

from testbed.core.errors import RunError, UsageError
from testbed.subjects.synthesis.binned import Binned
from testbed.subjects.synthesis.options import Generator, Options, check_epsilon

SLACK = 2.0**-40
"""Of a budget's part, what is given up to rounding."""
CRUMB = 1e-6
"""An epsilon that is too little to spend."""


def synthesizer(algorithm: str) -> Generator:
    """A generator of one table, one row a person, by the name of OpenDP's algorithm: MST or AIM.

    Both choose pairs (MST; McKenna et al. 2021, https://arxiv.org/abs/2108.04978) or larger sets of columns (AIM;
    McKenna et al. 2022, https://arxiv.org/abs/2201.12677), count them with noise, and draw from the Markov random
    field that fits. All of it is `epsilon`-differentially private for one record more or less, by OpenDP's own
    accounting; the bins are those of `public`. The noise is the operating system's and cannot be repeated.
    """

    def generate(original: pd.DataFrame, rows: int, rng: np.random.Generator, options: Options) -> pd.DataFrame:
        check_epsilon(options.epsilon)
        binned = Binned.of(options.known_to_all(original))
        if len(binned.columns) < 2:
            raise UsageError(
                "TB-SYNTH-013",
                f"{algorithm} needs two columns or more.",
                "It models how they go together.",
                "Use noisy_marginals for a single one.",
            )
        codes = binned.codes(original)
        names = [f"c{i}" for i in range(codes.shape[1])]
        widths = dict(zip(names, binned.drawn, strict=True))
        data = {name: codes[:, i].astype(np.int32) for i, name in enumerate(names)}
        drawn = _release(algorithm, data, widths, options.epsilon, rows)
        for own, block, width in zip(drawn.T, binned.blocks, binned.drawn, strict=True):
            # OpenDP adds a category of its own for a gap. Ours is the last one; in a complete column it is filled.
            gaps = np.isnan(own)
            filled = rng.choice(own[~gaps], gaps.sum()) if (~gaps).any() else rng.integers(width, size=gaps.sum())
            own[gaps] = block - 1 if width == block else filled
        return binned.table(drawn.astype(int), rng)

    return generate


def _release(algorithm: str, data: dict[str, Any], widths: dict[str, int], epsilon: float, rows: int) -> Any:
    """Codes (rows, columns) drawn from the private model, NaN for a gap of OpenDP's."""
    try:
        import opendp.extras.mbi._aim as aim
        import opendp.extras.mbi._mst as mst
        import opendp.prelude as dp
        import polars as pl
    except ModuleNotFoundError:
        raise UsageError(
            "TB-SYNTH-009",
            "OpenDP's synthesizers are not installed.",
            "MST and AIM are theirs.",
            "Install leakage-testbed[private].",
        ) from None
    # Both take the next smaller float of what is left of a budget (0.16.0). That is too little less where MST selects
    # several pairs: the parts exceed the whole by a rounding and are refused. And AIM goes on to spend the rounding
    # that is left over, for which there is no scale. OpenDP checks the sum in any case.
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

"""A differentially private generator in the place of the owner's own."""

from __future__ import annotations

import pandas as pd

from testbed.core.defence import Exposure, Guarantee, Synthesis
from testbed.core.errors import UsageError
from testbed.core.randomness import keyed_rng
from testbed.defences.registry import defence
from testbed.subjects.synthesis import PRIVATE, check, synthesise


def proven(exposure: Exposure, *, epsilon: float, generator: str = "noisy_marginals") -> Guarantee:
    """Twice `epsilon`, which is for one row more or less: a replaced row is one less and one more."""
    told = f"{generator}: epsilon {epsilon:g} for one row more or less, twice that for a replaced row, delta 0"
    return Guarantee(2 * epsilon, 0.0, "record", told)


@defence(where="generator", guarantee=proven)
def private_synthesis(*, seed: int, epsilon: float, generator: str = "noisy_marginals") -> Synthesis:
    """Draw the table from a private `generator` (noisy_marginals, mst or aim) at `epsilon` for one row more or less.

    Bins and categories come from a table of other people, and the guarantee covers neither this table nor the number of
    rows. mst and aim keep relations between columns and are slow; noisy_marginals keeps none.
    """
    if generator not in PRIVATE:
        raise UsageError(
            "TB-DEFENCE-043",
            f"{generator!r} is no private generator.",
            "Only these add the noise that epsilon promises.",
            f"Use one of: {', '.join(sorted(PRIVATE))}.",
        )
    check(generator)

    def made(original: pd.DataFrame, rows: int, public: pd.DataFrame) -> pd.DataFrame:
        rng = keyed_rng(seed, "private synthesis")
        return synthesise(generator, original, rows, rng, epsilon=epsilon, public=public)

    return made

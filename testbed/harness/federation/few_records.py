"""What a line-up of very few records says: no rate, but whether a record that was recognised can be chance."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.stats import binom

from testbed.core import Cohort, Evidence, Reconstruction
from testbed.harness.federation.recorded import Key

FEW = 20
"""People from whom on a rate says enough by itself, as of batches."""
CHANCE = 0.001
"""Probability by chance from which on downwards a look is called no chance, as in the rules about copies."""
RAREST = 1e-6
"""The smallest probability that is told."""


def words(used: Evidence, unused: Evidence, held: Mapping[Key, Cohort], claim: Reconstruction, size: int) -> str:
    """A sentence on fewer than `FEW` people who were recognised in line-ups of `size` where no control was; else empty.

    A person is recognised if each of their records wins its line-up. A claim made without the records wins once in
    `size`, because whoever stands there is drawn like the look-alikes. This holds for one record and one claim an
    exchange; of several, the nearest ones are compared.
    """
    alone = all(len(p) == 1 and len(claim.batches.get(k, ())) <= 1 for k, p in held.items())
    people = np.unique(used.cluster)
    if not alone or not 0 < len(people) < FEW or unused.success.any():
        return ""
    won = sum(bool((used.success[used.cluster == person] == 1).all()) for person in people)
    chance = float(binom.sf(won - 1, len(people), 1 / size))
    if won == 0 or chance > CHANCE * (1 + 1e-9):
        return ""
    rarely = 1 / max(chance, RAREST)
    often = "less than once in a million" if chance < RAREST else f"once in {float(f'{rarely:.2g}'):,.0f}"
    records = "one person" if len(people) == 1 else f"{len(people)} people"
    return (
        f" This look is about {records}, too few for a rate. It shows that {won} of {len(people)} "
        f"{'was' if won == 1 else 'were'} recognised. Claims made without their records would do as well {often} "
        f"times. It does not show how often this happens; more rounds or clients do."
    )

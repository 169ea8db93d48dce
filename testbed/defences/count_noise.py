"""Noise on counts: histograms with a guarantee of differential privacy."""

from __future__ import annotations

import math

import numpy as np

from testbed.core import Array
from testbed.core.defence import Disclosure, Exposure, Guarantee
from testbed.core.errors import UsageError
from testbed.defences.registry import defence
from testbed.models.summaries import HISTOGRAM


def promised(exposure: Exposure, *, epsilon: float) -> Guarantee | None:
    """The epsilon of all rounds together: pure epsilons add up."""
    method = f"geometric mechanism on all columns' counts, {exposure.rounds} rounds added up; people's number is public"
    return Guarantee(epsilon * exposure.rounds, 0.0, "record", method)


@defence(where="statistics", guarantee=promised)
def count_noise(*, seed: int, epsilon: float) -> Disclosure:
    """Add two-sided geometric noise to each count, so that one round has this `epsilon` for a replaced record.

    Ghosh, Roughgarden and Sundararajan 2012 (arXiv 0811.2841). If one record is replaced, two counts of each column
    change by one. So the noise grows with the number of columns. The number of people is told as it is. Quantiles and
    curves are refused: noise on counts does not protect them.
    """

    def change(told: dict[str, Array], rng: np.random.Generator) -> dict[str, Array]:
        if HISTOGRAM not in told:
            raise UsageError(
                "TB-DEFENCE-045",
                "count_noise is used on a statistic that is no histogram.",
                "It adds noise to counts, and the guarantee holds for these alone.",
                "Use it with statistic=histograms, or use small_cells.",
            )
        counts = told[HISTOGRAM]
        ends = 1 - math.exp(-epsilon / (2 * len(counts)))
        noise = rng.geometric(ends, counts.shape) - rng.geometric(ends, counts.shape)
        return {**told, HISTOGRAM: counts + noise}

    return change

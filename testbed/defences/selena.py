"""A released model that learnt about each member from models without that member."""

from __future__ import annotations

import numpy as np

from testbed.core import Array, Cohort, Predictor
from testbed.core.defence import Fit, Pipeline
from testbed.core.errors import UsageError
from testbed.defences.registry import defence


@defence(where="pipeline", mixes=True)
def selena(*, seed: int, models: int = 8, left_out: int = 3) -> Pipeline:
    """Train `models` models, each without some members; label each member by the `left_out` models that lack it.

    The released model is trained on the members with these labels (Tang et al. 2022, arXiv 2110.08324: SELENA). A
    heuristic: the labels of other members depend on each one, and one model of every pair of neighbours remembers.
    """
    if not 1 <= left_out < models:
        raise UsageError(
            "TB-DEFENCE-026",
            f"Of {models} models, {left_out} cannot be without each member.",
            "Each member needs a model that lacks it, and one that has it.",
            "Use left_out of at least 1 and below models.",
        )

    def change(fit: Fit, outside: Cohort) -> Fit:
        def fitted(people: Cohort, rng: np.random.Generator, soft: Array | None = None) -> Predictor:
            names, person = np.unique(people.persons, return_inverse=True)
            lacking = (rng.random((models, len(names))).argsort(0) < left_out)[:, person]
            labels: Array | None = None
            for without in lacking:
                rows = np.flatnonzero(~without)
                made = fit(people.take(rows), rng, None if soft is None else soft[rows])
                told = np.asarray(made.ask(people), np.float64) * without[:, None] / left_out
                labels = told if labels is None else labels + told
            return fit(people, rng, labels)

        return fitted

    return change

"""A released model that learnt from another model's answers about other people."""

from __future__ import annotations

import numpy as np

from testbed.core import Array, Cohort, Predictor
from testbed.core.defence import Fit, Pipeline
from testbed.defences.registry import defence
from testbed.defences.temperature import softened


@defence(where="pipeline")
def distillation(*, seed: int, temperature: float = 1.0) -> Pipeline:
    """Release a student: it is trained on the answers of the members' model about people outside, not on members.

    Shejwalkar and Houmansadr 2021 (arXiv 1906.06589). `temperature` softens the answers. A heuristic: what the teacher
    answers about others may still depend on single members.
    """

    def change(fit: Fit, outside: Cohort) -> Fit:
        def fitted(people: Cohort, rng: np.random.Generator, soft: Array | None = None) -> Predictor:
            teacher = fit(people, rng, soft)
            return fit(outside, rng, softened(np.asarray(teacher.ask(outside), np.float64), temperature))

        return fitted

    return change

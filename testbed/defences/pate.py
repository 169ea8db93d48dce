"""A released model that learnt from the noisy votes of teachers."""

from __future__ import annotations

import math

import numpy as np

from testbed.core import Array, Cohort, Predictor
from testbed.core.defence import Exposure, Fit, Guarantee, Pipeline
from testbed.defences.accounting import DELTA, gaussian_epsilon, told
from testbed.defences.registry import defence


def proven(exposure: Exposure, *, noise: float, teachers: int = 10, queries: int = 100) -> Guarantee | None:
    """The epsilon of all votes together, for one replaced record: it moves one vote of each query (L2 of sqrt 2)."""
    if noise <= 0:
        return None
    epsilon = gaussian_epsilon(math.sqrt(2 * queries) / noise, DELTA)
    return Guarantee(epsilon, DELTA, "record", f"Gaussian mechanism over {queries} votes of teachers, {told(DELTA)}")


@defence(where="pipeline", guarantee=proven)
def pate(*, seed: int, noise: float, teachers: int = 10, queries: int = 100) -> Pipeline:
    """Release a student: it learns the class with most votes of `teachers`, each trained on its own part of members.

    Papernot et al. 2018 (arXiv 1802.08908). Gaussian noise of standard deviation `noise` is added to the votes about
    each of `queries` people outside, whose own classes are not used. The bound holds for any teachers; the published
    one is smaller where teachers agree. If a person has several records, all are in one part.
    """

    def change(fit: Fit, outside: Cohort) -> Fit:
        asked = outside.take(np.arange(min(queries, len(outside))))

        def fitted(people: Cohort, rng: np.random.Generator, soft: Array | None = None) -> Predictor:
            names, person = np.unique(people.persons, return_inverse=True)
            part = (rng.permutation(len(names)) % teachers)[person]
            votes: Array | None = None
            for number in range(teachers):
                rows = np.flatnonzero(part == number)
                teacher = fit(people.take(rows), rng, None if soft is None else soft[rows])
                said = np.asarray(teacher.ask(asked), np.float64)
                vote = np.eye(said.shape[1])[said.argmax(1)]
                votes = vote if votes is None else votes + vote
            assert votes is not None
            noisy = votes + rng.normal(0.0, noise, votes.shape)
            return fit(asked, rng, np.eye(votes.shape[1])[noisy.argmax(1)])

        return fitted

    return change

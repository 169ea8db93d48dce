"""The class of each person from the length of the gradient at the cut of a split network."""

from __future__ import annotations

import numpy as np

from testbed.attacks.cut_votes import guessed
from testbed.attacks.registry import attack
from testbed.core import Array, Cohort, Guesses, Labels, Transcript


@attack(
    subject="transcript",
    rule="TB-ATTRIBUTE_INFERENCE-703",
    risk="attribute_inference",
    claim=Guesses,
    needs={"auxiliary"},
    position="client",
    reference="https://arxiv.org/abs/2102.08504",
    suits="cut",
)
def cut_norm(view: Transcript, question: Labels, auxiliary: Cohort | None, rng: np.random.Generator) -> Guesses:
    """State each person's class by the length of the gradient that comes back for that person (Li et al. 2022).

    Threat model: as of `cut_direction`. A network that has learnt that one class is rare is more wrong about the people
    of that class, so their gradients are longer. Limit: if both classes are equally frequent, lengths say little.
    Raises `Unavailable` without such gradients or other people.
    """

    def reading(gradients: Array) -> Array:
        lengths = np.log(np.maximum(np.linalg.norm(gradients, axis=1), 1e-30))
        return lengths - np.median(lengths)

    return guessed(view, question, auxiliary, reading)

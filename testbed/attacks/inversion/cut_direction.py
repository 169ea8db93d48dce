"""The class of each person from the direction of the gradient at the cut of a split network."""

from __future__ import annotations

import numpy as np

from testbed.attacks.cut_votes import averaged, guessed
from testbed.attacks.registry import attack
from testbed.core import Array, Cohort, Guesses, Labels, Transcript


@attack(
    subject="transcript",
    rule="TB-ATTRIBUTE_INFERENCE-702",
    risk="attribute_inference",
    claim=Guesses,
    needs={"auxiliary"},
    position="client",
    reference="https://arxiv.org/abs/2102.08504",
    uses={"defence"},
    suits="cut",
    meets=("cut_noise", "equal_norms"),
)
def cut_direction(view: Transcript, question: Labels, auxiliary: Cohort | None, rng: np.random.Generator) -> Guesses:
    """State each person's class by the direction of the gradient that comes back for that person (Li et al. 2022).

    Threat model: a curious party of split learning, which holds some columns of each person and is sent gradients at
    the cut. It also has other people's records with their classes. The loss pushes the two classes in opposite
    directions: the sign along a batch's main direction divides them. If it knows that there is noise, it averages over
    all batches of a person (`testbed/attacks/cut_votes.py`). Raises `Unavailable` without such gradients or other
    people.
    """
    if question.defences:
        return averaged(view, question, auxiliary)

    def reading(gradients: Array) -> Array:
        lengths = np.maximum(np.linalg.norm(gradients, axis=1, keepdims=True), 1e-30)
        unit = gradients / lengths
        return unit @ np.linalg.svd(unit, full_matrices=False)[2][0]

    return guessed(view, question, auxiliary, reading)

"""Inference of a person's hidden attribute, from the model's answers for each possible value."""

from __future__ import annotations

import numpy as np

from testbed.attacks.model.predictions import asked, true_class
from testbed.attacks.registry import attack
from testbed.core import Array, Cohort, Feature, Guesses, Predictor, Records


@attack(
    subject="model",
    rule="TB-ATTRIBUTE_INFERENCE-701",
    risk="attribute_inference",
    claim=Guesses,
    needs={"known_columns", "queries", "target_records"},
    position="recipient",
    access="score",
    reference="https://dl.acm.org/doi/10.1145/2810103.2813677",
)
def model_attribute_inference(
    view: Predictor, question: Feature, auxiliary: Cohort | None, rng: np.random.Generator
) -> Guesses:
    """Guess the value with which the model gives the person's own class most probability (Fredrikson et al. 2015).

    Threat model: anybody who may ask the model for probabilities, and knows a person's class and every other input. The
    probability is multiplied by the frequency of each value among other people of that class, if the attacker has
    records of other people.
    """
    answers: list[Array] = []
    for value in question.candidates:
        x = question.people.x.copy()
        x[:, question.column] = value
        people = Cohort(x, question.people.y, question.people.persons)
        answers.append(np.log(true_class(*asked(view, Records(people)))))
    score = np.stack(answers, 1) + np.log(prior(question, auxiliary))
    return Guesses({str(question.column): question.candidates[score.argmax(1)]}, {str(question.column): 0.0})


def prior(question: Feature, auxiliary: Cohort | None) -> Array:
    """Frequency (n, candidates) of each candidate among other people of the same class; one is added to each count."""
    shares = np.ones((question.people.y.max() + 1, len(question.candidates)))
    if auxiliary is not None:
        known = auxiliary.y < len(shares)
        held = auxiliary.x[known, question.column][:, None] == question.candidates[None, :]
        np.add.at(shares, auxiliary.y[known], held.astype(float))
    shares /= shares.sum(1, keepdims=True)
    return shares[question.people.y]

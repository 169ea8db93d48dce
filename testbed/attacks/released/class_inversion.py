"""What a typical record of each class looks like, from the model's answers alone."""

from __future__ import annotations

import numpy as np

from testbed.attacks.kit import attack
from testbed.attacks.released.predictions import SMALLEST
from testbed.core import Array, Classes, Cohort, Predictor, Representatives


@attack(
    risk="class_inversion",
    claim=Representatives,
    needs=set(),
    position="recipient",
    access="score",
    reference="https://dl.acm.org/doi/10.1145/2810103.2813677",
)
def class_inversion(
    view: Predictor,
    question: Classes,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    *,
    iterations: int = 60,
    population: int = 100,
    elite: float = 0.1,
) -> Representatives:
    """Search for the input of which the model is surest that it is of a class (Fredrikson et al. 2015, MI-Face).

    Threat model: whoever may ask the model for probabilities, and knows in what bounds its inputs lie. The authors
    descend a gradient; here the search asks for probabilities alone (the cross-entropy method: of each generation's
    normal draws the best tenth gives the next mean and spread), `iterations` times `population` queries a class.
    The mean of the last generation's best is claimed, and not a single extreme.
    """
    shape = question.low.shape
    low, high = (np.asarray(b, dtype=np.float64).ravel() for b in (question.low, question.high))
    made: list[Array] = []
    for label in range(question.count):
        mean, spread = (low + high) / 2, (high - low) / 4
        for _ in range(iterations):
            drawn = np.clip(rng.normal(mean, spread + 1e-9, (population, len(mean))), low, high).astype(np.float32)
            people = Cohort(drawn.reshape(-1, *shape), np.full(population, label), np.arange(population).astype(str))
            said = np.log(np.clip(np.asarray(view.ask(people), dtype=np.float64), SMALLEST, 1.0))
            # Ties, as forests have many, go to the draw that leaves the rest of the mean as it is.
            near = -1e-9 * (((drawn - mean) / (high - low + 1e-9)) ** 2).sum(1)
            best = np.argsort(-(said[:, label] + near), kind="stable")[: max(2, round(elite * population))]
            mean, spread = drawn[best].mean(0), 0.7 * drawn[best].std(0) + 0.3 * spread
        made.append(mean.reshape(shape))
    return Representatives(np.stack(made))

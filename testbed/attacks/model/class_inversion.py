"""Class inversion: what does a typical record of each class look like, by the model's answers?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn.decomposition import PCA

from testbed.attacks.model.predictions import SMALLEST
from testbed.attacks.registry import attack
from testbed.core import Array, Classes, Cohort, Predictor, Representatives, Unavailable


@attack(
    subject="model",
    rule="TB-CLASS_INVERSION-301",
    risk="class_inversion",
    claim=Representatives,
    needs={"queries"},
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
    """Search for each class the input with the largest probability of this class (Fredrikson et al. 2015, MI-Face).

    Threat model: anybody who may ask the model for probabilities, and knows the bounds of its inputs. The authors use
    gradients. Here the search uses probabilities alone (the cross-entropy method): in each generation, inputs are drawn
    from normal distributions, and the best share `elite` of them gives the next mean and spread. It takes `iterations`
    times `population` queries a class. The claim is the mean of the last generation's best inputs, not a single one.
    """
    shape = question.low.shape
    low, high = (np.asarray(b, dtype=np.float64).ravel() for b in (question.low, question.high))
    middle, width = (low + high) / 2, (high - low) / 4
    made: list[Array] = []
    for label in range(question.count):

        def score(drawn: Array, label: int = label) -> Array:
            return _certainty(view, np.clip(drawn, low, high).reshape(-1, *shape), label)

        found = _best(score, (middle, width), high - low, (low, high), rng, iterations, population, elite)
        made.append(found.reshape(shape))
    return Representatives(np.stack(made))


MOST_DIRECTIONS = 30
FEWEST_OTHERS = 50
"""Principal components of the generator at most, and other people's records that it needs at least."""


@attack(
    subject="model",
    rule="TB-CLASS_INVERSION-302",
    risk="class_inversion",
    claim=Representatives,
    needs={"auxiliary", "queries"},
    position="recipient",
    access="score",
    reference="https://arxiv.org/abs/1911.07135",
)
def generative_inversion(
    view: Predictor,
    question: Classes,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    *,
    iterations: int = 60,
    population: int = 100,
    elite: float = 0.1,
    plausible: float = 0.1,
) -> Representatives:
    """As `class_inversion`, among records that a generative model of other people can produce (Zhang et al. 2020).

    Threat model: as `class_inversion`, with records of other people, whose classes are not used. The authors train a
    GAN and use gradients. Here the generator is probabilistic PCA (Tipping and Bishop 1999) with up to 30 components,
    for which a few hundred people are enough, and the search uses probabilities alone. `plausible` is the weight of
    the record's likelihood under the generator. Raises `Unavailable` with fewer than 50 other people.
    """
    if auxiliary is None or len(auxiliary) < FEWEST_OTHERS:
        raise Unavailable("no_reference", f"{FEWEST_OTHERS} records of other people or more (--reference)")
    shape = question.low.shape
    low, high = (np.asarray(b, dtype=np.float64).ravel() for b in (question.low, question.high))
    others = auxiliary.x.reshape(len(auxiliary), -1).astype(np.float64)
    spread = np.where(others.std(0) > 0, others.std(0), 1)
    directions = min(MOST_DIRECTIONS, others.shape[1], len(others) // 5)
    generator = PCA(directions, whiten=True, svd_solver="full").fit(others / spread)
    made: list[Array] = []
    for label in range(question.count):

        def records(codes: Array) -> Array:
            return np.clip(generator.inverse_transform(codes) * spread, low, high)

        def score(codes: Array, label: int = label) -> Array:
            certainty = _certainty(view, records(codes).reshape(-1, *shape), label)
            return certainty - plausible * (codes**2).mean(1)

        start, scale, wide = np.zeros(directions), np.ones(directions), np.full(directions, 4.0)
        found = _best(score, (start, scale), wide, (-wide, wide), rng, iterations, population, elite)
        made.append(records(found[None])[0].reshape(shape))
    return Representatives(np.stack(made))


def _certainty(view: Predictor, x: Array, label: int) -> Array:
    """The log-probability (n,) of a class for inputs (n, ...)."""
    people = Cohort(x.astype(np.float32), np.full(len(x), label), np.arange(len(x)).astype(str))
    return np.log(np.clip(np.asarray(view.ask(people), dtype=np.float64)[:, label], SMALLEST, 1.0))


def _best(
    score: Callable[[Array], Array],
    start: tuple[Array, Array],
    width: Array,
    bounds: tuple[Array, Array],
    rng: np.random.Generator,
    iterations: int,
    population: int,
    elite: float,
) -> Array:
    """The point (d,) with about the highest score within bounds, by the cross-entropy method.

    `start` is the mean and the spread of a normal start.
    """
    mean, spread = start
    for _ in range(iterations):
        drawn = np.clip(rng.normal(mean, spread + 1e-9, (population, len(mean))), *bounds)
        # Equal scores, of which forests have many, are ordered by the distance to the current mean.
        near = -1e-9 * (((drawn - mean) / (width + 1e-9)) ** 2).sum(1)
        best = np.argsort(-(score(drawn) + near), kind="stable")[: max(2, round(elite * population))]
        mean, spread = drawn[best].mean(0), 0.7 * drawn[best].std(0) + 0.3 * spread
    return mean

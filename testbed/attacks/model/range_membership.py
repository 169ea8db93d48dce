"""Membership of a person whose record is only roughly known."""

from __future__ import annotations

import numpy as np

from testbed.attacks.model.predictions import asked, true_class
from testbed.attacks.model.shadows import NEEDS, trained
from testbed.attacks.registry import attack
from testbed.core import Array, Cohort, Predictor, Recipe, Records, Scores, Unavailable
from testbed.core.randomness import keyed_rng

FEWEST_OTHERS = 50
"""Records of other people that the attack needs at least."""


@attack(
    subject="model",
    rule="TB-MEMBERSHIP-316",
    risk="membership",
    claim=Scores,
    needs=NEEDS | {"auxiliary", "queries"},
    position="recipient",
    access="score",
    reference="https://arxiv.org/abs/2408.05131",
    classes_only=True,
    asks="rough",
)
def range_membership(
    view: Predictor,
    question: Records,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    recipe: Recipe | None,
    *,
    width: float = 0.25,
    points: int = 16,
    references: int = 4,
    kept: float = 0.5,
) -> Scores:
    """Score a roughly known record by the likelihood ratios of points within its range (RaMIA; Tao and Shokri 2025).

    Threat model: anybody who may ask the model for probabilities, can train such models, and has records of other
    people. A person's numbers are known up to `width` standard deviations, and columns with two values exactly. The
    attack draws `points` from this range. A point's score is the log ratio of the model's probability of the class to
    its mean under `references` models trained on other people. The record's score is the mean over the share `kept` of
    points with the highest scores. Raises `Unavailable` without a recipe or with fewer than 50 other people.
    """
    if recipe is None:
        raise Unavailable("no_recipe", "a way to train such models again (a scikit-learn estimator has one)")
    if auxiliary is None or len(auxiliary) < FEWEST_OTHERS:
        raise Unavailable("no_reference", f"{FEWEST_OTHERS} records of other people or more (--reference)")
    people = question.people
    assert isinstance(people, Cohort)
    seed = int(rng.integers(2**31))
    halves = np.stack([rng.permutation(len(auxiliary)) < len(auxiliary) / 2 for _ in range(references)])
    models = trained(recipe, auxiliary, halves, rng)
    rows = np.lexsort((people.y, *people.x.reshape(len(people), -1).T))
    place = np.argsort(rows)  # by contents, so that the order of the question plays no part
    scores, by = np.empty((points, len(people))), moves(people, auxiliary)
    for i in range(points):
        drawn = moved(people, by, width, keyed_rng(seed, "points", i), place)
        own, *others = (true_class(*asked(m, Records(drawn))) for m in (view, *models))
        scores[i] = np.log(own) - np.log(np.mean(others, axis=0))
    return Scores(np.sort(scores, axis=0)[points - max(1, round(kept * points)) :].mean(0))


def roughly(
    people: Cohort, others: Cohort, width: float, rng: np.random.Generator, place: Array | None = None
) -> Cohort:
    """The records with each number moved by a uniform draw of up to `width` standard deviations of others' records.

    Columns with two values stay unchanged. Row i is moved by draw `place[i]`, by default by draw i.
    """
    return moved(people, moves(people, others), width, rng, place)


def moves(people: Cohort, others: Cohort) -> Array:
    """How far each number (d,) may be moved: by others' standard deviation, or not at all if it has two values."""
    x, known = (group.x.reshape(len(group), -1) for group in (people, others))
    two = np.array([len(np.unique(c)) <= 2 for c in np.concatenate([x, known]).T])
    return np.where(two, 0, known.std(0))


def moved(people: Cohort, by: Array, width: float, rng: np.random.Generator, place: Array | None = None) -> Cohort:
    """The records moved at random, each number by at most `width` times its entry of `by` (d,)."""
    x = people.x.reshape(len(people), -1)
    drawn = rng.uniform(-width, width, x.shape)[np.arange(len(x)) if place is None else place]
    return Cohort((x + drawn * by).astype(people.x.dtype).reshape(people.x.shape), people.y, people.persons)

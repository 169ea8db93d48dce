"""Shadow models: many models trained with and without the people asked about."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from testbed.attacks.model.predictions import SMALLEST, asked, true_class
from testbed.core import Array, Cohort, Predictor, Recipe, Records, Scores, Unavailable

FEWEST = 4
"""The smallest number of shadow models: two with each record and two without it."""


NEEDS = {"target_records", "recipe"}


@dataclass(frozen=True, slots=True)
class Shadows:
    """Predictions of shadow models for the records asked about (n), sorted by contents; `order` (n,) are their places.

    `own` (n,) and `shadow` (shadows, n) are probabilities of the true class, by the model under attack and by each
    shadow. `included` (shadows, n) says who was in a shadow's training set. `others` and `others_shadow` are the same
    probabilities for other people. `answers` holds the probabilities (n, classes) of all classes, of the model and then
    of each shadow. `models` are the shadows themselves.
    """

    own: Array
    shadow: Array
    included: Array
    order: Array
    others: Array
    others_shadow: Array
    labels: Array
    answers: tuple[Array, ...]
    models: tuple[Predictor, ...] = ()

    @staticmethod
    def trained(
        view: Predictor,
        question: Records,
        auxiliary: Cohort | None,
        rng: np.random.Generator,
        recipe: Recipe | None,
        count: int,
    ) -> Shadows:
        """Trains `count` shadows, each pair on two random halves of the people: everybody is in exactly half of them.

        A recipe whose shadows were trained elsewhere gives them, whatever the count (`shadows_of`). Raises
        `Unavailable` without a recipe, or for a `count` that is odd or below 4.
        """
        if recipe is None:
            raise Unavailable("no_recipe", "a way to train such models again (a scikit-learn estimator has one)")
        given = getattr(recipe, "shadows_of", None)
        if given is None and (count < FEWEST or count % 2):
            raise Unavailable("few_shadows", f"an even number of shadow models, {FEWEST} or more")
        assert isinstance(question.people, Cohort)
        order = np.lexsort((question.people.y, *question.people.x.reshape(len(question.people), -1).T))
        targets = question.people.take(order)
        answers = [asked(view, Records(targets))[1]]
        beside: list[Array] = []
        if given is not None:
            models, included = given(targets)
        else:
            included = in_pairs(targets, count, rng)
            models = trained(recipe, targets, included, rng)
        for model in models:
            answers.append(asked(model, Records(targets))[1])
            beside.append(_of(model, auxiliary))
        own, *said = (true_class(targets, a) for a in answers)
        others = _of(view, auxiliary), np.stack(beside)
        return Shadows(own, np.stack(said), included, order, *others, targets.y, tuple(answers), tuple(models))

    def as_asked(self, values: Array) -> Scores:
        """Scores in the question's order, from values (n,) in the order of `own`."""
        scores = np.empty(len(self.order))
        scores[self.order] = values
        return Scores(scores)

    def mean(self, values: Array, inside: bool) -> Array:
        """The mean (n,) of values (shadows, n) over the shadows trained with each record, or without it."""
        chosen = self.included if inside else ~self.included
        return (values * chosen).sum(0) / chosen.sum(0)

    def spread(self, values: Array, inside: bool, per_example: bool) -> Array:
        """The standard deviation (n,) of values over these shadows: each record's own, or one pooled over records."""
        chosen = self.included if inside else ~self.included
        squares = ((values - self.mean(values, inside)) ** 2 * chosen).sum(0)
        degrees = chosen.sum(0) - 1
        variance = squares / degrees if per_example else np.full(len(squares), squares.sum() / degrees.sum())
        return np.sqrt(np.maximum(variance, 1e-12))


def in_pairs(people: Cohort, count: int, rng: np.random.Generator) -> Array:
    """Which people (count, n) bool each shadow is trained on: two halves by person for each pair of shadows."""
    _, first, place = np.unique(people.persons, return_index=True, return_inverse=True)
    person, different = np.argsort(np.argsort(first))[place], len(first)
    included = np.zeros((count, len(people)), bool)
    for i in range(count):
        included[i] = ~included[i - 1] if i % 2 else (rng.permutation(different) < different / 2)[person]
    return included


def trained(recipe: Recipe, people: Cohort, included: Array, rng: np.random.Generator) -> list[Predictor]:
    """A model for each row of `included` (models, n); all are trained at once if the recipe can (`many`)."""
    many = getattr(recipe, "many", None)
    made = many(people, included, rng) if many else [recipe(people.take(np.flatnonzero(i)), rng) for i in included]
    return [model for model in made if isinstance(model, Predictor)]


def _of(model: Predictor, others: Cohort | None) -> Array:
    return np.empty(0) if others is None or not len(others) else true_class(*asked(model, Records(others)))


def confidence(probability: Array, floor: float = SMALLEST) -> Array:
    """The logit log(p / (1 - p)), which is about normal over models (Carlini et al. 2022, section IV.C)."""
    kept = np.clip(probability, floor, 1 - floor)
    return np.log(kept) - np.log1p(-kept)


def finest(probability: Array) -> float:
    """Half the smallest distance of these probabilities from 0 or 1, without those that are 0 or 1.

    It is the floor for `confidence`. A forest of a hundred trees answers 1 where it means more than 0.99; without a
    floor, the logits of a few such records would dominate the variance of all.
    """
    inside = probability[(probability > SMALLEST) & (probability < 1 - SMALLEST)]
    return float(np.minimum(inside, 1 - inside).min()) / 2 if len(inside) else 0.01

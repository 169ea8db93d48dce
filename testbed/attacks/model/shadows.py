"""Shadow models: many models trained with and without the people in question."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from testbed.attacks.model.predictions import SMALLEST, asked, true_class
from testbed.core import Array, Cohort, Predictor, Recipe, Records, Scores, Unavailable

FEWEST = 4
"""Shadow models at least: two with each record and two without."""


NEEDS = {"target_records", "recipe"}


@dataclass(frozen=True, slots=True)
class Shadows:
    """What shadow models say of the targets, who stand in an order of their contents (`order`: where they were asked).

    `own` (n,) and `shadow` (shadows, n) are probabilities of the true class, by the model under attack and by each
    shadow; `included` (shadows, n) says who was in its training set. `answers` has the probabilities of all classes,
    (n, classes) of the model and then of each shadow; `models` are the shadows themselves.
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
        """Each pair of shadows is trained on the two halves of the targets' people, so that all are in and out alike.

        Raises `Unavailable` without a recipe, or for a `count` that is odd or under 4.
        """
        if recipe is None:
            raise Unavailable("no_recipe", "a way to train such models again (a scikit-learn estimator has one)")
        if count < FEWEST or count % 2:
            raise Unavailable("few_shadows", f"an even number of shadow models, {FEWEST} or more")
        assert isinstance(question.people, Cohort)
        order = np.lexsort((question.people.y, *question.people.x.reshape(len(question.people), -1).T))
        targets = question.people.take(order)
        _, first, place = np.unique(targets.persons, return_index=True, return_inverse=True)
        person, people = np.argsort(np.argsort(first))[place], len(first)
        included = np.zeros((count, len(targets)), bool)
        answers = [asked(view, Records(targets))[1]]
        beside: list[Array] = []
        for i in range(count):
            included[i] = ~included[i - 1] if i % 2 else (rng.permutation(people) < people / 2)[person]
        models = trained(recipe, targets, included, rng)
        for model in models:
            answers.append(asked(model, Records(targets))[1])
            beside.append(_of(model, auxiliary))
        own, *said = (true_class(targets, a) for a in answers)
        others = _of(view, auxiliary), np.stack(beside)
        return Shadows(own, np.stack(said), included, order, *others, targets.y, tuple(answers), tuple(models))

    def as_asked(self, values: Array) -> Scores:
        scores = np.empty(len(self.order))
        scores[self.order] = values
        return Scores(scores)

    def mean(self, values: Array, inside: bool) -> Array:
        """The mean of (shadows, n) values over the shadows that had each record, or had not."""
        chosen = self.included if inside else ~self.included
        return (values * chosen).sum(0) / chosen.sum(0)

    def spread(self, values: Array, inside: bool, per_example: bool) -> Array:
        """The standard deviation of each record, or of all records about their own means."""
        chosen = self.included if inside else ~self.included
        squares = ((values - self.mean(values, inside)) ** 2 * chosen).sum(0)
        degrees = chosen.sum(0) - 1
        variance = squares / degrees if per_example else np.full(len(squares), squares.sum() / degrees.sum())
        return np.sqrt(np.maximum(variance, 1e-12))


def trained(recipe: Recipe, people: Cohort, included: Array, rng: np.random.Generator) -> list[Predictor]:
    """A model for each row of `included` (models, n); all at once where the recipe knows how (`many`)."""
    many = getattr(recipe, "many", None)
    made = many(people, included, rng) if many else [recipe(people.take(np.flatnonzero(i)), rng) for i in included]
    return [model for model in made if isinstance(model, Predictor)]


def _of(model: Predictor, others: Cohort | None) -> Array:
    return np.empty(0) if others is None or not len(others) else true_class(*asked(model, Records(others)))


def confidence(probability: Array, floor: float = SMALLEST) -> Array:
    """log(p / (1 - p)), which is about normal over models (Carlini et al. 2022, section IV.C)."""
    kept = np.clip(probability, floor, 1 - floor)
    return np.log(kept) - np.log1p(-kept)


def finest(probability: Array) -> float:
    """Half the smallest step by which these probabilities leave 0 or 1.

    A forest of a hundred trees says 1 where it means over .99; at the logit of 1 - 1e-12 a few such records would make
    up the variance of all.
    """
    inside = probability[(probability > SMALLEST) & (probability < 1 - SMALLEST)]
    return float(np.minimum(inside, 1 - inside).min()) / 2 if len(inside) else 0.01

"""A model behind its defences, and the models that attackers train, behind the same ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from testbed.core import Act, Array, Cohort, Opened, Predictor, Recipe
from testbed.core.defence import Defence, Released, check_where
from testbed.core.errors import UsageError
from testbed.core.randomness import keyed_rng
from testbed.defences import named
from testbed.harness.recipes import Remembered
from testbed.subjects.predictors.subject import Protection, Subject

INSTEAD = "Use it with testbed run released_model, which trains the model itself."


def chosen_defences(text: str, data_class: str) -> tuple[Defence, ...]:
    """The defences that a text names. On real people's records their noise is secret."""
    return tuple(replace(d, secret=data_class == "real") for d in named.configured(text))


def behind(subject: Subject, defences: Sequence[Defence], seed: int) -> Subject:
    """The subject with these defences before the audited model, and before all models that an attacker trains.

    Attackers know the defences, but not their noise. With no defences it is the subject itself. Raises `UsageError`
    for a defence that does not work on answers or queries, and for one of answers before a model that predicts a
    number.
    """
    if not defences:
        return subject
    check_where(defences, ("answers", "queries"), "a model that was trained already", INSTEAD)
    return protected(subject, defences, subject.recipe, seed)


def protected(
    subject: Subject, defences: Sequence[Defence], naive: Recipe | None, seed: int, outside: Cohort | None = None
) -> Subject:
    """The subject with the defences of answers and queries among these. Its `recipe` already trains under the others.

    `naive` trains without any. `outside` are the owner's people outside the training data, by default the `others`.
    Who asks gets answers, so the estimator itself is left out.
    """
    outside = subject.others if outside is None else outside
    masks = [d for d in defences if d.where == "answers"]
    if masks and subject.model.held:
        raise UsageError(
            "TB-DEFENCE-023",
            f"The defence {masks[0].name} does not go together with a model that predicts no classes.",
            "It changes class probabilities, which this model does not answer.",
            "Leave it out, or use it with a classifier.",
        )

    def put(model: Predictor, members: Cohort, number: int) -> Predictor:
        for one in masks:
            model = one.build(number)(Released(model, members, outside))
        return model

    recipe = subject.recipe
    if recipe is not None and masks:
        elsewhere = hasattr(recipe, "shadows_of")
        if recipe is naive and not elsewhere:
            # The same models answer attackers who know the defence and those who do not.
            recipe = naive = Remembered(recipe, seed)
        recipe = (BehindElsewhere if elsewhere else Behind)(recipe, put)
    budgets: list[int] = [d.build(seed) for d in defences if d.where == "queries"]
    unaware = None if naive is recipe else naive
    protection = Protection(tuple(defences), put, subject.model, unaware, min(budgets, default=None))
    number = int(keyed_rng(seed, "defence").integers(2**62))
    answering = subject.model.closed() if isinstance(subject.model, Opened) and (masks or budgets) else subject.model
    model = put(answering, subject.members, number)
    return replace(subject, model=model, recipe=recipe, estimator=None, protection=protection)


def check_budget(protection: Protection, people: int) -> None:
    """Raises `UsageError` if the defences' budget of queries does not cover this number of records."""
    if protection.budget is not None and protection.budget < people:
        raise UsageError(
            "TB-DEFENCE-024",
            f"A budget of {protection.budget} queries does not cover the members and controls.",
            "Each attack asks about each of their records at least once. One that could not would show nothing.",
            "Use a larger query_budget, or fewer members and controls.",
        )


@dataclass(frozen=True, slots=True)
class Behind:
    """A recipe whose models answer behind the defences. Their noise is the attacker's own."""

    recipe: Recipe
    put: Any

    def __call__(self, people: Cohort, rng: np.random.Generator, act: Act | None = None) -> Predictor:
        return self._put(self.recipe(people, rng), people, rng)

    def many(self, people: Cohort, included: Array, rng: np.random.Generator) -> list[Predictor]:
        """A model behind the defences for each row of `included` (models, n) bool."""
        at_once = getattr(self.recipe, "many", None)
        groups = [people.take(np.flatnonzero(rows)) for rows in included]
        made = at_once(people, included, rng) if at_once else [self.recipe(group, rng) for group in groups]
        return [self._put(model, group, rng) for model, group in zip(made, groups, strict=True)]

    def _put(self, model: Any, members: Cohort, rng: np.random.Generator) -> Predictor:
        return self.put(model, members, int(rng.integers(2**62)))


@dataclass(frozen=True, slots=True)
class BehindElsewhere(Behind):
    """The same for shadow models that were trained elsewhere. They answer the people of the audit alone."""

    @property
    def included(self) -> Array:
        """Which people (models, n) each model was trained on."""
        return self.recipe.included  # type: ignore[attr-defined]

    def shadows_of(self, people: Cohort) -> tuple[list[Predictor], Array]:
        """The models, and which of these people each was trained on (models, n)."""
        models, included = self.recipe.shadows_of(people)  # type: ignore[attr-defined]
        rng = keyed_rng(0, "shadows behind a defence")
        made = [self._put(m, people.take(np.flatnonzero(r)), rng) for m, r in zip(models, included, strict=True)]
        return made, included

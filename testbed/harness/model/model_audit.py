"""A model under audit as one value: the people asked about, the view in every cell, and the threat."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from testbed.attacks.registry import Attack
from testbed.core import Act, Array, Cell, Cohort, Evidence, Opened, Predictor, Recipe, Regressor, Threat, Unavailable
from testbed.core.disclosure import MIN_CELL
from testbed.core.errors import InputError
from testbed.core.randomness import keyed_rng
from testbed.core.threat import Access
from testbed.findings.plan import Plan
from testbed.findings.schema import Unit
from testbed.harness.cells import Judged
from testbed.harness.model.deciding import Halves
from testbed.harness.model.defended import check_budget
from testbed.harness.model.kept_evidence import KeptEvidence
from testbed.harness.model.persons import one_each
from testbed.harness.model.references import certain, contrary
from testbed.harness.recipes import Remembered
from testbed.subjects.predictors.kept import kept
from testbed.subjects.predictors.subject import Subject

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """Options of an audit: shadow models an attack trains, secrets asked about, the smallest group shown, the seed."""

    shadows: int = 16
    secrets: Sequence[str] = ()
    min_cell: int = MIN_CELL
    seed: int = 0
    deciding_only: bool = False
    """True if only membership attacks that may decide are run."""
    quick: bool = False
    """True if, beside that, no further risk is asked about and no structure is checked."""
    attack: str | None = None
    """The name of one attack to run alone. Nothing then decides."""
    limit: float | None = None
    """The excess of membership that the policy allows, if there is one."""


@dataclass(frozen=True, slots=True)
class ModelAudit:
    """Everything that a check needs. `pooled` are members and controls in random order; `used` (n,) marks the members.

    `views` and `recipes` have an entry for each cell. The blind cell is a model of the same recipe trained on other
    people, if a recipe and enough people are available; the `population` is without these people. The positive control
    is a model that is certain about its training data, and otherwise answers as the audited one.
    """

    subject: Subject
    pooled: Cohort
    used: Array
    halves: Halves
    population: Cohort | None
    views: Mapping[Cell, Predictor]
    recipes: Mapping[Cell, Recipe | None]
    threat: Threat
    options: Options
    progress: Progress = field(default=lambda _: None, repr=False)
    naive: Mapping[Cell, Recipe | None] = field(default_factory=dict[Cell, Recipe | None])
    """The recipes of attackers who do not know the model's defences, if it has some and can be trained without them."""

    kept: KeptEvidence | None = None
    """The evidence about this subject that a folder keeps, if one does."""

    @property
    def unit(self) -> Unit:
        """What is judged: people, if some have several rows; then the scores of a person's rows are averaged."""
        return "record" if self.halves.counted is None else "person"

    def by_person(self, rows: Evidence) -> Evidence:
        """One row of evidence for each person: the mean over the person's rows that count. Of single rows: as it is."""
        return one_each(rows, self.halves.counted)

    @property
    def seed(self) -> int:
        return self.options.seed

    def remembered(self, attack: Attack, plan: Plan, work: Callable[[], Judged]) -> Judged:
        """The finding of one attack, from the kept evidence if an equal attack is among it, or by `work`."""
        return work() if self.kept is None else self.kept.attacked(attack, plan, self.seed, self.threat, work)

    def put(self, model: Predictor) -> Predictor:
        """A model that knows the members, behind the defences of the audited one."""
        return _behind(self.subject)[1](model, self.subject.members, self.seed)

    @staticmethod
    def of(subject: Subject, options: Options, progress: Progress) -> ModelAudit:
        """The audit of a subject. It asks the model about everybody once, and trains the blind model."""
        seed = options.seed
        pooled, used = _pool(subject, seed)
        if subject.protection is not None:
            check_budget(subject.protection, len(pooled))
        with suppress(Unavailable):  # if a budget of queries does not cover everybody
            subject.model.ask(pooled)
        subject = replace(subject, model=kept(_for_inventions(subject.model)))
        views: dict[Cell, Predictor] = {"true": subject.model}
        population = subject.others
        recipes: dict[Cell, Recipe | None] = {"true": None, "blind": None, "positive": None}
        if subject.recipe is not None:
            shared = subject.recipe if hasattr(subject.recipe, "shadows_of") else Remembered(subject.recipe, seed)
            recipes["true"] = recipes["blind"] = shared
            if subject.others is not None and len(subject.others) >= len(subject.members):
                progress("a model of other people")
                blind, population = _blind(subject, subject.recipe, subject.others, pooled, seed)
                views |= {"blind": blind} if blind is not None else {}
        bare, put = _behind(subject)
        views["positive"] = kept(put(certain(subject.members, bare), subject.members, seed))

        def memorising(people: Cohort, rng: np.random.Generator, act: Act | None = None) -> Predictor:
            return kept(put(certain(people, bare), people, int(rng.integers(2**62))))

        recipes["positive"] = Remembered(memorising, seed) if subject.recipe is not None else None
        naive = _unaware(subject, bare, seed)
        halves = Halves.of(pooled.persons, used, seed)
        budget = None if subject.protection is None else subject.protection.budget
        threat = recipient(subject, budget)
        return ModelAudit(subject, pooled, used, halves, population, views, recipes, threat, options, progress, naive)


def recipient(subject: Subject, budget: int | None = None) -> Threat:
    """The attacker: whoever gets the model. Of a network the weights are released too, unless it only answers."""
    access: Access = "white" if isinstance(subject.model, Opened) else "score"
    return Threat("recipient", knows=knowledge(subject), access=access, budget=budget)


def knowledge(subject: Subject) -> frozenset[str]:
    """The knowledge that attackers on this subject have beforehand, in the words of `Threat`."""
    knows = {"target_records", "some_memberships"}
    knows |= {"auxiliary"} if subject.others is not None else set()
    knows |= {"recipe"} if subject.recipe is not None else set()
    knows |= {"known_columns", "queries"} if subject.described else set()
    knows |= {"defence"} if subject.protection is not None else set()
    return frozenset(knows)


def _behind(subject: Subject) -> tuple[Predictor, Callable[[Predictor, Cohort, int], Predictor]]:
    """What the positive control answers about others, and what puts it behind the model's defences.

    Without masks this is the audited model. Behind a mask the control is wrong about others: a leak that also shows in
    the predicted class, which masks keep.
    """
    protection = subject.protection
    if protection is None or not protection.masks:
        return subject.model, lambda model, *_: model
    return contrary(_for_inventions(protection.bare)), protection.put


def _unaware(subject: Subject, bare: Predictor, seed: int) -> dict[Cell, Recipe | None]:
    """The recipe of each cell for attackers who do not know the defences; empty if there is none."""
    if subject.protection is None or subject.protection.naive is None:
        return {}
    kept = subject.protection.naive
    if not isinstance(kept, Remembered) and not hasattr(kept, "shadows_of"):
        kept = Remembered(kept, seed)

    def memorising(people: Cohort, rng: np.random.Generator, act: Act | None = None) -> Predictor:
        return certain(people, bare)

    return {"true": kept, "blind": kept, "positive": Remembered(memorising, seed)}


def _pool(subject: Subject, seed: int) -> tuple[Cohort, Array]:
    groups = (subject.members, subject.controls)
    pooled = Cohort(*(np.concatenate([getattr(g, f) for g in groups]) for f in ("x", "y", "persons")))
    used = np.arange(len(pooled)) < len(subject.members)
    order = keyed_rng(seed, "pool").permutation(len(pooled))
    return pooled.take(order), used[order]


def _blind(
    subject: Subject, recipe: Recipe, others: Cohort, pooled: Cohort, seed: int
) -> tuple[Predictor | None, Cohort]:
    """A model trained on other people, or None if none can be trained, and the remaining population."""
    _, person = np.unique(others.persons, return_inverse=True)
    place = keyed_rng(seed, "blind people").permutation(person.max() + 1)[person]
    shuffled = np.argsort(place, kind="stable")
    behind, rest = shuffled[: len(subject.members)], shuffled[len(subject.members) :]
    blind: Predictor | None = None
    try:
        made = recipe(others.take(behind), keyed_rng(seed, "blind"))
        assert isinstance(made, Predictor)
        made.ask(pooled)
        blind = made
    except Unavailable:
        rest = shuffled
    return blind, others.take(rest) if len(rest) > 1 else others


REFUSES = Unavailable("refuses_records", "a model that also answers about invented records")


def _for_inventions(model: Predictor) -> Predictor:
    """The model, but it raises `Unavailable` if it refuses records.

    It has already answered about the people themselves, so only an attack's invented records can be refused.
    """
    made = replace(model, **{name: _or_unavailable(getattr(model, name)) for name in model.ANSWERS})
    if isinstance(made, Regressor):
        return replace(made, numbers=made.numbers and _or_unavailable(made.numbers))
    return made


def _or_unavailable(function: Callable[[Any], Array]) -> Callable[[Any], Array]:
    def ask(asked: Any) -> Array:
        try:
            return function(asked)
        except InputError:
            raise REFUSES from None

    return ask

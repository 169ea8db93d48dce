"""Unlearning: do people who were removed from a model still show in its answers?"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from testbed.core import Act, Array, Cohort, Predictor, Recipe, Split, Unavailable
from testbed.core.randomness import keyed_rng
from testbed.findings.plan import Plan
from testbed.findings.wording import REMOVED, percent
from testbed.harness.cells import Judged, unmeasured
from testbed.harness.model import untrained
from testbed.harness.model.membership import attempted, decision
from testbed.harness.model.model_audit import ModelAudit, Options, Progress
from testbed.harness.model.plans import may_decide
from testbed.subjects.predictors.kept import kept
from testbed.subjects.predictors.subject import Subject

RULE = "TB-MEMBERSHIP-350"
"""The rule of the finding on people who were removed."""


@dataclass(frozen=True, slots=True)
class Beside:
    """A recipe whose models learn from all people who stayed, and from the people asked for.

    A model of nobody else is the audited one, trained again without the people who were removed.
    """

    recipe: Recipe
    stayed: Cohort

    def __call__(self, people: Cohort, rng: np.random.Generator, act: Act | None = None) -> Predictor:
        made = self.recipe(_joined(self.stayed, people), rng)
        assert isinstance(made, Predictor)
        return made

    def many(self, people: Cohort, included: Array, rng: np.random.Generator) -> list[Predictor]:
        """A model for each row of `included` (models, n) bool, all made at once if the recipe can do that."""
        at_once = getattr(self.recipe, "many", None)
        if at_once is None:
            return [self(people.take(np.flatnonzero(rows)), rng) for rows in included]
        everybody = np.ones((len(included), len(self.stayed)), bool)
        return at_once(_joined(self.stayed, people), np.concatenate([everybody, included], axis=1), rng)


def _joined(one: Cohort, other: Cohort) -> Cohort:
    return Cohort(*(np.concatenate([getattr(g, field) for g in (one, other)]) for field in ("x", "y", "persons")))


def as_members(subject: Subject) -> Subject:
    """The subject with the people who were removed in the place of its members. Models that are trained again learn
    from those who stayed, too. Raises `Unavailable` if nobody was removed."""
    if subject.removed is None:
        raise Unavailable("nobody_removed", "the people who were removed (--forgotten)")
    recipe = subject.recipe
    again = None if recipe is None or hasattr(recipe, "shadows_of") else Beside(recipe, subject.members)
    return replace(subject, split=Split(subject.removed, subject.controls, None), recipe=again)


def forgotten(subject: Subject, options: Options, progress: Progress) -> Judged:
    """The finding on people who were removed from the model. It decides, and its limit is that of membership.

    They stand where members stand: the attacks that may decide on membership ask whether their records were used, and
    are judged beside the controls. Shadow models learn from all members who stayed, and from half of the removed people
    and controls. The blind cell is the model trained again from the members who stayed: what an attack reaches there,
    removed people show by being unlike controls. If the model is surely less sure of them than of controls, the finding
    is flagged (`negative_excess`): forgetting then shows who was forgotten.
    """
    asked = as_members(subject)
    people = len(np.unique(asked.members.persons))
    if people < options.min_cell:
        plan = Plan(rule=RULE, risk="membership", attack="none", metric="tpr_at_fpr", primary=True, target=REMOVED)
        return unmeasured(plan, Unavailable("few_removed", f"{options.min_cell} people who were removed, or more"))
    audit = ModelAudit.of(asked, replace(options, deciding_only=True), progress)
    if asked.recipe is not None:
        progress("a model trained again without them")
        audit = replace(audit, views={**audit.views, "blind": _again(subject, options.seed)})
    tried = [one for one in attempted(audit) if may_decide(one[0], audit)]
    decided = decision(tried, audit, RULE, REMOVED)
    if asked.recipe is None:
        return untrained.bounded(decided, [one for _, one in tried], audit)
    baseline = percent(decided.finding.baseline)
    again = f" The same attack on a model that was trained again without them reaches {baseline}."
    return replace(decided, finding=decided.finding.model_copy(update={"plain": decided.finding.plain + again}))


def _again(subject: Subject, seed: int) -> Predictor:
    assert subject.recipe is not None
    made = subject.recipe(subject.members, keyed_rng(seed, "without the people who were removed"))
    assert isinstance(made, Predictor)
    return kept(made)

"""Which form of a table does a model take? The forms are tried, and the one is used with which the model is best."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from testbed.core import Array, Cohort
from testbed.core.errors import InputError
from testbed.subjects.predictors import copies, estimator, outcome_tables
from testbed.subjects.predictors import people as subjects
from testbed.subjects.predictors.columns import Coding
from testbed.subjects.predictors.given_form import Form
from testbed.subjects.predictors.outcomes import Outcome
from testbed.subjects.predictors.regression import Scale, inputs_and_truth, one_each

EQUAL = 1e-9
"""Difference of losses that is a rounding error."""
FEW_PEOPLE = 300
"""People on whom it is tried whether a copy of the model can be trained."""


def fitted(
    made: Any,
    coding: Coding,
    frames: dict[str, pd.DataFrame],
    classes: Sequence[Any] | None,
    label: str | Sequence[str],
    person: str | None,
    named: bool,
) -> Coding:
    """The coding in the form that the model takes. `named` says that the model knows its columns by name.

    If several forms are taken, the one counts with which the model is right about members and controls more often, or
    with a smaller loss: a wrong form, such as words that the model does not recognise, makes it worse. Members and
    controls are taken together, so the choice reveals no membership. Among equally good forms, the first one counts in
    which a copy of the model can be trained. Raises `InputError` if no form is taken.
    """
    rounds = list(coding.forms(named))
    if len(rounds) == 1 and len(rounds[0]) == 1:
        return replace(coding, form=rounds[0][0])
    scale, outcome = None, None
    if not isinstance(label, str):
        split, outcome = outcome_tables.outcomes(made, frames, label, person, coding)
    elif classes is None:
        split, scale = subjects.numeric_cohorts(frames, label, person, coding)
    else:
        split = subjects.cohorts(frames, label, list(classes), person, coding)
    groups = [g for g in (split.members, split.controls) if isinstance(g, Cohort)]
    refused: InputError | None = None
    for forms in rounds:
        losses: list[tuple[float, Form]] = []
        for form in forms:
            asked = estimator.Asked(made, replace(coding, form=form).given)
            try:
                loss = _of_all(asked, groups, scale, outcome)
            except InputError as error:
                refused = refused or error
                continue
            losses.append((float(loss), form))
        if losses:
            least = min(loss for loss, _ in losses) + EQUAL
            best = [replace(coding, form=form) for loss, form in losses if loss <= least]
            trains = (one for one in best if len(best) > 1 and _trains(made, one, groups[0], classes, outcome))
            return next(trains, best[0])
    assert refused is not None
    raise refused


def _of_all(asked: estimator.Asked, groups: Sequence[Cohort], scale: Scale | None, outcome: Outcome | None) -> float:
    if outcome is not None:
        view = outcome.view(estimator.told(asked, outcome, groups[0]))
        return float(np.mean([1 - view.ask(group)[:, 1].mean() for group in groups]))
    return float(np.mean([_loss(asked, g) if scale is None else _error(asked, g, scale) for g in groups]))


def _trains(made: Any, coding: Coding, members: Cohort, classes: Sequence[Any] | None, outcome: Outcome | None) -> bool:
    few = members.take(np.arange(min(FEW_PEOPLE, len(members))))
    if outcome is not None:
        x, y = few.x[:, : -outcome.held], outcome.labels(few.x[:, -outcome.held :])
    elif classes is None:
        x, y = inputs_and_truth(few)
    else:
        x, y = few.x, np.asarray(classes)[few.y]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            start = copies.quiet(copies.untrained(copies.searched(made)), np.random.default_rng(0))
            start.fit(coding.given(x), y)
    except Exception:  # a foreign estimator may raise anything
        return False
    return True


def _loss(asked: estimator.Asked, people: Cohort) -> float:
    """The mean probability of wrong classes. Its logarithm would make a model that learnt by heart, and that is sure
    of wrong classes of controls, look worse than one that recognises nobody's words."""
    own: Array = asked.probabilities(people.x)[np.arange(len(people)), people.y]
    return float(1 - own.mean())


def _error(asked: estimator.Asked, people: Cohort, scale: Scale) -> float:
    """The mean of log(1 + error), so that no single outlier decides."""
    x, truth = inputs_and_truth(people)
    said = one_each(asked.answered(x, asked.model.predict))
    return float(np.log1p(np.abs(scale.errors(said, truth))).mean())

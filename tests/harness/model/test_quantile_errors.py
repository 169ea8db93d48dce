"""Errors of a predicted number: the pinball loss by hand, quantiles of people not used, and both may decide."""

from __future__ import annotations

import numpy as np
import pytest

from testbed.attacks.registry import find
from testbed.core import Array, Cohort, Known, Records, Scores, Threat, Unavailable
from testbed.core.errors import UsageError
from testbed.core.randomness import keyed_rng
from testbed.harness.model.model_audit import ModelAudit, Options
from testbed.harness.model.plans import chosen, may_decide
from testbed.subjects.predictors.people import predictions
from testbed.subjects.predictors.regression import Scale, as_regressor
from testbed.subjects.predictors.subject import Subject
from tests.harness.model.test_audit import table

KNOWS = Threat("recipient", knows=frozenset({"target_records", "some_memberships"}), access="score")


def people(errors: Array, x: Array, name: str) -> Cohort:
    """People whom the model below predicts with these errors: it says the first input."""
    return Cohort(
        np.column_stack([x, x - errors]), np.ones(len(x), np.int64), np.array([f"{name} {i}" for i in range(len(x))])
    )


def scores(attack: str, asked: Cohort, known: Cohort, used: Array) -> Array:
    view = as_regressor(lambda x: x[:, 0], Scale(0.0, 1.0, 1.0))
    made = find(attack).run(view, Records(asked, known=Known(known, used)), None, 0, KNOWS)
    assert isinstance(made, Scores)
    return made.values


def test_the_pinball_loss_has_the_level_of_people_who_were_not_used() -> None:
    outside = np.array([1.0] * 18 + [-1.0] * 2)  # nine in ten lie below the prediction: a model of the 90 % quantile
    known = people(np.concatenate([outside, np.full(20, -9.0)]), np.zeros(40), "known")
    asked = people(np.array([2.0, -2.0, 0.0]), np.zeros(3), "asked")
    told = scores("pinball_loss", asked, known, np.arange(40) >= 20)
    assert told == pytest.approx([-0.1 * 2, -0.9 * 2, 0])
    with pytest.raises(Unavailable):
        scores("pinball_loss", asked, known, np.arange(40) >= 5)


def test_an_error_counts_beside_those_of_similar_people_who_were_not_used() -> None:
    """Right of 0 the model is usually far off. A member there stands out, and a control left of 0 does not."""
    rng = keyed_rng(0, "errors")
    x = np.concatenate([rng.uniform(-1, 0, 200), rng.uniform(0, 1, 200)])
    known = people(np.where(x > 0, 5.0, 0.5) * rng.choice([-1, 1], 400), x, "known")
    asked = people(np.array([1.0, 0.5]), np.array([0.5, -0.5]), "asked")
    member, control = scores("error_quantiles", asked, known, np.zeros(400, bool))
    assert member > control
    plain = scores("pinball_loss", asked, known, np.zeros(400, bool))
    assert plain[0] < plain[1]


def test_they_may_decide_on_a_predicted_number_and_are_not_asked_about_classes() -> None:
    frame = table(label=np.linspace(0, 1, 40), prediction=np.linspace(0.1, 1.2, 40)).drop(columns=["p_0", "p_1"])
    model, split = predictions(frame)
    audit = ModelAudit.of(Subject(model, split, described=False), Options(), lambda _: None)
    deciding = {attack.name for attack in chosen(audit) if may_decide(attack, audit)}
    assert {"pinball_loss", "error_quantiles", "prediction_loss"} <= deciding
    model, split = predictions(table())
    audit = ModelAudit.of(Subject(model, split, described=False), Options(attack="pinball_loss"), lambda _: None)
    with pytest.raises(UsageError, match="TB-ATTACK-006"):
        chosen(audit)

"""Membership in the training data of a model of the time to an event, by how its curve fits each person's outcome."""

from __future__ import annotations

import numpy as np

from testbed.attacks.model.predictions import asked, true_class
from testbed.attacks.registry import attack
from testbed.core import Array, Cohort, Predictor, Records, Scores, Survivor

SMALLEST = 1e-9
"""The smallest height of a curve, so that no hazard is infinite."""


def outcome_fits(curves: Array, times: Array, outcomes: Array) -> dict[str, Array]:
    """How well curves (n, k) at `times` (k,) fit outcomes (n, 2) of a time and an event: three numbers (n,) each.

    Larger is a better fit. `partial` is a contribution to Breslow's likelihood, `brier` minus the Brier score at the
    person's own time, and `distance` minus the mean distance of the curve from the outcome where it is known.
    """
    time, ended = outcomes[:, 0], outcomes[:, 1] == 1
    place = np.searchsorted(times, time)
    whole = np.concatenate([np.ones((len(curves), 1)), curves, np.zeros((len(curves), 1))], 1)
    row = np.arange(len(curves))
    before, after = whole[row, place], whole[row, place + 1]
    brier = -(np.where(ended, after, 1 - before) ** 2)
    alive = times[None] < time[:, None]
    known = alive | ended[:, None]
    off = np.where(known, np.abs(curves - alive), 0.0).sum(1)
    distance = -off / np.maximum(known.sum(1), 1)
    return {"partial": _partial(curves, time, ended), "brier": brier, "distance": distance}


def _partial(curves: Array, time: Array, ended: Array) -> Array:
    """Each person's contribution (n,) to the logarithm of Breslow's likelihood, with one risk for each person.

    The risk is the curve's mean cumulative hazard (the ensemble mortality of Ishwaran et al. 2008). With the event it
    is compared with the risks of all who were still at risk. All lose by the hazard of everybody until their time.
    """
    risk = -np.log(np.maximum(curves, SMALLEST)).mean(1) + SMALLEST
    order = np.argsort(-time, kind="stable")
    last = np.searchsorted(-time[order], -time[order], side="right") - 1
    at_risk = np.empty(len(time))
    at_risk[order] = np.cumsum(risk[order])[last]
    count = np.empty(len(time))
    count[order] = last + 1
    rises = np.where(ended, 1 / at_risk, 0.0)
    by_time = np.argsort(time, kind="stable")
    upto = np.searchsorted(time[by_time], time, side="right") - 1
    hazard = np.cumsum(rises[by_time])[upto]
    return np.where(ended, np.log(risk * count / at_risk), 0.0) - risk * hazard


def _scores(view: Predictor, question: Records, fit: str) -> Scores:
    people = question.people
    assert isinstance(people, Cohort)
    if not isinstance(view, Survivor):  # a reference model that gives the likelihood of outcomes alone
        return Scores(np.log(true_class(*asked(view, question))))
    curves = np.asarray(view.curves(people), dtype=np.float64)
    return Scores(outcome_fits(curves, view.times, people.x[:, -2:])[fit])


@attack(
    subject="model",
    rule="TB-MEMBERSHIP-323",
    risk="membership",
    claim=Scores,
    needs={"target_records"},
    position="recipient",
    access="score",
    reference="https://doi.org/10.1111/j.2517-6161.1972.tb00899.x",
    decides=True,
    times_only=True,
)
def partial_likelihood(
    view: Predictor, question: Records, auxiliary: Cohort | None, rng: np.random.Generator
) -> Scores:
    """Score a record by its contribution to the partial likelihood, with the baseline of Breslow (Cox 1972).

    Threat model: anybody who may ask the model for survival curves, and holds the records asked about with their
    outcomes. A Cox model maximises the sum of these contributions over the people it was trained on. A person with the
    event is compared with all who were still at risk then; a person who was last seen without it loses by the hazard.
    """
    return _scores(view, question, "partial")


@attack(
    subject="model",
    rule="TB-MEMBERSHIP-324",
    risk="membership",
    claim=Scores,
    needs={"target_records"},
    position="recipient",
    access="score",
    reference="https://doi.org/10.1002/(SICI)1097-0258(19990915/30)18:17/18%3C2529::AID-SIM274%3E3.0.CO;2-5",
    decides=True,
    times_only=True,
)
def brier_at_own_time(view: Predictor, question: Records, auxiliary: Cohort | None, rng: np.random.Generator) -> Scores:
    """Score a record by minus the Brier score of the curve at the person's own time (Graf et al. 1999).

    Threat model: as `partial_likelihood`. With the event, the curve should be 0 at the next given time. Without it, the
    curve should be 1 at the given time before the person was last seen.
    """
    return _scores(view, question, "brier")


@attack(
    subject="model",
    rule="TB-MEMBERSHIP-325",
    risk="membership",
    claim=Scores,
    needs={"target_records"},
    position="recipient",
    access="score",
    reference="https://doi.org/10.1002/(SICI)1097-0258(19990915/30)18:17/18%3C2529::AID-SIM274%3E3.0.CO;2-5",
    decides=True,
    times_only=True,
)
def curve_distance(view: Predictor, question: Records, auxiliary: Cohort | None, rng: np.random.Generator) -> Scores:
    """Score a record by minus the mean distance of the curve from the person's outcome, over the given times.

    Threat model: as `partial_likelihood`. The outcome is 1 before the event and 0 after it. Of a person who was last
    seen without the event, only times until then count.
    """
    return _scores(view, question, "distance")

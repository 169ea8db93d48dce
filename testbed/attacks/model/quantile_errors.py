"""Membership in the training data of a model that predicts a number, by its errors about people who were not used."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

from testbed.attacks.model.known_memberships import FEWEST
from testbed.attacks.model.predictions import asked, true_class
from testbed.attacks.registry import attack
from testbed.core import Array, Cohort, Predictor, Records, Regressor, Scores, Unavailable
from testbed.core.threads import one_thread

EXTREME = 0.02
"""The smallest distance of a model's level from 0 and 1, so that errors on both sides count."""


@attack(
    subject="model",
    rule="TB-MEMBERSHIP-321",
    risk="membership",
    claim=Scores,
    needs={"target_records", "some_memberships"},
    position="recipient",
    access="score",
    reference="https://doi.org/10.2307/1913643",
    decides=True,
    numbers_only=True,
)
def pinball_loss(view: Predictor, question: Records, auxiliary: Cohort | None, rng: np.random.Generator) -> Scores:
    """Score a record by minus the pinball loss of the model's prediction (the loss of Koenker and Bassett 1978).

    Threat model: anybody who may ask the model, holds the records asked about with their true numbers, and knows some
    people who were not used (`question.known`). A model of a quantile errs on one side more often than on the other,
    and learns to: errors on the two sides weigh as in its own training. The level of the quantile is the share of known
    non-members whose number lies below the prediction. At a level of one half this is the absolute error. Raises
    `Unavailable` with fewer than ten known non-members.
    """
    outside = _errors(view, _outside(question))
    level = float(np.clip(((outside > 0) + 0.5 * (outside == 0)).mean(), EXTREME, 1 - EXTREME))
    assert isinstance(question.people, Cohort)
    above = _errors(view, question.people)
    return Scores(-np.maximum((1 - level) * above, -level * above))


def _errors(view: Predictor, people: Cohort) -> Array:
    """Prediction minus truth (n,); of a model with classes, the probability of wrong ones."""
    if isinstance(view, Regressor):
        return np.asarray(view.errors(people), dtype=np.float64)
    return 1 - true_class(*asked(view, Records(people)))


@attack(
    subject="model",
    rule="TB-MEMBERSHIP-322",
    risk="membership",
    claim=Scores,
    needs={"target_records", "some_memberships"},
    position="recipient",
    access="score",
    reference="https://arxiv.org/abs/2307.03694",
    decides=True,
    numbers_only=True,
    quick={"rounds": 20},
)
def error_quantiles(
    view: Predictor,
    question: Records,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    *,
    level: float = 0.9,
    rounds: int = 60,
) -> Scores:
    """Score a record by how far the truth's likelihood is above its quantile for such people (Bertran et al. 2023).

    Threat model: as `pinball_loss`. Boosted trees with the pinball loss learn, from the records of known non-members,
    which likelihood of the truth only a share 1 - `level` of such people exceeds. The score is the record's log-odds
    minus that quantile. `quantile_regression` does the same with the attacker's own people; it is a candidate only
    where no models can be trained. Raises `Unavailable` with fewer than ten known non-members.
    """
    known = _outside(question)
    order = np.lexsort(known.x.T)  # so that the order of a file changes nothing
    known = known.take(order)
    people, answers = asked(view, question)
    _, theirs = asked(view, Records(known))
    trees: Any = HistGradientBoostingRegressor(loss="quantile", quantile=level, max_iter=rounds, max_leaf_nodes=8)
    trees.set_params(early_stopping=False, random_state=0)
    with one_thread():
        trees.fit(known.x, _log_odds(true_class(known, theirs)))
        usual = np.asarray(trees.predict(people.x))
    return Scores(_log_odds(true_class(people, answers)) - usual)


def _outside(question: Records) -> Cohort:
    """The known people who were not used. Raises `Unavailable` if there are too few."""
    known = question.known
    if known is None or (~known.used).sum() < FEWEST:
        raise Unavailable(
            "few_known_memberships", f"{FEWEST} people or more of whom it is known that they were not used"
        )
    assert isinstance(known.people, Cohort)
    return known.people.take(np.flatnonzero(~known.used))


def _log_odds(probability: Array) -> Array:
    return np.log(probability) - np.log1p(-probability)

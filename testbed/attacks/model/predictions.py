"""Membership from a released model's predictions, without training other models."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

from testbed.attacks.registry import attack
from testbed.core import Array, Cohort, Predictor, Records, Scores, Unavailable
from testbed.core.threads import one_thread

SMALLEST = 1e-12
"""The smallest distance of a probability from 0 and 1, so that no score is infinite."""


def asked(view: Predictor, question: Records) -> tuple[Cohort, Array]:
    """The records asked about, and the model's probabilities (n, classes) for them."""
    assert isinstance(question.people, Cohort)
    return question.people, np.clip(np.asarray(view.ask(question.people), dtype=np.float64), SMALLEST, 1 - SMALLEST)


def true_class(people: Cohort, probabilities: Array) -> Array:
    """The probability (n,) of each record's true class."""
    return probabilities[np.arange(len(people)), people.y]


@attack(
    subject="model",
    rule="TB-MEMBERSHIP-309",
    risk="membership",
    claim=Scores,
    needs={"target_records"},
    position="recipient",
    access="score",
    reference="https://arxiv.org/abs/1709.01604",
    decides=True,
)
def prediction_loss(view: Predictor, question: Records, auxiliary: Cohort | None, rng: np.random.Generator) -> Scores:
    """Score a record by minus the cross-entropy of the model's prediction (Yeom et al. 2018).

    Threat model: anybody who may ask the model for probabilities, and holds the records asked about with their classes.
    """
    people, probabilities = asked(view, question)
    return Scores(np.log(true_class(people, probabilities)))


@attack(
    subject="model",
    rule="TB-MEMBERSHIP-310",
    risk="membership",
    claim=Scores,
    needs={"target_records"},
    position="recipient",
    access="score",
    reference="https://arxiv.org/abs/2003.10595",
    classes_only=True,
    decides=True,
)
def modified_entropy(view: Predictor, question: Records, auxiliary: Cohort | None, rng: np.random.Generator) -> Scores:
    """Score a record by minus the modified entropy of its prediction, small if the class is right (Song & Mittal 2021).

    Threat model: as `prediction_loss`. The modified entropy is -(1 - p_y) log p_y - sum over other classes c of
    p_c log(1 - p_c), with the true class y.
    """
    people, probabilities = asked(view, question)
    own = true_class(people, probabilities)
    others = probabilities * np.log1p(-probabilities)
    total = others.sum(1) - own * np.log1p(-own)
    return Scores((1 - own) * np.log(own) + total)


@attack(
    subject="model",
    rule="TB-MEMBERSHIP-312",
    risk="membership",
    claim=Scores,
    needs={"target_records", "auxiliary"},
    position="recipient",
    access="score",
    reference="https://arxiv.org/abs/2111.09679",
    decides=True,
)
def population(view: Predictor, question: Records, auxiliary: Cohort | None, rng: np.random.Generator) -> Scores:
    """Score a record by the share of other people of its class whose loss is larger (Attack-P; Ye et al. 2022).

    Threat model: as `prediction_loss`, with records of other people of the same population. Raises `Unavailable`
    without them. If no other person has a record's class, it is compared with all other people.
    """
    if auxiliary is None or len(auxiliary) < 2:
        raise Unavailable("no_reference", "records of other people of the same population (--reference)")
    people, probabilities = asked(view, question)
    own = true_class(people, probabilities)
    _, theirs = asked(view, Records(auxiliary))
    known = true_class(auxiliary, theirs)
    scores = np.empty(len(people))
    for label in np.unique(people.y):
        crowd = known[auxiliary.y == label] if (auxiliary.y == label).any() else known
        mine = people.y == label
        scores[mine] = np.searchsorted(np.sort(crowd), own[mine], side="left") / len(crowd)
    return Scores(scores)


@attack(
    subject="model",
    rule="TB-MEMBERSHIP-311",
    risk="membership",
    claim=Scores,
    needs={"target_records"},
    position="recipient",
    access="label",
    reference="https://arxiv.org/abs/1709.01604",
    metric="rate",
)
def label_gap(view: Predictor, question: Records, auxiliary: Cohort | None, rng: np.random.Generator) -> Scores:
    """Score a record by whether the model classifies it correctly: the gap of training and test accuracy (Yeom 2018).

    Threat model: anybody who may ask the model for its class only, and holds the records asked about.
    """
    people, probabilities = asked(view, question)
    return Scores((probabilities.argmax(1) == people.y).astype(np.float64))


FEWEST_OTHERS = 50
"""Records of other people that the attack needs at least."""


@attack(
    subject="model",
    rule="TB-MEMBERSHIP-313",
    risk="membership",
    claim=Scores,
    needs={"target_records", "auxiliary", "queries"},
    position="recipient",
    access="score",
    reference="https://arxiv.org/abs/2307.03694",
    decides=True,
)
def quantile_regression(
    view: Predictor, question: Records, auxiliary: Cohort | None, rng: np.random.Generator
) -> Scores:
    """Score a record by how unusual its confidence is among similar people who were not used (Bertran et al. 2023).

    Threat model: as `prediction_loss`, with records of other people of the same population; no model is trained again.
    Boosted trees predict the logit of the true class from other people's inputs and class, and likewise the size of the
    residual. The score is the record's residual in units of that size (the authors' Gaussian variant). Residuals are
    computed out of fold, so that the trees' own fit does not make them too small. Raises `Unavailable` with fewer than
    50 other people.
    """
    if auxiliary is None or len(auxiliary) < FEWEST_OTHERS:
        raise Unavailable("no_reference", f"{FEWEST_OTHERS} records of other people or more (--reference)")
    people, probabilities = asked(view, question)
    _, theirs = asked(view, Records(auxiliary))
    known = _logit(true_class(auxiliary, theirs))
    inputs, outputs = _inputs(auxiliary, view.classes), _inputs(people, view.classes)

    def trees() -> HistGradientBoostingRegressor:
        made = HistGradientBoostingRegressor(max_iter=60, max_leaf_nodes=8, min_samples_leaf=10, random_state=0)
        return made.set_params(early_stopping=False)

    # By contents, so that the folds do not depend on the order of a file.
    order = np.lexsort(inputs.T)
    fold = np.empty(len(order), int)
    fold[order] = np.arange(len(order)) % 5
    left = np.empty(len(known))
    with one_thread():
        for part in range(5):
            rest = fold != part
            left[~rest] = np.abs(known[~rest] - trees().fit(inputs[rest], known[rest]).predict(inputs[~rest]))
        mean, spread = trees().fit(inputs, known), trees().fit(inputs, np.log(left + 1e-6))
        own = _logit(true_class(people, probabilities))
        return Scores((own - mean.predict(outputs)) / np.exp(spread.predict(outputs)))


def _logit(probability: Array) -> Array:
    return np.log(probability) - np.log1p(-probability)


def _inputs(people: Cohort, classes: int) -> Array:
    return np.concatenate([people.x.reshape(len(people), -1), np.eye(classes)[people.y]], 1)

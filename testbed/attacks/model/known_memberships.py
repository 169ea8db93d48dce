"""Membership from a released model's answers, by an attacker who knows the membership of some other people."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from testbed.attacks.model.predictions import asked, true_class
from testbed.attacks.model.survival import outcome_fits
from testbed.attacks.registry import attack
from testbed.core import Array, Cohort, Joint, Predictor, Records, Regressor, Scores, Survivor, Unavailable

FEWEST = 10
"""Known members, and known non-members, that a classifier needs at least."""
LARGEST = 3
"""The number of largest probabilities that are features."""
FEW_CLASSES, MOST_CLASSES = 10, 100
"""With at most the first number of classes, the class is a feature; with at most the second, each probability is."""
DECIMALS = 9
"""An answer with this many decimals is not rounded; one with fewer is."""
MOST_PER_TREE = 10_000
"""Records from which each tree learns at most."""
STRATA = 10
"""Groups of equal size, from small to large, into which the true numbers of a regression are divided."""


@attack(
    subject="model",
    rule="TB-MEMBERSHIP-317",
    risk="membership",
    claim=Scores,
    needs={"target_records", "some_memberships"},
    position="recipient",
    access="score",
    reference="https://arxiv.org/abs/1806.01246",
    decides=True,
)
def membership_classifier(
    view: Predictor,
    question: Records,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    *,
    trees: int = 100,
    leaf: int = 5,
) -> Scores:
    """Score a record by a random forest on the model's answers, trained on people whose membership is known.

    Threat model: anybody who may ask the model for probabilities, holds the records asked about with their classes, and
    knows the membership of other people (`question.known`). Salem et al. (2019) train such a classifier on a shadow
    model; here it is trained on known memberships, as in SACRO-ML's worst case and ART's black-box attack. It assumes
    no direction: members may be predicted with less confidence than others, or within a band. Members and non-members
    have the same weight in each class, so that classes more common among members say nothing. Raises `Unavailable`
    with fewer than ten known members or non-members.
    """
    features, used, weights = lessons(view, question, answer_features)
    forest = RandomForestClassifier(
        trees,
        min_samples_leaf=leaf,
        max_samples=min(len(used), MOST_PER_TREE),
        random_state=int(rng.integers(2**31)),
    )
    forest.fit(features, used, sample_weight=weights)
    return Scores(np.asarray(forest.predict_proba(answer_features(view, question)))[:, 1])


@attack(
    subject="model",
    rule="TB-MEMBERSHIP-318",
    risk="membership",
    claim=Scores,
    needs={"target_records", "some_memberships"},
    position="recipient",
    access="score",
    reference="https://arxiv.org/abs/1806.01246",
    decides=True,
)
def membership_regression(
    view: Predictor,
    question: Records,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    *,
    penalty: float = 1.0,
) -> Scores:
    """Score a record by a logistic regression on the model's answers, trained on people whose membership is known.

    Threat model: as `membership_classifier`. That attack finds bands and combinations; this one adds up small
    differences in many classes, which a forest does not. Raises `Unavailable` with fewer than ten known members or
    non-members.
    """
    features, used, weights = lessons(view, question, answer_features)
    model = fitted_line(features, used, weights, penalty)
    return Scores(np.asarray(model.decision_function(answer_features(view, question)), dtype=np.float64))


def fitted_line(features: Array, used: Array, weights: Array, penalty: float) -> Pipeline:
    """A logistic regression of membership (n,) on standardised features (n, f)."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1 / penalty, max_iter=1000))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # if a feature separates members perfectly
        model.fit(features, used, logisticregression__sample_weight=weights)
    return model


def lessons(
    view: Predictor, question: Records, of: Callable[[Predictor, Records], Array]
) -> tuple[Array, Array, Array]:
    """Features (n, f), memberships (n,) and weights (n,) of the known people, sorted by their values.

    `of(view, records)` gives the features. Raises `Unavailable` with fewer than ten known members or non-members.
    """
    known = question.known
    if known is None or min(known.used.sum(), (~known.used).sum()) < FEWEST:
        raise Unavailable("few_known_memberships", f"{FEWEST} known members and as many known non-members")
    assert isinstance(known.people, Cohort)
    features = of(view, Records(known.people))
    weights = _balanced(_stratum(view, known.people), known.used)
    order = np.lexsort((known.used, *features.T))
    return features[order], known.used[order], weights[order]


def _decimals(answers: Array) -> Array:
    """The number of decimals (n,) with which each row of numbers (n, k) is written, at most `DECIMALS`."""
    needed = np.full(len(answers), DECIMALS)
    for decimals in range(DECIMALS - 1, -1, -1):
        written = (np.abs(np.round(answers, decimals) - answers) <= 1e-9 * np.maximum(1.0, np.abs(answers))).all(1)
        needed[written] = decimals
    return needed


def answer_features(view: Predictor, question: Records) -> Array:
    """Features (n, features) float64 of each answer.

    For classes: the largest probabilities, the true class's probability, its margin over the largest other one, whether
    it is the largest, the entropy and the modified entropy (Song and Mittal 2021), the logarithm of each class's
    probability, with few classes the class itself, and the number of decimals. For a predicted number: its likelihood,
    the signed and the absolute error, the prediction, and the number of decimals. For a survival curve: the likelihood
    of the outcome, how well the curve fits it (`outcome_fits`), the curve, the outcome, and the number of decimals.
    For several labels: the likelihood, each label's, the smallest of them, the labels, and the number of decimals.
    """
    people, answers = asked(view, question)
    own = true_class(people, answers)
    if isinstance(view, Regressor):
        off = np.asarray(view.errors(people), dtype=np.float64)
        said = people.x[:, -1] + off
        written = said if view.numbers is None else np.asarray(view.numbers(people.x[:, :-1]), dtype=np.float64)
        return np.column_stack([own, off, np.abs(off), said, _decimals(written.reshape(len(said), -1))])
    if isinstance(view, Survivor):
        curves = np.asarray(view.curves(people), dtype=np.float64)
        outcomes = people.x[:, -2:]
        fits = outcome_fits(curves, view.times, outcomes)
        return np.column_stack([own, *fits.values(), curves, outcomes, _decimals(curves)])
    if isinstance(view, Joint):
        each = np.asarray(view.each(people), dtype=np.float64)
        return np.column_stack([own, np.log(each), each.min(1), people.x[:, -view.held :], _decimals(each)])
    others = answers.copy()
    others[np.arange(len(people)), people.y] = -1
    columns = [
        -np.sort(-answers, axis=1)[:, :LARGEST],
        own,
        own - others.max(1),
        answers.argmax(1) == people.y,
        -(answers * np.log(answers)).sum(1),
        _modified_entropy(answers, own),
    ]
    if view.classes <= MOST_CLASSES:
        columns.append(np.log(answers))
    if view.classes <= FEW_CLASSES:
        columns.append(people.y)
    columns.append(_decimals(answers))
    return np.column_stack(columns).astype(np.float64)


def _modified_entropy(answers: Array, own: Array) -> Array:
    others = (answers * np.log1p(-answers)).sum(1) - own * np.log1p(-own)
    return -(1 - own) * np.log(own) - others


def _stratum(view: Predictor, people: Cohort) -> Array:
    """The group (n,) within which members and non-members are compared: the class, or a tenth of the true numbers.

    For a survival curve a tenth of the times, with and without the event.
    """
    if not view.held:
        return people.y
    if isinstance(view, Joint):
        return np.unique(people.x[:, -view.held :], axis=0, return_inverse=True)[1].ravel()
    truth = people.x[:, -view.held]
    tenth = np.searchsorted(np.quantile(truth, np.arange(1, STRATA) / STRATA), truth)
    return tenth + STRATA * people.x[:, -1].astype(int) if isinstance(view, Survivor) else tenth


def _balanced(stratum: Array, used: Array) -> Array:
    """Weights (n,) with which members and non-members have the same total weight in each stratum.

    One record is added on either side, so that in small strata no single record outweighs many others.
    """
    _, group = np.unique(stratum, return_inverse=True)
    count = np.stack([np.bincount(group, ~used), np.bincount(group, used)])
    weight = (count.sum(0) / 2 + 1) / (count + 1)
    return weight[used.astype(int), group]

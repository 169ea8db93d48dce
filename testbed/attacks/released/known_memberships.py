"""Membership from a released model's answers by someone who already knows who of other people was used."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from testbed.attacks.kit import attack
from testbed.attacks.released.predictions import asked, true_class
from testbed.core import Array, Cohort, Predictor, Records, Scores, Unavailable

FEWEST = 10
"""Known members, and known non-members, that a classifier can learn from."""
LARGEST = 3
"""How many of the largest probabilities it looks at."""
FEW_CLASSES = 10
"""Up to so many classes it also looks at each class's own probability."""
MOST_PER_TREE = 10_000
STRATA = 10
"""Of a number to predict: groups of equal size, from small to large."""


@attack(
    risk="membership",
    claim=Scores,
    needs={"target_records", "some_memberships"},
    position="recipient",
    access="score",
    reference="https://arxiv.org/abs/1806.01246",
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
    """Score a record by a random forest that learnt from known members what the model's answers about them look like.

    Threat model: whoever may ask the model for probabilities, holds the records in doubt with their classes, and knows
    the membership of other people (`question.known`). Salem et al. (2019) teach such a classifier on a shadow model;
    here known memberships teach it, as in SACRO-ML's worst case and ART's black-box attack. It assumes no direction:
    members may be predicted less surely than others, or within a band. Members and non-members weigh the same in each
    class, so that classes which are commoner among members teach nothing. Raises `Unavailable` with fewer than ten
    known members or non-members.
    """
    known = question.known
    if known is None or min(known.used.sum(), (~known.used).sum()) < FEWEST:
        raise Unavailable("few_known_memberships", f"{FEWEST} known members and as many known non-members")
    assert isinstance(known.people, Cohort)
    features = answer_features(view, Records(known.people))
    weights = _balanced(_stratum(view, known.people), known.used)
    # By contents, so that the order of records changes nothing.
    order = np.lexsort((known.used, *features.T))
    forest = RandomForestClassifier(
        trees,
        min_samples_leaf=leaf,
        max_samples=min(len(order), MOST_PER_TREE),
        random_state=int(rng.integers(2**31)),
    )
    forest.fit(features[order], known.used[order], sample_weight=weights[order])
    return Scores(np.asarray(forest.predict_proba(answer_features(view, question)))[:, 1])


def answer_features(view: Predictor, question: Records) -> Array:
    """What is looked at of each answer, (n, features) float64.

    The largest probabilities, that of the true class, its margin over the largest other, whether it is the largest, the
    entropy and the modified entropy (Song and Mittal 2021); with few classes all probabilities and the class itself.
    Of a number: its likelihood, the signed and the absolute error, and the prediction.
    """
    people, answers = asked(view, question)
    own = true_class(people, answers)
    if view.errors is not None:
        off = np.asarray(view.errors(people), dtype=np.float64)
        return np.column_stack([own, off, np.abs(off), people.x[:, -1] + off])
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
    if view.classes <= FEW_CLASSES:
        columns += [answers, people.y]
    return np.column_stack(columns).astype(np.float64)


def _modified_entropy(answers: Array, own: Array) -> Array:
    others = (answers * np.log1p(-answers)).sum(1) - own * np.log1p(-own)
    return -(1 - own) * np.log(own) - others


def _stratum(view: Predictor, people: Cohort) -> Array:
    """Within which groups (n,) members and non-members are compared: the class, or a tenth of the true numbers."""
    if view.errors is None:
        return people.y
    truth = people.x[:, -1]
    return np.searchsorted(np.quantile(truth, np.arange(1, STRATA) / STRATA), truth)


def _balanced(stratum: Array, used: Array) -> Array:
    """Weights (n,) under which members and non-members count alike in each stratum.

    Small strata are drawn towards no weighting (one record more on either side), so that no record outweighs many.
    """
    _, group = np.unique(stratum, return_inverse=True)
    count = np.stack([np.bincount(group, ~used), np.bincount(group, used)])
    weight = (count.sum(0) / 2 + 1) / (count + 1)
    return weight[used.astype(int), group]

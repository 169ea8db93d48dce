"""Membership from the inside of a released network, by an attacker who knows some other people's membership."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from testbed.attacks.model.known_memberships import MOST_PER_TREE, answer_features, fitted_line, lessons
from testbed.attacks.registry import attack
from testbed.core import Array, Cohort, Opened, Predictor, Records, Scores


@attack(
    subject="model",
    rule="TB-MEMBERSHIP-326",
    risk="membership",
    claim=Scores,
    needs={"target_records", "some_memberships"},
    position="recipient",
    access="white",
    reference="https://arxiv.org/abs/1812.00910",
    decides=True,
    opened_only=True,
)
def white_box_model(
    view: Predictor,
    question: Records,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    *,
    trees: int = 100,
    leaf: int = 5,
    penalty: float = 1.0,
) -> Scores:
    """Score a record by classifiers of a network's gradients, outputs and answers, trained on known memberships.

    Threat model: whoever has the network itself with its weights, holds the records asked about with their classes, and
    knows the membership of other people (`question.known`), as the stand-alone attacker of Nasr et al. (2019), who
    trains a network on the same inputs. Inputs are the norm of the loss's gradient in each layer, the outputs before
    they became probabilities (`testbed.models.inside`), and the answers as in `membership_classifier`. The score is the
    mean probability of a random forest and a logistic regression. Raises `Unavailable` with fewer than ten known
    members or non-members.
    """

    def features(model: Predictor, asked: Records) -> Array:
        assert isinstance(model, Opened)
        assert isinstance(asked.people, Cohort)
        return np.column_stack([model.signals(asked.people), answer_features(model, asked)])

    known, used, weights = lessons(view, question, features)
    forest = RandomForestClassifier(
        trees, min_samples_leaf=leaf, max_samples=min(len(used), MOST_PER_TREE), random_state=int(rng.integers(2**31))
    )
    forest.fit(known, used, sample_weight=weights)
    line = fitted_line(known, used, weights, penalty)
    asked = features(view, question)
    said: list[Array] = [np.asarray(learner.predict_proba(asked)) for learner in (forest, line)]
    return Scores((said[0][:, 1] + said[1][:, 1]) / 2)

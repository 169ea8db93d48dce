"""Answers that are moved until a classifier of members is in doubt, after MemGuard."""

from __future__ import annotations

import hashlib

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from testbed.core import Array, Predictor
from testbed.core.defence import Answering, Released
from testbed.core.errors import UsageError
from testbed.core.randomness import keyed_rng
from testbed.defences.answers import SMALLEST, changed
from testbed.defences.registry import defence

STEPS = np.linspace(0, 1, 21)
"""How far an answer is moved towards the usual answer of its class, as shares of the way."""
FEWEST = 10
"""People outside the training data that the owner needs at least."""


def features(answers: Array) -> Array:
    """What the owner's classifier of members sees of answers (n, classes): the sorted log probabilities."""
    return np.log(np.maximum(np.sort(answers, 1)[:, ::-1], SMALLEST))


@defence(where="answers")
def memguard(*, seed: int, distortion: float = 1.0) -> Answering:
    """Move each answer until the owner's own classifier no longer tells whether it is a member's; keep its class.

    After MemGuard (Jia et al. 2019, arXiv 1909.10594). The classifier is a logistic regression on the members and on
    people outside. An answer is moved towards the mean answer that others get with the same predicted class, as far as
    the classifier needs to be at one half. It is moved at random, so that the expected change (L1) is at most
    `distortion`; an equal answer is moved equally each time. A heuristic: it fools the classifier that the owner
    thought of, and the predicted class stays.
    """

    def put(released: Released) -> Predictor:
        outside = released.outside
        if outside is None or len(outside) < FEWEST:
            raise UsageError(
                "TB-DEFENCE-022",
                "memguard needs people outside the training data.",
                "Its owner trains a classifier that distinguishes answers about members from those about others.",
                f"Give {FEWEST} people or more with --reference.",
            )
        inside, others = (np.asarray(released.model.ask(p), np.float64) for p in (released.members, outside))
        seen, truth = np.concatenate([inside, others]), np.repeat([1, 0], [len(inside), len(others)])
        owner = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000))
        owner.fit(features(seen), truth)
        return changed(released.model, lambda answers: _moved(answers, owner, usual(others), distortion, seed))

    return put


def usual(answers: Array) -> Array:
    """The mean answer (classes, classes) by predicted class; for a class that nobody got, certainty."""
    first = answers.argmax(1)
    sure = np.eye(answers.shape[1])
    return np.stack([answers[first == c].mean(0) if (first == c).any() else sure[c] for c in range(len(sure))])


def _moved(answers: Array, owner: Pipeline, towards: Array, distortion: float, seed: int) -> Array:
    goal = towards[answers.argmax(1)]
    tried = answers[None] + STEPS[:, None, None] * (goal - answers)[None]
    flat = features(tried.reshape(-1, answers.shape[1]))
    doubt = np.abs(owner.predict_proba(flat)[:, 1].reshape(len(STEPS), -1) - 0.5)
    chosen = tried[doubt.argmin(0), np.arange(len(answers))]
    length = np.abs(chosen - answers).sum(1)
    share = np.minimum(1.0, distortion / np.maximum(length, SMALLEST))
    return np.where((_drawn(answers, seed) < share)[:, None], chosen, answers)


def _drawn(answers: Array, seed: int) -> Array:
    """A number within [0, 1) for each answer (n,): the same for an equal answer, so that asking again shows nothing."""
    keys = [hashlib.sha256(np.round(row, 9).tobytes()).hexdigest() for row in answers]
    return np.array([keyed_rng(seed, "memguard", key).random() for key in keys])

"""Models that predict a number, as the attacks know models: by how likely the truth is under the prediction.

A record's last value is the number in question. Its "probability" is 1 / (1.1 + (error / scale)^2), with the usual
error as the scale: so the log-odds that attacks compare are -log(.1 + (error / scale)^2), the order of the loss is that
of the squared error, no outlier's likelihood vanishes, and an error of 0 is not infinitely telling (with 1 in place of
1.1 LiRA loses up to .05 of AUC on a forest). The other class of the two has the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from testbed.core import Array, Cohort, Predictor
from testbed.errors import InputError

Predict: TypeAlias = Callable[[Array], Array]
"""Numbers (n,) of inputs (n, features)."""
CLASSES = 2
SOFT = 0.1
"""Errors under a third of the usual one tell little more than such a one; in squares of the scale."""


def inputs_and_truth(people: Cohort) -> tuple[Array, Array]:
    """Inputs (n, features) and numbers (n,) of records (n, features + 1)."""
    return people.x[:, :-1], people.x[:, -1]


def likelihoods(said: Array, truth: Array, scale: float) -> Array:
    """The share (n, 2) of the truth, second, and the rest. Raises `InputError` for predictions that are no numbers."""
    if said.shape != truth.shape or not np.isfinite(said).all():
        raise InputError(
            "TB-SUBJECT-028",
            "The model does not predict one finite number a record.",
            "Its error is what attacks look at, and leaving records out would change the answer.",
            "Give a model with one output; write missing predictions into the table before auditing it.",
        )
    likely = 1 / (1 + SOFT + ((said.astype(np.float64) - truth) / scale) ** 2)
    return np.column_stack([1 - likely, likely])


def usual_error(said: Array, truth: Array) -> float:
    """The median size of the errors that are not 0; the truth's spread where all are."""
    off = np.abs(np.asarray(said, np.float64) - truth)
    return float(np.median(off[off > 0])) if (off > 0).any() else float(np.std(truth)) or 1.0


def as_predictor(predict: Predict, scale: float) -> Predictor:
    """The model as attacks ask it, about records whose last value is the truth."""

    def ask(people: Cohort) -> Array:
        x, truth = inputs_and_truth(people)
        return likelihoods(predict(x), truth, scale)

    return Predictor(ask, CLASSES, predict)

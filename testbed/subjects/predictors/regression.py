"""Models that predict a number, as the attacks know models: by how likely the truth is under the prediction.

A record's last value is the number in question. Its "probability" is 1 / (1.1 + (error / usual error)^2): so the
log-odds that attacks compare are -log(.1 + (error / usual error)^2), the order of the loss is that of the squared
error, no outlier's likelihood vanishes, and an error of 0 is not infinitely telling. The other class has the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from testbed.core import Array, Cohort, Predictor
from testbed.core.errors import InputError

Predict: TypeAlias = Callable[[Array], Array]
"""Numbers (n,) of inputs (n, features)."""
CLASSES = 2
SOFT = 0.1
"""Errors under a third of the usual one tell little more than such a one; in squares of the usual error."""
ROUNDING = 1e-6
"""Errors under this share of the numbers' spread are those of float32, in which networks answer."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Numbers are kept as (number - offset) / unit, in which `usual` is the size of the model's usual error."""

    offset: float
    unit: float
    usual: float = 1.0

    @staticmethod
    def of(numbers: Array) -> Scale:
        """About the mean, in standard deviations. Raises `InputError` where all numbers are the same."""
        unit = float(np.std(numbers))
        if not unit > 0:
            raise InputError(
                "TB-SUBJECT-029",
                "All records have the same number to predict.",
                "A model of one number knows nothing that could be told from it.",
                "Name the column that the model predicts with --label.",
            )
        return Scale(float(np.mean(numbers)), unit)

    def kept(self, numbers: Array) -> Array:
        return (numbers - self.offset) / self.unit

    def numbers(self, kept: Array) -> Array:
        made = kept.astype(np.float64) * self.unit + self.offset
        return np.where(np.abs(made) > 1e-12 * (abs(self.offset) + self.unit), made, 0.0)  # a count of 0 is no -1e-17

    def measured(self, said: Array, kept: Array) -> Scale:
        """With the median size of the errors that are not 0 as the usual one; 1 where all are."""
        off = np.abs(self.errors(said, kept))
        return replace(self, usual=float(np.median(off[off > 0])) if (off > 0).any() else 1.0)

    def likelihoods(self, said: Array, kept: Array) -> Array:
        """The share (n, 2) of the truth, second, and the rest. Raises `InputError` for what are no numbers (n,)."""
        likely = 1 / (1 + SOFT + (self.errors(said, kept) / self.usual) ** 2)
        return np.column_stack([1 - likely, likely])

    def errors(self, said: Array, kept: Array) -> Array:
        """Prediction minus truth (n,), as numbers are kept. Raises `InputError` for what are no numbers (n,)."""
        if said.shape != kept.shape or not np.isfinite(said).all():
            raise InputError(
                "TB-SUBJECT-028",
                "The model does not predict one finite number a record.",
                "Its error is what attacks look at, and leaving records out would change the answer.",
                "Give a model with one output that is a number for every record.",
            )
        off = (said.astype(np.float64) - self.offset) / self.unit - kept
        return np.where(np.abs(off) > ROUNDING, off, 0.0)


def inputs_and_truth(people: Cohort) -> tuple[Array, Array]:
    """Inputs (n, features) and kept numbers (n,) of records (n, features + 1)."""
    return people.x[:, :-1], people.x[:, -1]


def one_each(said: Array) -> Array:
    """Predictions (n,) or (n, 1) as (n,); several a record stay as they are, and are refused beside the truth."""
    return said[:, 0] if said.ndim == 2 and said.shape[1] == 1 else said


def as_predictor(predict: Predict, scale: Scale) -> Predictor:
    """The model as attacks ask it, about records whose last value is the truth."""

    def ask(people: Cohort) -> Array:
        x, truth = inputs_and_truth(people)
        return scale.likelihoods(predict(x), truth)

    def errors(people: Cohort) -> Array:
        x, truth = inputs_and_truth(people)
        return scale.errors(predict(x), truth)

    return Predictor(ask, CLASSES, predict, errors)

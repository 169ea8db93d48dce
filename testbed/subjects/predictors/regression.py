"""Models that predict a number, in the form that attacks expect: a probability for the truth and one for the rest.

A record's last value is the true number. Its "probability" is 1 / (1.1 + (error / usual error)^2), and the other class
has the rest. Attacks compare log-odds, which are -log(0.1 + (error / usual error)^2): a larger squared error gives a
larger loss, but neither an outlier nor an error of zero gives an infinite one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from testbed.core import Array, Cohort, Regressor
from testbed.core.errors import InputError

Predict: TypeAlias = Callable[[Array], Array]
"""A function from inputs (n, features) to predicted numbers (n,)."""
CLASSES = 2
"""The truth, and everything else."""
SOFT = 0.1
"""Added to the squared error, in squares of the usual error: errors below a third of it count nearly alike."""
ROUNDING = 1e-6
"""Errors below this share of the numbers' standard deviation are rounding errors of float32, and count as zero."""


@dataclass(frozen=True, slots=True)
class Scale:
    """The scale of the number: records hold (number - offset) / unit; `usual` is the usual error in that unit."""

    offset: float
    unit: float
    usual: float = 1.0

    @staticmethod
    def of(numbers: Array) -> Scale:
        """The scale with the mean as offset and the standard deviation as unit. Raises `InputError` if it is 0."""
        unit = float(np.std(numbers))
        if not unit > 0:
            raise InputError(
                "TB-SUBJECT-029",
                "All records have the same number to predict.",
                "If only one number occurs, the model's answers say nothing about membership.",
                "Name the column that the model predicts with --label.",
            )
        return Scale(float(np.mean(numbers)), unit)

    def kept(self, numbers: Array) -> Array:
        """Numbers as records hold them."""
        return (numbers - self.offset) / self.unit

    def numbers(self, kept: Array) -> Array:
        """The inverse of `kept`."""
        back = kept.astype(np.float64) * self.unit + self.offset
        return np.where(np.abs(back) > 1e-12 * (abs(self.offset) + self.unit), back, 0.0)  # rounding must not move a 0

    def measured(self, said: Array, kept: Array) -> Scale:
        """The scale whose usual error is the median size of the errors that are not 0, or 1 if all are 0."""
        off = np.abs(self.errors(said, kept))
        return replace(self, usual=float(np.median(off[off > 0])) if (off > 0).any() else 1.0)

    def likelihoods(self, said: Array, kept: Array) -> Array:
        """Probabilities (n, 2), the second for the truth. Raises `InputError` unless there is one number a record."""
        likely = 1 / (1 + SOFT + (self.errors(said, kept) / self.usual) ** 2)
        return np.column_stack([1 - likely, likely])

    def errors(self, said: Array, kept: Array) -> Array:
        """Prediction minus truth (n,), in units. Raises `InputError` unless there is a finite number a record."""
        if said.shape != kept.shape or not np.isfinite(said).all():
            raise InputError(
                "TB-SUBJECT-028",
                "The model does not predict one finite number for each record.",
                "Attacks use its error, and leaving records out would change the result.",
                "Audit one output at a time: a function for --api with --outputs number, or a table for --predictions "
                "with the column prediction.",
            )
        off = (said.astype(np.float64) - self.offset) / self.unit - kept
        return np.where(np.abs(off) > ROUNDING, off, 0.0)


def inputs_and_truth(people: Cohort) -> tuple[Array, Array]:
    """Inputs (n, features) and true numbers (n,), in units, of records (n, features + 1)."""
    return people.x[:, :-1], people.x[:, -1]


def one_each(said: Array) -> Array:
    """Predictions (n,) or (n, 1) as (n,). Several a record stay as they are, and `Scale.errors` refuses them."""
    return said[:, 0] if said.ndim == 2 and said.shape[1] == 1 else said


def as_regressor(predict: Predict, scale: Scale) -> Regressor:
    """The model as a view, for records whose last value is the true number."""

    def ask(people: Cohort) -> Array:
        x, truth = inputs_and_truth(people)
        return scale.likelihoods(predict(x), truth)

    def errors(people: Cohort) -> Array:
        x, truth = inputs_and_truth(people)
        return scale.errors(predict(x), truth)

    return Regressor(ask, CLASSES, errors, predict)

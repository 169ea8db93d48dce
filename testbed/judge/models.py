# pyright: strict, reportMissingTypeStubs=false
"""Judging claims about models: a person's hidden input, a stolen model, a typical record of a class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from scipy.spatial import distance as _distance

from testbed.core import Array, Cell, Cohort, Evidence, Group, Guesses, Predictor, Representatives
from testbed.judge.arrays import flat
from testbed.judge.groups import by_group

distance = cast(Any, _distance)  # SciPy ships no types


def feature(claim: Guesses, truth: Array, used: Array, view: Cell, persons: Array) -> Evidence:
    """Evidence that each person's hidden input is guessed exactly; the claim has one guess a person."""
    guesses_ = next(iter(claim.values.values()))
    return by_group(view, used, (guesses_ == truth).astype(float), persons)


def agreement(substitute: Predictor, answers: Array, people: Cohort, view: Cell, group: Group) -> Evidence:
    """Evidence that a substitute names the same class as the model for each record.

    `answers` (n, classes) are the model's. Records of one person are one cluster.
    """
    same = substitute.ask(people).argmax(1) == answers.argmax(1)
    person = np.unique(people.persons, return_inverse=True)[1]
    return Evidence.rows(view, group, success=same.astype(float), cluster=person)


def representatives(claim: Representatives, people: Cohort, view: Cell, group: Group) -> Evidence:
    """Evidence that each class's representative is nearest to the mean of its own class among these people.

    Inputs are divided by their standard deviation among these people. A class that nobody has is left out.
    """
    x = flat(people.x)
    deviation = x.std(0)
    scale = np.where(deviation > 0, deviation, np.inf)
    labels = np.unique(people.y)
    means = np.stack([x[people.y == c].mean(0) for c in labels]) / scale
    asked = flat(claim.records)[labels] / scale
    nearest = distance.cdist(asked, means, "sqeuclidean").argmin(1)
    return Evidence.rows(view, group, success=(nearest == np.arange(len(labels))).astype(float), item=labels)


def named(
    claim: Representatives, judge: Callable[[Array], Array], classes: Array, view: Cell, group: Group
) -> Evidence:
    """Evidence that an independent classifier assigns each class's representative to that class.

    `judge` maps records (n, ...) to classes (n,).
    """
    said = judge(claim.records[classes])
    return Evidence.rows(view, group, success=(said == classes).astype(float), item=classes)

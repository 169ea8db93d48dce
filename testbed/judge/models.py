# pyright: strict, reportMissingTypeStubs=false
"""Judges claims about models: a hidden input, a stolen model, a typical record of a class."""

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
    """Is each person's hidden input guessed exactly? The claim has one guess a person."""
    guesses_ = next(iter(claim.values.values()))
    return by_group(view, used, (guesses_ == truth).astype(float), persons)


def agreement(substitute: Predictor, answers: Array, people: Cohort, view: Cell, group: Group) -> Evidence:
    """Does the substitute name the same class as the model, whose `answers` (n, classes) these are?"""
    same = substitute.ask(people).argmax(1) == answers.argmax(1)
    person = np.unique(people.persons, return_inverse=True)[1]
    return Evidence.rows(view, group, success=same.astype(float), cluster=person)


def representatives(claim: Representatives, people: Cohort, view: Cell, group: Group) -> Evidence:
    """Is each class's representative nearest to the mean of that class, of all classes these people have?

    On the scale of each input's spread among them. A class that none of them has is left out.
    """
    x = flat(people.x)
    spread = x.std(0)
    scale = np.where(spread > 0, spread, np.inf)
    labels = np.unique(people.y)
    means = np.stack([x[people.y == c].mean(0) for c in labels]) / scale
    asked = flat(claim.records)[labels] / scale
    nearest = distance.cdist(asked, means, "sqeuclidean").argmin(1)
    return Evidence.rows(view, group, success=(nearest == np.arange(len(labels))).astype(float), item=labels)


def named(
    claim: Representatives, judge: Callable[[Array], Array], classes: Array, view: Cell, group: Group
) -> Evidence:
    """Does an independent classifier, which maps records (n, ...) to classes (n,), name each representative rightly?"""
    said = judge(claim.records[classes])
    return Evidence.rows(view, group, success=(said == classes).astype(float), item=classes)

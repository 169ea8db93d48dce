"""Models of several labels at once, in the form that attacks expect: one likelihood of all true labels of a person.

The last values of a record are the numbers of its true classes, one for each label. The likelihood is the geometric
mean of the probabilities of the true classes: its logarithm is minus the sum of the labels' losses, over their number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd

from testbed.core import Array, Cohort, Joint, Predictor
from testbed.core.errors import InputError
from testbed.subjects.predictors.copies import last_of, searched
from testbed.subjects.predictors.outcomes import Answers
from testbed.subjects.predictors.people import classes

SMALLEST = 1e-6
"""The smallest probability of a true class: a class that the model excludes does not count without limit."""


def predicts_several(made: Any) -> bool:
    """Whether it predicts several labels at once, by what scikit-learn's models of several labels say."""
    made = searched(last_of(made))
    coded = getattr(getattr(made, "_label_binarizer", None), "y_type_", "")
    listed = isinstance(known := getattr(made, "classes_", None), list | tuple) and any(np.ndim(c) for c in known)
    return listed or bool(getattr(made, "multilabel_", False)) or str(coded).startswith("multilabel")


@dataclass(frozen=True, slots=True)
class Labels:
    """Several labels. `known` are the classes of each, in the order of the model's probabilities."""

    known: tuple[tuple[Any, ...], ...]

    @property
    def held(self) -> int:
        return len(self.known)

    def labels(self, outcomes: Array) -> Array:
        """What `fit` is given for the numbers (n, labels) of classes."""
        codes = outcomes.astype(int).T
        return np.column_stack([np.asarray(known)[own] for known, own in zip(self.known, codes, strict=True)])

    def method(self, made: Any) -> Callable[[Any], Array]:
        """The function of a fitted model that answers the probabilities (n, classes of all labels)."""

        def said(given: Any) -> Array:
            told = made.predict_proba(given)
            if not isinstance(told, list):  # one probability of each label, that of its second class
                yes = np.asarray(told, np.float64)
                return np.stack([1 - yes, yes], 2).reshape(len(yes), -1)
            own = searched(last_of(made)).classes_
            return np.concatenate([_aligned(*each) for each in zip(told, own, self.known, strict=True)], 1)

        return said

    def told(self, said: Answers, known: Cohort) -> Answers:
        """The answers as they are."""
        return said

    def likelihoods(self, said: Array, outcomes: Array) -> Array:
        """The probability (n, labels) of each true class. Raises `InputError` unless there is one for each class."""
        sizes = [len(known) for known in self.known]
        if said.shape != (len(outcomes), sum(sizes)) or not ((said >= 0) & (said <= 1 + 1e-9)).all():
            raise InputError(
                "TB-SUBJECT-073",
                "The model does not give a probability for each class of each label.",
                "The true class would be looked up in a wrong column.",
                "Audit each label by itself, as a table for --predictions with p_0, p_1, ....",
            )
        first = np.cumsum([0, *sizes[:-1]])
        return np.clip(np.take_along_axis(said, np.asarray(outcomes + first, np.int64), 1), SMALLEST, 1)

    def view(self, said: Answers) -> Joint:
        """The model as attackers see it, by its probabilities."""

        def each(people: Cohort) -> Array:
            x, outcomes = people.x[:, : -self.held], people.x[:, -self.held :]
            return self.likelihoods(said(x), outcomes)

        def ask(people: Cohort) -> Array:
            likely = np.exp(np.log(each(people)).mean(1))
            return np.column_stack([1 - likely, likely])

        return Joint(ask, 2, each, said, self.held)

    def when_asked(self, model: Callable[[], Predictor]) -> Joint:
        """The view of a model that `model` makes when it is asked for the first time."""

        def each(people: Cohort) -> Array:
            return cast(Joint, model()).each(people)

        def said(x: Array) -> Array:
            return cast(Joint, model()).said(x)

        return Joint(lambda people: model().ask(people), 2, each, said, self.held)


def _aligned(said: Any, own: Any, known: tuple[Any, ...]) -> Array:
    """Probabilities of the model's own classes in the columns of those known. A class that it never saw has none."""
    full = np.zeros((len(said), len(known)))
    full[:, [known.index(value) for value in np.asarray(own).tolist()]] = said
    return full


def labels_of(made: Any, count: int) -> Labels:
    """The labels of a fitted model. Raises `InputError` unless it has this many."""
    inner = searched(last_of(made))
    listed = getattr(inner, "classes_", ())
    several = isinstance(listed, list | tuple) and any(np.ndim(c) for c in listed)
    known = [tuple(np.asarray(c).tolist()) for c in listed] if several else [(0, 1)] * len(listed)
    if len(known) != count:
        raise InputError(
            "TB-SUBJECT-074",
            f"The model predicts {len(known)} labels, and {count} columns are named.",
            "Each label of a person is compared with the model's probability for it.",
            "Name a column for each label with --label a,b,c, in the order in which fit was given them.",
        )
    return Labels(tuple(known))


def outcomes_of(frames: dict[str, pd.DataFrame], names: Sequence[str], labels: Labels) -> dict[str, Array]:
    """The numbers (n, labels) of the true classes of each table. Raises `InputError` for a class the model has not."""
    made: dict[str, Array] = {}
    for role, frame in frames.items():
        codes: list[Any] = [{known: i for i, known in enumerate(k)} for k in labels.known]
        columns = [frame[name].map(code) for name, code in zip(names, codes, strict=True)]
        made[role] = np.column_stack(
            [classes(column, len(known)) for column, known in zip(columns, labels.known, strict=True)]
        ).astype(np.float64)
    return made

"""What a model predicts that gives neither the probabilities of one label nor one number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from testbed.core import Array, Cohort, Predictor

Answers = Callable[[Array], Array]
"""A function from inputs (n, features) to all that a model says of each record, (n, answers)."""


class Outcome(Protocol):
    """What such a model predicts. The true outcome of a person is in the last `held` values of the record."""

    @property
    def held(self) -> int: ...

    def labels(self, outcomes: Array) -> Any:
        """What `fit` is given for true outcomes (n, held)."""
        ...

    def method(self, made: Any) -> Callable[[Any], Array]:
        """The function of a fitted model that answers what `fit` was given."""
        ...

    def told(self, said: Answers, known: Cohort) -> Answers:
        """The model's answers in the form that `view` takes; people known, members and others alike, may help."""
        ...

    def view(self, said: Answers) -> Predictor:
        """The model as attackers see it, by its answers."""
        ...

    def when_asked(self, model: Callable[[], Predictor]) -> Predictor:
        """The view of a model that `model` makes when it is asked for the first time."""
        ...

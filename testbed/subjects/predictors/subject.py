"""A model under audit, with the people it was trained on and the people it was not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from testbed.core import Cohort, Predictor, Recipe


@dataclass(frozen=True, slots=True)
class Subject:
    """A model, who was in its training data, who was not, and others; `recipe` trains such a model on a cohort.

    `estimator` is the scikit-learn object itself, where there is one, whose inside is looked at.
    """

    model: Predictor
    members: Cohort
    controls: Cohort
    others: Cohort | None = None
    recipe: Recipe | None = None
    estimator: Any = None
    features: tuple[str, ...] = ()
    """The inputs' names, where attributes may be asked about."""
    asked: Callable[[], int] | None = None
    """Of a model behind a counter: how many records it was asked about so far."""
    described: bool = True
    """Do the records say what people are like? Those of a table of predictions are row numbers."""

"""A model under audit, with the people it was trained on and the people it was not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from testbed.core import Cohort, Predictor, Recipe


@dataclass(frozen=True, slots=True)
class Subject:
    """A model under audit: members were in its training data, controls and others were not.

    `recipe` trains such a model on a cohort. `estimator` is the scikit-learn or torch object itself, if there is one.
    """

    model: Predictor
    members: Cohort
    controls: Cohort
    others: Cohort | None = None
    recipe: Recipe | None = None
    estimator: Any = None
    features: tuple[str, ...] = ()
    """The names of the inputs, if attacks may ask about attributes."""
    asked: Callable[[], int] | None = None
    """For a model behind a query counter: the number of records asked about so far."""
    described: bool = True
    """Whether records hold people's attributes; those of a table of predictions are only row numbers."""

"""What defences of a released model's answers share: class probabilities (n, classes) in, probabilities out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from testbed.core import Array, Cohort, Predictor
from testbed.core.defence import Answering

SMALLEST = 1e-12
"""The smallest probability of which a logarithm is taken."""


def on_answers(change: Callable[[Array], Array]) -> Answering:
    """An answering that changes every answer by the same rule, which looks at the answer alone."""
    return lambda released: changed(released.model, change)


def changed(model: Predictor, change: Callable[[Array], Array]) -> Predictor:
    """The model with this change of its answers (n, classes)."""

    def ask(people: Cohort) -> Array:
        return change(np.asarray(model.ask(people), dtype=np.float64))

    return replace(model, ask=ask)

"""Rounded answers of a released model."""

from __future__ import annotations

import numpy as np

from testbed.core.defence import Answering
from testbed.defences.answers import on_answers
from testbed.defences.registry import defence


@defence(where="answers")
def round(*, seed: int, decimals: int = 1) -> Answering:  # noqa: A001
    """Round each class probability to `decimals` decimals.

    A heuristic (Shokri et al. 2017, arXiv 1610.05820): the predicted class stays, but for ties, and members
    keep their larger probabilities. Attackers train models of their own and round those answers too.
    """
    return on_answers(lambda answers: np.round(answers, decimals))

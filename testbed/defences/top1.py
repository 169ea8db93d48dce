"""A released model that tells its predicted class alone."""

from __future__ import annotations

import numpy as np

from testbed.core import Array
from testbed.core.defence import Answering
from testbed.defences.answers import on_answers
from testbed.defences.registry import defence


@defence(where="answers")
def top1(*, seed: int, confidence: bool = False) -> Answering:
    """Tell the predicted class alone; with `confidence`, also its probability. The other classes share the rest.

    A heuristic: a record that the model classifies correctly, also in noisy copies, is likelier a member
    (Choquette-Choo et al. 2021, arXiv 2007.14321).
    """

    def change(answers: Array) -> Array:
        rows, first = np.arange(len(answers)), answers.argmax(1)
        sure = answers[rows, first] if confidence else np.ones(len(answers))
        told = np.repeat((1 - sure)[:, None] / max(1, answers.shape[1] - 1), answers.shape[1], axis=1)
        told[rows, first] = sure
        return told

    return on_answers(change)

"""A released model whose answers are less sure than it is."""

from __future__ import annotations

import numpy as np

from testbed.core import Array
from testbed.core.defence import Answering
from testbed.defences.answers import SMALLEST, on_answers
from testbed.defences.registry import defence


def softened(answers: Array, temperature: float) -> Array:
    """Probabilities (n, classes) whose logarithms were divided by the temperature."""
    logits = np.log(np.maximum(answers, SMALLEST)) / temperature
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


@defence(where="answers")
def temperature(*, seed: int, temperature: float = 4.0) -> Answering:
    """Divide the logarithms of all probabilities by `temperature`, and scale them to a sum of 1.

    A heuristic (Shokri et al. 2017, arXiv 1610.05820): the order of all answers stays, and whoever knows the
    temperature computes the answers as they were.
    """
    return on_answers(lambda answers: softened(answers, temperature))

"""A guard against disaggregation: one record makes the gradient (D-SNR)."""

from __future__ import annotations

import math

import numpy as np

from testbed.core.guard import CANNOT_TELL, Memory, Received
from testbed.defences.guards.registry import guard
from testbed.defences.guards.traces import traces

FEWEST = 20


@guard(
    side="client",
    threshold=2.0,
    reference="https://arxiv.org/abs/2306.03013",
    notices={"fishing"},
)
def dominant_record(seen: Received, memory: Memory) -> float:
    """The disaggregation signal-to-noise ratio (Garov et al. 2024): of all layers, the largest.

    It is the length of the largest gradient of a single record over the root of the sum of squares of all others'. If
    one record dominates the sum, a batch is no longer an aggregate. It is computed over all own records. It needs 20.
    Limit: it rises in long honest training, where few records still have a loss.
    """
    if len(seen.records) < FEWEST:
        return CANNOT_TELL
    largest = 0.0
    for trace in traces(seen):
        squares = trace.norms.astype(np.float64) ** 2
        rest = float(squares.sum() - squares.max())
        if squares.max() > 0:
            largest = max(largest, math.sqrt(float(squares.max()) / max(rest, 1e-12 * float(squares.max()))))
    return largest

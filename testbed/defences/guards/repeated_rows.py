"""A guard against imprints: neurons that all measure the same thing."""

from __future__ import annotations

import numpy as np

from testbed.core.guard import Memory, Received
from testbed.defences.guards.registry import guard
from testbed.defences.guards.traces import matrices

LEAST = 16
"""Neurons, and inputs, that a layer must have: vectors of few numbers are parallel by chance."""


@guard(
    side="client",
    threshold=0.1,
    reference="https://arxiv.org/abs/2306.03013",
    notices={"imprint", "loki"},
)
def repeated_rows(seen: Received, memory: Memory, *, cosine: float = 0.98) -> float:
    """The largest share of a layer's neurons whose weights are parallel to those of another neuron.

    Bins of an imprint measure one direction, so their rows are parallel. Garov et al. 2024 note that such models are
    found by looking at the weights alone. Two rows count as parallel from an absolute `cosine` on. It needs no records.
    Limit: a server that adds noise to the rows in directions without variation is not noticed.
    """
    largest = 0.0
    for rows in matrices(seen.sent, LEAST, LEAST):
        unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)
        close = np.abs(unit @ unit.T) >= cosine
        np.fill_diagonal(close, False)
        largest = max(largest, float(close.any(1).mean()))
    return largest

"""A guard against imprints: neurons that order a client's records along one line."""

from __future__ import annotations

import numpy as np

from testbed.core import Array
from testbed.core.guard import CANNOT_TELL, Memory, Received
from testbed.defences.guards.registry import guard
from testbed.defences.guards.traces import hidden

FEWEST = 20
"""Own records below which an order proves little."""


@guard(
    side="client",
    threshold=12,
    reference="https://arxiv.org/abs/2110.13057",
    notices={"imprint"},
)
def nested_neurons(seen: Received, memory: Memory, *, rare: float = 0.05) -> float:
    """The length of the longest chain of neurons, each active for all records of the one before it and for more.

    A chain is what reads records: the difference of two neighbours' gradients holds only the records between them (Fowl
    et al. 2022). It is found however the weights are written. Neurons active for fewer than a share `rare` of the own
    records, or for all but so few, are left out. It needs 20 records. Limit: chains shorter than the threshold.
    """
    if len(seen.records) < FEWEST:
        return CANNOT_TELL
    return float(max((longest_chain(t.active, rare) for t in hidden(seen)), default=0))


def longest_chain(active: Array, rare: float) -> int:
    """The longest chain of strict inclusions among the neurons' sets of records; `active` is (n, k) bool."""
    share = active.mean(0)
    sets = np.unique(active[:, (share >= rare) & (share <= 1 - rare)], axis=1).astype(np.float32)
    if not sets.size:
        return 0
    sizes = sets.sum(0)
    order = np.argsort(sizes, kind="stable")
    sets, sizes = sets[:, order], sizes[order]
    within = (sets.T @ sets >= sizes[:, None] - 0.5) & (sizes[:, None] < sizes)
    length = np.ones(len(sizes), np.int64)
    for place in range(len(sizes)):
        inner = length[within[:, place]]
        length[place] = 1 + (inner.max() if len(inner) else 0)
    return int(length.max())

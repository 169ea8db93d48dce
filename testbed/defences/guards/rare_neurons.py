"""A guard against trap weights: a layer in which many neurons are active for few records."""

from __future__ import annotations

from testbed.core.guard import CANNOT_TELL, Memory, Received
from testbed.defences.guards.registry import guard
from testbed.defences.guards.traces import hidden

FEWEST = 20


@guard(
    side="client",
    threshold=0.42,
    reference="https://arxiv.org/abs/2112.02918",
    notices={"trap_weights", "crafted_neurons"},
)
def rare_neurons(seen: Received, memory: Memory, *, rare: float = 0.1) -> float:
    """The largest share of a layer's neurons that are active for at most a share `rare` of the records, but not none.

    Trap weights make neurons active for one record of a batch (Boenisch et al. 2021), however they are written. In
    honest networks most neurons are active for many records, or for none. It needs 20 records.
    """
    if len(seen.records) < FEWEST:
        return CANNOT_TELL
    largest = 0.0
    for trace in hidden(seen):
        share = trace.active.mean(0)
        largest = max(largest, float(((share > 0) & (share <= rare)).mean()))
    return largest

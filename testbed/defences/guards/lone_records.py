"""A guard against crafted neurons: records that are alone in some neuron."""

from __future__ import annotations

from testbed.core.guard import CANNOT_TELL, Memory, Received
from testbed.defences.guards.registry import guard
from testbed.defences.guards.traces import hidden

FEWEST = 20


@guard(
    side="client",
    threshold=0.48,
    reference="https://arxiv.org/abs/2302.12685",
    notices={"loki", "crafted_neurons"},
)
def lone_records(seen: Received, memory: Memory) -> float:
    """The share of the client's records that are the only one to activate some neuron of a fully connected layer.

    The gradient of such a neuron is the record itself, times a number. It is what bins with windows (Zhao et al. 2023)
    and neurons made for one person (Nguyen et al. 2023) aim at. Small shares are normal. It needs 20 records.
    """
    if len(seen.records) < FEWEST:
        return CANNOT_TELL
    return float(max((t.active[:, t.active.sum(0) == 1].any(1).mean() for t in hidden(seen)), default=0.0))

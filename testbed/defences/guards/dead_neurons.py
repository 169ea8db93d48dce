"""A guard against blocks of other clients: a layer that hardly reacts to the own records."""

from __future__ import annotations

from testbed.core.guard import CANNOT_TELL, Memory, Received
from testbed.defences.guards.registry import guard
from testbed.defences.guards.traces import hidden

FEWEST = 20


@guard(
    side="client",
    threshold=0.5,
    reference="https://arxiv.org/abs/2111.07380",
    notices={"loki", "model_inconsistency"},
)
def dead_neurons(seen: Received, memory: Memory) -> float:
    """The largest share of a fully connected layer's neurons that none of the client's records activates.

    A server silences the layer of all clients but one, so that their sum is that client's gradient (Pasquini et al.
    2022), or gives every client a block of its own (Zhao et al. 2023). It needs 20 records. Honest networks that were
    trained with too large steps have many dead neurons too.
    """
    if len(seen.records) < FEWEST:
        return CANNOT_TELL
    return float(max(((~t.active.any(0)).mean() for t in hidden(seen)), default=0.0))

"""A guard against fishing: most records have no gradient."""

from __future__ import annotations

from testbed.core.guard import CANNOT_TELL, Memory, Received
from testbed.defences.guards.registry import guard
from testbed.defences.guards.traces import SILENT, traces

FEWEST = 20


@guard(
    side="client",
    threshold=0.2,
    reference="https://arxiv.org/abs/2306.03013",
    notices={"fishing", "crafted_neurons", "model_inconsistency"},
)
def silent_records(seen: Received, memory: Memory) -> float:
    """The share of the client's records whose gradient of some layer below the last is zero, beside the largest one.

    A server that fishes for one record makes the model certain about all others, so that they have no gradient (Wen et
    al. 2022). Garov et al. 2024 name this sparsity as a sign. It needs 20 records. Limit: networks that have learnt
    their records by heart.
    """
    if len(seen.records) < FEWEST:
        return CANNOT_TELL
    below = traces(seen)[:-1]
    return float(max(((t.norms <= SILENT * max(float(t.norms.max()), 1e-30)).mean() for t in below), default=0.0))

"""A guard against replaced layers: a layer that moves much more, or much less, than the client's own updates."""

from __future__ import annotations

import math

import numpy as np

from testbed.core.guard import CANNOT_TELL, Memory, Received
from testbed.defences.guards.registry import guard
from testbed.defences.guards.traces import own_update, rate_of

ROUNDING = 1e-6
"""Change relative to a layer's length that rounding alone explains."""


@guard(
    side="client",
    threshold=1.3,
    reference="https://arxiv.org/abs/2506.20651",
    notices={"imprint", "loki", "trap_weights", "fishing", "crafted_neurons"},
)
def layer_drift(seen: Received, memory: Memory) -> float:
    """How many orders of magnitude a layer moved since the last round beside this client's own update of it.

    Of all layers the largest, in either direction. An honest average moves each layer about as far as one client does.
    A layer that is sent anew each round does not move at all, and one that is crafted anew moves far. Wang and Li 2025
    compare rounds in this way before training. It can tell nothing in a client's first round. Limit: servers with
    momentum or adaptive steps move further than clients do.
    """
    if seen.before is None or seen.before.sent is None:
        return CANNOT_TELL
    largest = 0.0
    update = own_update(seen.before, rate_of(seen.settings))
    for name, mine in update.items():
        if name not in seen.sent or seen.sent[name].shape != mine.shape:
            return math.inf
        own = float(np.linalg.norm(mine))
        moved = float(np.linalg.norm(seen.sent[name] - seen.before.sent[name]))
        least = ROUNDING * float(np.linalg.norm(seen.sent[name])) + 1e-12
        if max(own, moved) > 10 * least:
            largest = max(largest, abs(math.log10(max(moved, least) / max(own, least))))
    return largest if update else CANNOT_TELL

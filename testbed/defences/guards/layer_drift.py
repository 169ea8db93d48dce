"""A guard against replaced layers: a layer that moves much more, or much less, than the client's own updates."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from testbed.core import Array
from testbed.core.guard import CANNOT_TELL, Memory, Received
from testbed.defences.guards.registry import guard
from testbed.defences.guards.traces import own_update, rate_of

ROUNDING = 1e-7
"""Change relative to a layer's length that rounding alone explains."""


@guard(
    side="client",
    threshold=2.0,
    reference="https://arxiv.org/abs/2506.20651",
    notices={"imprint", "loki", "trap_weights", "fishing", "crafted_neurons"},
)
def layer_drift(seen: Received, memory: Memory) -> float:
    """How many orders of magnitude a layer moved since the last round beside this client's own update of it.

    The largest over all layers (weight with bias), in either direction. An honest average moves each layer about as
    far as one client does. A layer that is sent anew each round does not move at all, and one that is crafted anew
    moves far. Wang and Li 2025 compare rounds in this way before training. It can tell nothing in a client's first
    round. Limit: servers with momentum or adaptive steps move further than clients do.
    """
    if seen.before is None or seen.before.sent is None:
        return CANNOT_TELL
    update = own_update(seen.before, rate_of(seen.settings))
    if any(name not in seen.sent or seen.sent[name].shape != mine.shape for name, mine in update.items()):
        return math.inf
    layers: dict[str, list[str]] = {}
    for name in update:
        layers.setdefault(name.rpartition(".")[0], []).append(name)
    largest = 0.0
    for names in layers.values():
        own = _length(update[n] for n in names)
        moved = _length(seen.sent[n] - seen.before.sent[n] for n in names)
        least = ROUNDING * _length(seen.sent[n] for n in names) + 1e-12
        if max(own, moved) > 10 * least:
            largest = max(largest, abs(math.log10(max(moved, least) / max(own, least))))
    return largest if update else CANNOT_TELL


def _length(values: Iterable[Array]) -> float:
    return math.sqrt(sum(float((v.astype(np.float64) ** 2).sum()) for v in values))

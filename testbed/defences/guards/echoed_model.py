"""A guard against isolation: the server sends a client its own last model."""

from __future__ import annotations

import numpy as np

from testbed.core.guard import CANNOT_TELL, Memory, Received
from testbed.defences.guards.registry import guard
from testbed.defences.guards.traces import own_update, rate_of


@guard(
    side="client",
    threshold=0.9,
    reference="https://arxiv.org/abs/1812.00910",
    notices={"isolation"},
)
def echoed_model(seen: Received, memory: Memory) -> float:
    """1 minus the distance of the sent model from the one that this client returned, in lengths of its own update.

    An isolated client gets back what it returned (Nasr et al. 2019), and the signal is 1. With other clients in the
    average it is lower. It can tell nothing in a client's first round, or if it had nothing to learn.
    """
    if seen.before is None or seen.before.sent is None:
        return CANNOT_TELL
    update = own_update(seen.before, rate_of(seen.settings))
    if not update or any(k not in seen.sent or seen.sent[k].shape != v.shape for k, v in update.items()):
        return CANNOT_TELL
    length = np.sqrt(sum(float((v.astype(np.float64) ** 2).sum()) for v in update.values()))
    before = seen.before.sent
    away = [seen.sent[k].astype(np.float64) - before[k] - v for k, v in update.items()]
    apart = np.sqrt(sum(float((v**2).sum()) for v in away))
    return CANNOT_TELL if length == 0 else float(max(1 - apart / length, -1))

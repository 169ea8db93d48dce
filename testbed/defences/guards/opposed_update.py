"""A guard of the server against ascent: a client whose updates point away from everybody else's."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from testbed.core.guard import CANNOT_TELL, Gathered, Memory
from testbed.defences.guards.registry import guard
from testbed.defences.guards.updates import FEWEST, flat, summed


@guard(
    side="server",
    threshold=0.0,
    reference="https://arxiv.org/abs/2012.13995",
    notices={"client_gradient_ascent"},
)
def opposed_update(seen: Gathered, memory: Memory) -> Mapping[int, float]:
    """For each client minus the cosine of its updates, summed over rounds, with the median of all others'.

    A client that raises the loss of some people's records moves against those that lower it. Cao et al. 2021 (FLTrust)
    compare directions with an update of the server's own; this server has no records, and takes the others' median. It
    needs four clients.
    """
    totals = summed(memory, {c: flat(u) for c, u in seen.updates.items()})
    if len(totals) < FEWEST:
        return dict.fromkeys(totals, CANNOT_TELL)
    signals: dict[int, float] = {}
    for client, mine in totals.items():
        others = np.median([v for c, v in totals.items() if c != client], axis=0)
        lengths = float(np.linalg.norm(mine) * np.linalg.norm(others))
        signals[client] = -float(mine @ others) / lengths if lengths > 0 else CANNOT_TELL
    return signals

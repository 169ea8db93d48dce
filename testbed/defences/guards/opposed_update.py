"""A guard of the server against ascent: a client whose updates point away from everybody else's."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from testbed.core.guard import CANNOT_TELL, Gathered, Memory
from testbed.defences.guards.registry import guard
from testbed.defences.guards.updates import FEWEST, flat, summed


@guard(
    side="server",
    threshold=2.0,
    reference="https://arxiv.org/abs/2012.13995",
    notices={"client_gradient_ascent"},
)
def opposed_update(seen: Gathered, memory: Memory) -> Mapping[int, float]:
    """How far each client moves against the median of all others, in lengths of a typical client's updates.

    Updates are summed over rounds. A client that raises the loss of some people's records moves against those that
    lower it, and far, because the average divides it by the number of clients. Cao et al. 2021 (FLTrust) compare
    directions with an update of the server's own. This server has no records, and takes the others' median. It needs
    four clients.
    """
    totals = summed(memory, {c: flat(u) for c, u in seen.updates.items()})
    if len(totals) < FEWEST:
        return dict.fromkeys(totals, CANNOT_TELL)
    typical = float(np.median([np.linalg.norm(v) for v in totals.values()]))
    signals: dict[int, float] = {}
    for client, mine in totals.items():
        others = np.median([v for c, v in totals.items() if c != client], axis=0)
        lengths = float(np.linalg.norm(others)) * typical
        signals[client] = -float(mine @ others) / lengths if lengths > 0 else CANNOT_TELL
    return signals

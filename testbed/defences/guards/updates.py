"""Clients' updates as vectors, summed over rounds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from testbed.core import Array, Parameters
from testbed.core.guard import Memory

FEWEST = 4
"""Clients that a comparison with the others needs."""


def flat(update: Parameters) -> Array:
    """All values of an update in one vector, float64, in the order of names."""
    return np.concatenate([np.asarray(update[k], np.float64).ravel() for k in sorted(update)])


def summed(memory: Memory, updates: Mapping[int, Array]) -> dict[int, Array]:
    """The sum of each client's updates up to this round, kept in `memory`, for the clients of this round."""
    for client, update in updates.items():
        earlier = memory.get(str(client))
        memory[str(client)] = update if earlier is None or earlier.shape != update.shape else earlier + update
    return {client: memory[str(client)] for client in updates}

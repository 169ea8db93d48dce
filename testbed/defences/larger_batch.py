"""Larger batches: a record is one of several in everything that a client sends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from testbed.core import Protocol
from testbed.defences.registry import defence


@defence(where="rules")
def larger_batch(*, seed: int, records: int = 8) -> Callable[[Protocol], Protocol]:
    """Train on batches of at least `records` records, or on all records of a client that has fewer.

    A heuristic: a gradient is a mean over more people. The attacker knows the batch, as the server sets it; `spear`,
    `cocktail_party` and gradient matching separate records of small batches.
    """

    def rule(protocol: Protocol) -> Protocol:
        return replace(protocol, batch_size=protocol.batch_size and max(protocol.batch_size, records))

    return rule

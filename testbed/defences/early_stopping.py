"""Early stopping: a model that has seen people less often remembers them less."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from testbed.core import Protocol
from testbed.defences.registry import defence


@defence(where="rules")
def early_stopping(*, seed: int, rounds: int = 5) -> Callable[[Protocol], Protocol]:
    """Stop after `rounds` rounds at the latest.

    A heuristic against the inference of membership. Each round that takes place leaks as much as before, so it changes
    nothing for an attacker who reconstructs records from single updates.
    """

    def rule(protocol: Protocol) -> Protocol:
        return replace(protocol, rounds=min(protocol.rounds, rounds))

    return rule

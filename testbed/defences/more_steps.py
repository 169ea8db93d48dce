"""More local training: clients send the result of several epochs instead of one gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from testbed.core import Protocol
from testbed.defences.registry import defence


@defence(where="rules")
def more_steps(*, seed: int, epochs: int = 5) -> Callable[[Protocol], Protocol]:
    """Train for at least `epochs` local epochs before new weights are sent (FedAvg; no effect on FedSGD).

    A heuristic: the steps mix gradients of several models and orders. The attacker knows the steps, as the server sets
    them; `fedavg_unrolling` does the same training again.
    """

    def rule(protocol: Protocol) -> Protocol:
        longer = protocol.kind == "fedavg"
        return replace(protocol, local_epochs=max(protocol.local_epochs, epochs)) if longer else protocol

    return rule

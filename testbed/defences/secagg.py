"""Secure aggregation: the server is told the clients' sum alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from testbed.defences.registry import defence

if TYPE_CHECKING:  # Flower, which reading a transcript does not need
    from testbed.subjects.federation.secure import SecureAggregation


@defence(where="protocol")
def secagg(*, seed: int, threshold: float = 0.67) -> SecureAggregation:
    """SecAgg+ (Bell et al. 2020, eprint 2020/704): a server that follows the protocol learns only the clients' mean.

    Shares of a `threshold` share of the clients restore a secret. It is no differential privacy: the sum reveals what
    it reveals, and a malicious server can ask for both secrets of a client (docs/secure-aggregation.md).
    """
    from testbed.subjects.federation.secure import SecureAggregation

    return SecureAggregation(threshold)

"""Central differential privacy with a clipping norm that follows the updates' norms."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from testbed.core import Array, Protocol
from testbed.core.defence import Exposure, Guarantee
from testbed.core.randomness import keyed_rng
from testbed.defences.central_dp import against_others
from testbed.defences.registry import defence
from testbed.defences.updates import norm as norm_of
from testbed.defences.updates import within

if TYPE_CHECKING:  # Flower, which reading a transcript does not need
    from flwr.serverapp.strategy import Strategy

    from testbed.subjects.federation.aggregation import Updates

RATE = 0.2
"""The learning rate of the clipping norm (Andrew et al. 2021)."""
COUNTED = 1 / 20
"""The noise of the count of updates within the norm, as a share of the clients (Andrew et al. 2021)."""


def proven(exposure: Exposure, *, noise: float, clip: float = 0.1, quantile: float = 0.5) -> Guarantee | None:
    """As for `central_dp`: `noise` stands for the whole round, with the count that moves the norm."""
    return against_others(exposure, noise=noise, clip=clip)


def split(noise: float, clients: int) -> tuple[float, float]:
    """The noise of the updates (in units of the norm) and of the count, which together are worth `noise`.

    1 / noise^2 = 1 / updates^2 + 1 / (2 count)^2 (Andrew et al. 2021, theorem 1).
    """
    count = max(COUNTED * clients, noise)
    return (noise**-2 - (2 * count) ** -2) ** -0.5 if noise > 0 else 0.0, count if noise > 0 else 0.0


@defence(where="server", guarantee=proven)
def adaptive_clipping(
    *, seed: int, noise: float, clip: float = 0.1, quantile: float = 0.5
) -> Callable[[Strategy, Protocol], Strategy]:
    """As `central_dp`, but the clipping norm follows a `quantile` of the updates' norms. It begins with `clip`.

    Andrew et al. 2021 (arXiv 1905.03871), as Flower's `DifferentialPrivacyServerSideAdaptiveClipping`. After each
    round the norm is multiplied by exp(-0.2 (noisy share of updates within the norm - quantile)). It protects nobody
    from the server.
    """

    from testbed.subjects.federation.aggregation import Aggregation

    def wrapped(inner: Strategy, protocol: Protocol) -> Strategy:
        of_updates, of_count = split(noise, protocol.clients)
        limit = clip

        def limited(updates: Updates, shares: Array, round_: int) -> Updates:
            nonlocal limit
            short = [within(u, limit) for u in updates]
            below = sum(norm_of(u) <= limit for u in updates) - len(updates) / 2
            counted = below + keyed_rng(seed, "count of adaptive_clipping", str(round_)).normal(0.0, of_count)
            share = counted / max(len(updates), 1) + 0.5
            used.append(limit)
            limit *= math.exp(-RATE * (share - quantile))
            return short

        def noisy(mean: dict[str, Array], shares: Array, round_: int) -> dict[str, Array]:
            rng = keyed_rng(seed, "adaptive_clipping", str(round_))
            deviation = of_updates * used[-1] * float(shares.max(initial=0.0))
            return {k: v + rng.normal(0.0, deviation, np.shape(v)) for k, v in mean.items()}

        used: list[float] = []
        return Aggregation(inner, protocol, limited, noisy)

    return wrapped

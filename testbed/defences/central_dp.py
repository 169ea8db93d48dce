"""Central differential privacy: the server clips every update and adds noise to their mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from testbed.core import Array, Protocol
from testbed.core.defence import Exposure, Guarantee
from testbed.core.randomness import keyed_rng
from testbed.defences.accounting import gaussian_mechanism
from testbed.defences.registry import defence
from testbed.defences.updates import within

if TYPE_CHECKING:  # Flower, which reading a transcript does not need
    from flwr.serverapp.strategy import Strategy

    from testbed.subjects.federation.aggregation import Updates


def against_others(exposure: Exposure, *, noise: float, clip: float = 1.0) -> Guarantee | None:
    """The epsilon against clients and recipients of the model. None against the server, which sees every update."""
    return None if exposure.position == "server" else gaussian_mechanism(exposure, noise=noise, clip=clip)


@defence(where="server", guarantee=against_others)
def central_dp(*, seed: int, noise: float, clip: float = 1.0) -> Callable[[Strategy, Protocol], Strategy]:
    """Limit each update to an L2 norm of `clip`, and add Gaussian noise to their mean.

    The noise's standard deviation is `noise * clip` times the largest client's share of the records. This is DP-FedAvg
    with fixed clipping at the server (McMahan et al. 2018, arXiv 1710.06963), as Flower's
    `DifferentialPrivacyServerSideFixedClipping`. It protects from clients and from those who get the model. It protects
    nobody from the server, which sees all updates before the noise.
    """

    from testbed.subjects.federation.aggregation import Aggregation

    def wrapped(inner: Strategy, protocol: Protocol) -> Strategy:
        def limited(updates: Updates, shares: Array, round_: int) -> Updates:
            return [within(u, clip) for u in updates]

        def noisy(mean: dict[str, Array], shares: Array, round_: int) -> dict[str, Array]:
            rng = keyed_rng(seed, "central_dp", str(round_))
            deviation = noise * clip * float(shares.max(initial=0.0))
            return {k: v + rng.normal(0.0, deviation, v.shape) for k, v in mean.items()}

        return Aggregation(inner, protocol, limited, noisy)

    return wrapped

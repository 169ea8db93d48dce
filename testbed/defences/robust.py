"""Robust aggregation: means that a few malicious clients cannot move at will."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from scipy import stats as scipy_stats

from testbed.core import Array, Protocol
from testbed.core.errors import UsageError
from testbed.defences.registry import defence
from testbed.defences.updates import flat, shaped

if TYPE_CHECKING:  # Flower, which reading a transcript does not need
    from flwr.serverapp.strategy import Strategy

    from testbed.subjects.federation.aggregation import Updates

Wrapping: TypeAlias = "Callable[[Strategy, Protocol], Strategy]"


def _instead(rule: Callable[[Array], Array]) -> Wrapping:
    """A strategy whose mean is `rule` of all updates, as rows (clients, numbers)."""

    from testbed.subjects.federation.aggregation import Aggregation, everywhere

    def change(updates: Updates, shares: Array, round_: int) -> Updates:
        chosen = shaped(rule(np.stack([flat(u) for u in updates])), updates[0]) if updates else {}
        return everywhere(chosen, len(updates))

    return lambda inner, protocol: Aggregation(inner, protocol, change)


@defence(where="server")
def median(*, seed: int) -> Wrapping:
    """The next model is made of each number's median over all clients (Yin et al. 2018, arXiv 1803.01498).

    Against malicious clients. A curious server sees all updates as before.
    """
    return _instead(lambda rows: np.median(rows, 0))


@defence(where="server")
def trimmed_mean(*, seed: int, share: float = 0.2) -> Wrapping:
    """The next model is made of each number's mean without the `share` of largest and of smallest values.

    Yin et al. 2018 (arXiv 1803.01498). Against malicious clients. A curious server sees all updates as before. Raises
    `UsageError` for so few clients that no value would be left out.
    """
    trimmed = _instead(lambda rows: np.asarray(scipy_stats.trim_mean(rows, min(share, 0.499), 0)))

    def wrapped(inner: Strategy, protocol: Protocol) -> Strategy:
        if int(min(share, 0.499) * protocol.clients) < 1:
            raise UsageError(
                "TB-DEFENCE-027",
                f"trimmed_mean with share {share:g} leaves out nobody of {protocol.clients} clients.",
                "It would be a plain mean, which one malicious client moves at will.",
                f"Use a share of {math.ceil(100 / protocol.clients) / 100:g} or more, or more clients."
                if protocol.clients > 2
                else "Use three clients or more.",
            )
        return trimmed(inner, protocol)

    return wrapped


@defence(where="server")
def krum(*, seed: int, malicious: int = 1) -> Wrapping:
    """The next model is made of the one update that lies nearest to its neighbours (Blanchard et al. 2017, 1703.02757).

    With n clients, an update's score is the sum of its squared distances to the n - `malicious` - 2 nearest others.
    Against malicious clients. A curious server sees all updates as before. Raises `UsageError` for fewer than
    2 `malicious` + 3 clients, for whom the paper proves nothing.
    """

    def nearest(rows: Array) -> Array:
        apart = ((rows[:, None] - rows[None]) ** 2).sum(2)
        others = max(1, len(rows) - malicious - 2)  # clients may have refused this round
        scores = np.sort(apart, 1)[:, 1 : 1 + others].sum(1)
        return rows[int(scores.argmin())]

    def wrapped(inner: Strategy, protocol: Protocol) -> Strategy:
        if protocol.clients < 2 * malicious + 3:
            raise UsageError(
                "TB-DEFENCE-029",
                f"krum with {malicious} malicious of {protocol.clients} clients protects nobody.",
                "So many malicious clients can stand together and be each other's nearest neighbours.",
                f"Use {2 * malicious + 3} clients or more for {malicious} malicious, or median.",
            )
        return _instead(nearest)(inner, protocol)

    return wrapped

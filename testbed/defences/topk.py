"""Sparsification: only the largest numbers of an update are sent."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from flwr.clientapp.typing import Mod

from testbed.core import Array
from testbed.defences.registry import defence
from testbed.defences.updates import flat, on_update, shaped

NOT_SENT = 1e-3
"""Weight of a number that was not sent: it is nearer to 0 than every number that was, and no more is known."""


def visible(update: Mapping[str, Array], **_: float) -> dict[str, Array]:
    """The numbers that were sent are unchanged."""
    return {name: np.where(np.asarray(values) != 0, 1.0, NOT_SENT) for name, values in update.items()}


@defence(trust=visible)
def topk(*, seed: int, share: float = 0.1) -> Mod:
    """Send the `share` of an update's numbers that are largest in absolute value, and 0 for all others.

    Gradient sparsification (Aji and Heafield 2017, arXiv 1704.05021), proposed as a defence by Zhu, Liu and Han 2019.
    A heuristic: the largest numbers are those that tell most.
    """

    def change(update: dict[str, Array], rng: np.random.Generator) -> dict[str, Array]:
        values = flat(update)
        kept = max(1, round(share * len(values)))
        out = np.zeros(len(values))
        largest = np.argsort(-np.abs(values), kind="stable")[:kept]
        out[largest] = values[largest]
        return shaped(out, update)

    return on_update(change, seed, "topk")

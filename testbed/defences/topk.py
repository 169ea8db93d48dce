"""Sparsification: only the largest numbers of an update are sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from testbed.core import Array
from testbed.core.defence import Bounds
from testbed.defences.registry import defence
from testbed.defences.updates import flat, on_update, shaped, smallest

if TYPE_CHECKING:  # Flower, which reading a transcript does not need
    from flwr.clientapp.typing import Mod


def before(update: Mapping[str, Array], **_: float) -> Bounds:
    """The numbers that were sent are unchanged, and all others are nearer to 0 than each of them."""
    cut = smallest(update)
    sent = {name: np.asarray(values, np.float64) for name, values in update.items()}
    low = {name: np.where(v == 0, -cut, v) for name, v in sent.items()}
    return low, {name: np.where(v == 0, cut, v) for name, v in sent.items()}


@defence(bounds=before)
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

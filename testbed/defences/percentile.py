"""The percentile filter of NVIDIA FLARE (`PercentilePrivacy`)."""

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

AT_THE_LIMIT = 1 - 1e-4
"""Share of `gamma` from which a number counts as cut: new weights in single precision give it back with an error."""


def before(update: Mapping[str, Array], *, percentile: float = 10.0, gamma: float = 0.01) -> Bounds:
    """Numbers between the two bounds passed unchanged. Those at `gamma` were as large or larger, those at 0 smaller.

    If a later defence shrank the update, the limit is the largest size that several numbers share.
    """
    sizes = np.abs(flat(update))
    largest = float(sizes.max(initial=0.0))
    if largest < gamma and (sizes >= largest * AT_THE_LIMIT).sum() > 1:
        gamma = largest
    cut = smallest(update)
    cut = cut if cut < gamma * AT_THE_LIMIT else np.inf  # if only limited numbers are left, it is not visible
    low, high = {}, {}
    for name, values in update.items():
        sent = np.asarray(values, np.float64)
        limited, gone = np.abs(sent) >= gamma * AT_THE_LIMIT, sent == 0
        low[name] = np.where(gone, -cut, np.where(limited & (sent < 0), -np.inf, sent))
        high[name] = np.where(gone, cut, np.where(limited & (sent > 0), np.inf, sent))
    return low, high


@defence(bounds=before)
def percentile(*, seed: int, percentile: float = 10.0, gamma: float = 0.01) -> Mod:
    """Set the smallest `percentile` per cent of an update's numbers to 0, and limit all others to +-`gamma`.

    The rule of NVIDIA FLARE's `PercentilePrivacy` (after Shokri and Shmatikov 2015). A heuristic: numbers between the
    two bounds leave unchanged, and a reader who knows the rule needs no others.
    """

    def change(update: dict[str, Array], rng: np.random.Generator) -> dict[str, Array]:
        values = flat(update)
        cut = np.percentile(np.abs(values), percentile)
        kept = np.where(np.abs(values) < cut, 0.0, values)
        return shaped(np.clip(kept, -gamma, gamma), update)

    return on_update(change, seed, "percentile")

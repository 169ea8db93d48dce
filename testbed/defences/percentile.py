"""The percentile filter of NVIDIA FLARE (`PercentilePrivacy`)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from flwr.clientapp.typing import Mod

from testbed.core import Array
from testbed.defences.registry import defence
from testbed.defences.updates import flat, on_update, shaped

AT_THE_LIMIT = 1 - 1e-5
"""Share of `gamma` from which a number counts as cut: new weights in single precision give it back with an error."""
BELOW = 1e-3
"""Weight of a number that was set to 0: it was small, but how small is not told."""


def visible(update: Mapping[str, Array], *, percentile: float = 10.0, gamma: float = 0.01) -> dict[str, Array]:
    """Numbers between the two bounds passed unchanged. Those at `gamma` were cut, and those at 0 may have been."""
    seen: dict[str, Array] = {}
    for name, values in update.items():
        size = np.abs(np.asarray(values, np.float64))
        seen[name] = np.where(size >= gamma * AT_THE_LIMIT, 0.0, np.where(size == 0, BELOW, 1.0))
    return seen


@defence(trust=visible)
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

"""Updates in few bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from testbed.core import Array
from testbed.defences.registry import defence
from testbed.defences.updates import on_update

if TYPE_CHECKING:  # Flower, which reading a transcript does not need
    from flwr.clientapp.typing import Mod


@defence(bits=lambda bits: float(bits))
def quantise(*, seed: int, bits: int = 8) -> Mod:
    """Send each array in `bits` bits a number: levels between minus and plus its largest value, rounded at random.

    The random rounding has the right mean (QSGD; Alistarh et al. 2017, arXiv 1610.02132). A heuristic: it is noise, but
    no noise that hides a record.
    """
    levels = 2 ** (bits - 1) - 1 if bits > 1 else 1

    def change(update: dict[str, Array], rng: np.random.Generator) -> dict[str, Array]:
        out: dict[str, Array] = {}
        for name, values in update.items():
            largest = float(np.abs(values).max(initial=0.0))
            step = largest / levels or 1.0
            place = np.asarray(values, np.float64) / step
            low = np.floor(place)
            out[name] = ((low + (rng.random(values.shape) < place - low)) * step).astype(np.float32)
        return out

    return on_update(change, seed, "quantise")

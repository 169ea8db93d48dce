"""Only the direction of each number of an update leaves the client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from testbed.core import Array
from testbed.core.defence import Bounds
from testbed.defences.registry import defence
from testbed.defences.updates import on_update

if TYPE_CHECKING:  # Flower, which reading a transcript does not need
    from flwr.clientapp.typing import Mod


def before(update: Mapping[str, Array], **_: float) -> Bounds:
    """Each number had the sign that was sent."""
    sent = {name: np.asarray(values) for name, values in update.items()}
    low = {name: np.where(v < 0, -np.inf, 0.0) for name, v in sent.items()}
    return low, {name: np.where(v > 0, np.inf, 0.0) for name, v in sent.items()}


@defence(bounds=before, bits=lambda **_: 2.0)  # minus, zero or plus
def sign_only(*, seed: int, size: float = 0.0) -> Mod:
    """Send the sign of each number of the update, times `size`; 0 takes the mean absolute value of each array.

    Sign-SGD (Bernstein et al. 2018, arXiv 1802.04434). A heuristic: signs alone still point to the records.
    """

    def change(update: dict[str, Array], rng: np.random.Generator) -> dict[str, Array]:
        return {
            name: (np.sign(values) * (size or float(np.abs(values).mean()))).astype(np.float32)
            for name, values in update.items()
        }

    return on_update(change, seed, "sign_only")

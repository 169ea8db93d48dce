"""Clipping and Gaussian noise on a client's updates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from testbed.core import Array
from testbed.defences.accounting import gaussian_mechanism
from testbed.defences.registry import defence
from testbed.defences.updates import on_update, within

if TYPE_CHECKING:  # Flower, which reading a transcript does not need
    from flwr.clientapp.typing import Mod


@defence(guarantee=gaussian_mechanism)
def gaussian(*, seed: int, noise: float, clip: float = 1.0) -> Mod:
    """Scale each update to an L2 norm of at most `clip`, then add noise of standard deviation `noise * clip`.

    This is local noise: the Gaussian mechanism on each update, with a sensitivity of twice `clip` (Dwork and Roth
    2014). A report accounts for all rounds together.
    """

    def change(update: dict[str, Array], rng: np.random.Generator) -> dict[str, Array]:
        short = within(update, clip)
        return {k: (v + rng.normal(0.0, noise * clip, v.shape)).astype(np.float32) for k, v in short.items()}

    return on_update(change, seed, "gaussian")

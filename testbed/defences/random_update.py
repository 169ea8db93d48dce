"""A check of the testbed rather than a defence: clients send noise, and nothing of their records but its length."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from testbed.core import Array
from testbed.defences.registry import defence
from testbed.defences.updates import norm, on_update

if TYPE_CHECKING:  # Flower, which reading a transcript does not need
    from flwr.clientapp.typing import Mod


@defence()
def random_update(*, seed: int) -> Mod:
    """Replace each update by noise of the same L2 norm. An attack that still succeeds does not use the update."""

    def change(update: dict[str, Array], rng: np.random.Generator) -> dict[str, Array]:
        noise = {k: rng.normal(size=v.shape) for k, v in update.items()}
        scale = norm(update) / max(norm(noise), 1e-12)
        return {k: (v * scale).astype(np.float32) for k, v in noise.items()}

    return on_update(change, seed, "random_update")

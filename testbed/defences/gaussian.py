"""Clipping and Gaussian noise on what a client sends."""

from __future__ import annotations

import numpy as np
from flwr.clientapp.typing import Mod

from testbed.core import Array
from testbed.defences.updates import norm, on_update


def gaussian(*, seed: int, noise: float, clip: float = 1.0) -> Mod:
    """Scale each update to an L2 norm of at most `clip`, then add noise of standard deviation `noise * clip`.

    This is local noise on one update; `epsilon_per_round` says what one release of it is worth under the classic
    Gaussian mechanism (Dwork and Roth 2014, theorem A.1).
    """

    def change(update: dict[str, Array], rng: np.random.Generator) -> dict[str, Array]:
        scale = min(1.0, clip / max(norm(update), 1e-12))
        return {k: (v * scale + rng.normal(0.0, noise * clip, v.shape)).astype(np.float32) for k, v in update.items()}

    return on_update(change, seed, "gaussian")


def epsilon_per_round(noise: float, delta: float = 1e-5) -> float | None:
    """Epsilon at `delta` of one clipped and noised update, replacing a client's whole update (sensitivity 2 clip).

    None where the classic bound does not hold (it needs epsilon below 1).
    """
    if noise <= 0:
        return None
    epsilon = 2 * float(np.sqrt(2 * np.log(1.25 / delta))) / noise
    return epsilon if epsilon < 1 else None

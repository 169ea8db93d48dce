"""The sparse-vector filter of NVIDIA FLARE (`SVTPrivacy`)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from testbed.core import Array
from testbed.defences.registry import defence
from testbed.defences.updates import flat, on_update, shaped

if TYPE_CHECKING:  # Flower, which reading a transcript does not need
    from flwr.clientapp.typing import Mod


@defence()
def svt(
    *,
    seed: int,
    share: float = 0.1,
    epsilon: float = 0.1,
    noise: float = 0.1,
    gamma: float = 1e-5,
    tau: float = 1e-6,
) -> Mod:
    """Send a `share` of the numbers: large ones by a noisy comparison, limited to +-`gamma`, then with noise.

    The rule of NVIDIA FLARE's `SVTPrivacy` (after Lyu, Su and Li 2017, arXiv 1603.01699): the threshold is `tau` plus
    Laplace noise, each comparison has noise of its own, and each number that is sent has Laplace noise of the scale
    2 `gamma` / `noise`. `epsilon` is the budget of the comparisons in one round. A heuristic: the filter accepts more
    numbers than it sends, which the theorem does not allow, and each number that is sent spends `noise` more.
    """

    def change(update: dict[str, Array], rng: np.random.Generator) -> dict[str, Array]:
        values = flat(update)
        limited = np.clip(values, -gamma, gamma)
        wanted = min(math.ceil(share * len(values)), len(values))
        of_queries = epsilon * (ratio := (2.0 * wanted) ** (2 / 3)) / (1 + ratio)
        threshold = tau + rng.laplace(0.0, gamma / (epsilon - of_queries))
        accepted = np.zeros(len(values), bool)
        while accepted.sum() < wanted:  # numbers that did not pass are compared again, with new noise
            asked = np.abs(limited) + rng.laplace(0.0, 2 * wanted * gamma / of_queries, len(values))
            accepted |= asked >= threshold
        chosen = rng.choice(np.flatnonzero(accepted), wanted)
        out = np.zeros(len(values))
        out[chosen] = limited[chosen] + rng.laplace(0.0, 2 * gamma / noise, wanted)
        return shaped(out, update)

    return on_update(change, seed, "svt")

"""Noise on a client's update, chosen by an epsilon for one round, as Flower's `LocalDpMod` does."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from testbed.core import Array
from testbed.core.defence import Exposure, Guarantee
from testbed.defences.accounting import DELTA, check, gaussian_epsilon, told
from testbed.defences.registry import defence
from testbed.defences.updates import on_update, within

if TYPE_CHECKING:  # Flower, which reading a transcript does not need
    from flwr.clientapp.typing import Mod


def deviation(epsilon: float, delta: float, sensitivity: float) -> float:
    """The standard deviation of the classical Gaussian mechanism (Dwork and Roth 2014, theorem A.1).

    Raises `UsageError` for a delta that says nothing.
    """
    check(delta)
    return sensitivity * math.sqrt(2 * math.log(1.25 / delta)) / epsilon


def proven(
    exposure: Exposure, *, epsilon: float, clip: float = 1.0, sensitivity: float = 1.0, delta: float = DELTA
) -> Guarantee:
    """The epsilon of all rounds together, from the noise itself and not from the epsilon that was asked for.

    If a client's records are replaced, its update changes by at most twice `clip`, whatever `sensitivity` says.
    """
    distance = 2 * clip * math.sqrt(exposure.rounds) / deviation(epsilon, delta, sensitivity)
    method = f"Gaussian mechanism over {exposure.rounds} rounds, {told(delta)}; claimed for one round: {epsilon:g}"
    return Guarantee(gaussian_epsilon(distance, delta), delta, "client", method)


@defence(guarantee=proven)
def local_dp(*, seed: int, epsilon: float, clip: float = 1.0, sensitivity: float = 1.0, delta: float = DELTA) -> Mod:
    """Clip each update to an L2 norm of `clip`, then add the noise that the classical formula gives for `epsilon`.

    The rule of Flower's `LocalDpMod`. Its `epsilon` is a claim about one round, and holds only if `sensitivity` is
    really twice `clip` and `epsilon` is at most 1. The report's own epsilon is computed from the noise, for all rounds.
    """
    noise = deviation(epsilon, delta, sensitivity)

    def change(update: dict[str, Array], rng: np.random.Generator) -> dict[str, Array]:
        short = within(update, clip)
        return {k: (v + rng.normal(0.0, noise, v.shape)).astype(np.float32) for k, v in short.items()}

    return on_update(change, seed, "local_dp")

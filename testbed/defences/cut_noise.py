"""The same noise on every gradient at the cut of a split network."""

from __future__ import annotations

import math

import numpy as np

from testbed.core import Array
from testbed.core.defence import AtTheCut
from testbed.defences.registry import defence


@defence(where="cut")
def cut_noise(*, seed: int, scale: float = 1.0) -> AtTheCut:
    """Add Gaussian noise whose expected length is `scale` times that of the batch's longest gradient.

    The isotropic noise of Li et al. 2022 (arXiv 2102.08504). A heuristic: the scale depends on the labels.
    """

    def change(gradients: Array, rng: np.random.Generator) -> Array:
        longest = float(np.linalg.norm(gradients, axis=1).max(initial=0))
        spread = scale * longest / math.sqrt(gradients.shape[1])
        return (gradients + rng.normal(0, 1, gradients.shape) * spread).astype(gradients.dtype)

    return change

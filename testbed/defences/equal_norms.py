"""Noise along each gradient at the cut of a split network, so that all have the same expected length."""

from __future__ import annotations

import numpy as np

from testbed.core import Array
from testbed.core.defence import AtTheCut
from testbed.defences.registry import defence


@defence(where="cut")
def equal_norms(*, seed: int) -> AtTheCut:
    """Stretch each gradient by 1 plus noise, so that its expected squared length is that of the batch's longest one.

    The rule max_norm of Li et al. 2022 (arXiv 2102.08504), against readers of lengths. A heuristic: often the direction
    stays, and it tells the label.
    """

    def change(gradients: Array, rng: np.random.Generator) -> Array:
        lengths = np.maximum(np.linalg.norm(gradients, axis=1, keepdims=True), 1e-30)
        spread = np.sqrt(np.maximum((lengths.max() / lengths) ** 2 - 1, 0))
        return (gradients * (1 + spread * rng.normal(0, 1, lengths.shape))).astype(gradients.dtype)

    return change

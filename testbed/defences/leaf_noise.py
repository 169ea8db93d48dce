"""Noise on the values of leaves, and no sums beside them."""

from __future__ import annotations

from typing import Any

import numpy as np

from testbed.core.defence import OfTrees
from testbed.defences.registry import defence


@defence(where="trees")
def leaf_noise(*, seed: int, noise: float) -> OfTrees:
    """Add noise of standard deviation `noise` to what each leaf adds to the margin; leave out the steps of inner nodes.

    A heuristic: without the steps and the gains nobody can compute a leaf's value from them. The sums of Hessians stay,
    so the number of a leaf's people stays exact, and only their diagnoses are blurred (see `bare_trees`).
    """

    def change(tree: dict[str, Any], rng: np.random.Generator) -> None:
        conditions, left = tree["split_conditions"], tree["left_children"]
        for node, child in enumerate(left):
            if child < 0:
                conditions[node] = float(np.float32(conditions[node] + rng.normal(0.0, noise)))
        tree["base_weights"], tree["loss_changes"] = [0.0] * len(left), [0.0] * len(left)

    return OfTrees(change=change)
